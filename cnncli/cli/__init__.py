"""Click commands, one file each."""
