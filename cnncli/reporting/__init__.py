"""Tables, progress and pictures for people."""
