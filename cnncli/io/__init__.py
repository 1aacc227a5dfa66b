"""Reading and writing files and the standard streams."""
