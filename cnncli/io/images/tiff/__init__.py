"""TIFF: every layout of samples that Pillow does not read, compressions, and the fields that are kept."""
