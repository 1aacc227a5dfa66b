"""Data sets: named ones, and the user's own pictures prepared once."""
