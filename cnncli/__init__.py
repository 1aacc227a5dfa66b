"""Image filters and small convolutional networks from the command line."""

__version__ = "0.1.0"
SCHEMA = "cnncli/1"  # of every JSON object that is written
