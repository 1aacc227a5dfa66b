"""Prediction of few images, one at a time."""
