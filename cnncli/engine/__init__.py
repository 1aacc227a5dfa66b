"""A model becomes a plan of buffers and operations that runs."""
