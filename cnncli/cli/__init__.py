"""The door: Click commands, one file each."""
