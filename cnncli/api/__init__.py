"""What `import cnncli` offers to Python programs: the work of the commands, on arrays and with events as values."""
