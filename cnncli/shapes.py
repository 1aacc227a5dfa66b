"""Shapes and the output length of a sliding window.

Inside the program a shape is ``(C, H, W)`` or ``(features,)``; towards the user it is height x width x channels
(``28x28x3``) unless another notation is asked for.
"""

from __future__ import annotations

from typing import TypeAlias

Shape: TypeAlias = tuple[int, ...]
Pair: TypeAlias = tuple[int, int]
Pads: TypeAlias = tuple[int, int, int, int]  # top, bottom, left, right


def pair_text(pair: Pair) -> str:
    """Return ``5`` for (5, 5) and ``5x3`` for (5, 3).

    Examples
    --------
    >>> pair_text((5, 3))
    '5x3'
    """
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"


def out_length(
    length: int, kernel: int, stride: int = 1, pads: Pair = (0, 0), dilation: int = 1, *, ceil: bool = False
) -> int:
    """Return the output length of a sliding window along one axis.

    ``floor((n + p0 + p1 - d*(k - 1) - 1) / s) + 1``; with `ceil`, the division rounds up: a last window may hang
    over the end, unless it would start beyond the input and its leading padding (as in PyTorch and Caffe).
    The result is zero or negative where no window fits.

    Parameters
    ----------
    length, kernel, stride, dilation : int
        In pixels; all but `length` at least 1.
    pads : (int, int)
        Zeros before and after.

    References
    ----------
    Dumoulin and Visin 2016, arXiv:1603.07285, relationship 6 and section 5.

    Examples
    --------
    >>> out_length(28, 5, 1, (1, 1))
    26
    >>> out_length(224, 11, 4)
    54
    >>> out_length(2, 3, 2), out_length(2, 3, 2, ceil=True)
    (0, 1)
    """
    span = length + sum(pads) - dilation * (kernel - 1) - 1
    if not ceil:
        return span // stride + 1
    # a window may also hang over the end of an input that is shorter than it, by less than a stride
    count = -(-span // stride) + 1
    return count - 1 if span % stride and (count - 1) * stride >= length + pads[0] else count


def same_padding(length: int, kernel: int, stride: int = 1, dilation: int = 1) -> Pair:
    """Return the zeros before and after that make the output ``ceil(length / stride)`` long.

    The odd zero goes to the end, as Keras does.

    Examples
    --------
    >>> same_padding(256, 7)
    (3, 3)
    >>> same_padding(5, 2)
    (0, 1)
    """
    out = -(-length // stride)
    total = max((out - 1) * stride + dilation * (kernel - 1) + 1 - length, 0)
    return total // 2, total - total // 2


def user_shape(shape: Shape) -> list[int]:
    """Return ``[H, W, C]`` for ``(C, H, W)`` and ``[n]`` for ``(n,)``."""
    return [*shape[1:], shape[0]] if len(shape) == 3 else list(shape)


def format_hwc(shape: Shape) -> str:
    """Return ``28x28x3`` for ``(3, 28, 28)``.

    Examples
    --------
    >>> format_hwc((3, 28, 28))
    '28x28x3'
    """
    return "x".join(map(str, user_shape(shape)))
