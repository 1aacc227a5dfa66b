"""Pictures made of numbers and texts: pixels only, no files."""
