"""How good a trained network is on labelled images, and what it gets wrong."""
