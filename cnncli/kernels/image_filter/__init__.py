"""The arithmetic of the image filter."""
