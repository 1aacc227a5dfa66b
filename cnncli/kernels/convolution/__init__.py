"""Convolutions and dense layers: loops of the register tile over rows and columns."""
