"""Architecture files: text to a located tree to a checked description."""
