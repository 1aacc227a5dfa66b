"""Data sets in words and tables."""
