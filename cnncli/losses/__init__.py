"""Loss functions: value and gradient with respect to the logits."""
