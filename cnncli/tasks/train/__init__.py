"""Training a network: what `cnn train` does, as events, with everything that a run directory holds."""
