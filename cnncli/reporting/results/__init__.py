"""What a trained network holds and answers: as tables, as lines for programs, as a page."""
