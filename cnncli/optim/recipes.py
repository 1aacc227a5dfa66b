"""Defaults that train well without tuning."""

from __future__ import annotations

_EPOCHS = 10
_FEWEST_STEPS = 1000  # a small data set is trained for more epochs
_MOST_EPOCHS = 100


def default_epochs(steps_per_epoch: int) -> int:
    """Return 10 epochs, or as many more as make 1,000 steps, at most 100.

    Examples
    --------
    >>> default_epochs(844), default_epochs(21)
    (10, 48)
    """
    return min(max(_EPOCHS, -(-_FEWEST_STEPS // steps_per_epoch)), _MOST_EPOCHS)


def default_architecture(channels: int, height: int, width: int) -> str:
    """Return the preset that suits images of this form.

    Examples
    --------
    >>> default_architecture(1, 28, 28), default_architecture(3, 64, 64)
    ('lenet5', 'resnet20-cifar')
    """
    if max(height, width) <= 16:
        return "digits"
    return "lenet5" if channels == 1 else "resnet20-cifar"
