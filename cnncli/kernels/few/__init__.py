"""Kernels for one image at a time, with channels in the lanes of a vector where others have images."""
