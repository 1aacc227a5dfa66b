"""Questions about the shape of one layer: what a window reads, and which option gives a wanted output."""
