"""One file a kind of layer: shapes, parameters, multiply-accumulates and arithmetic."""
