"""Tables, progress bars, pictures and JSON from the results of tasks."""
