"""Image files through one filter: what `cnn filter` does, as values and events."""
