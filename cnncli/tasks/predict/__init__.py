"""Classifying pictures with a trained network: what `cnn predict` does, as values."""
