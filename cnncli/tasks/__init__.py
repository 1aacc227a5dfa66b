"""What the commands do, as values and events; no printing."""
