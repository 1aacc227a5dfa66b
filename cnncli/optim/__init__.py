"""Default learning rates and epochs, and learning-rate schedules."""
