"""A description and its layers become a model: shapes, counts, summary."""
