"""Image files: what they hold, decoding, encoding, and which files are meant."""
