"""Filtering one image in memory: a plan, the stages that compute its rows, and the pixels that come out."""
