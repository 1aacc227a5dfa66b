"""The formula of a window's output length with the numbers in it."""

from __future__ import annotations

from cnncli.layers.base import Window
from cnncli.layers.conv import Conv2D
from cnncli.layers.conv_transpose import ConvTranspose2D
from cnncli.model.network import Node
from cnncli.shapes import out_length


def axis_formula(length: int, window: Window, axis: int, *, ceil: bool = False, rounded: int = 0) -> str:
    """Return ``floor((28 + 2*1 - 5)/1) + 1 = 26`` for one axis.

    Parameters
    ----------
    length : int
        Input pixels along the axis.
    window : Window
    axis : int
        0 rows, 1 columns.
    ceil : bool
        The length was rounded up.
    rounded : int
        Zeros of the padding that only stand for the rounding.

    Examples
    --------
    >>> axis_formula(28, Window((5, 5), (1, 1), (1, 1, 1, 1)), 0)
    'floor((28 + 2*1 - 5)/1) + 1 = 26'
    """
    before, after = window.padding[2 * axis], window.padding[2 * axis + 1] - rounded
    kernel, stride, dilation = window.kernel[axis], window.stride[axis], window.dilation[axis]
    ceil = ceil or window.ceil
    result = out_length(length, kernel, stride, (before, after), dilation, ceil=ceil)
    padding = "" if not before and not after else f" + 2*{before}" if before == after else f" + {before} + {after}"
    span = f"{kernel}" if dilation == 1 else f"{dilation}*({kernel} - 1) - 1"
    text = f"{'ceil' if ceil else 'floor'}(({length}{padding} - {span})/{stride}) + 1"
    plain = -(-(length + before + after - dilation * (kernel - 1) - 1) // stride) + 1
    if ceil and plain > result:
        # PyTorch's and Caffe's rule: no window may begin in the padding after the input
        text += " - 1"
    return f"{text} = {result}"


def transposed_formula(length: int, layer: ConvTranspose2D, axis: int, result: int) -> str:
    """Return ``(14 - 1)*2 - 2*1 + 3 + 1 = 28`` for one axis of a transposed convolution (1 is the output padding).

    Examples
    --------
    >>> transposed_formula(14, ConvTranspose2D(1, (3, 3), (2, 2), (1, 1, 1, 1), (1, 1)), 0, 28)
    '(14 - 1)*2 - 2*1 + 3 + 1 = 28'
    """
    window = layer.window()
    before, after = window.padding[2 * axis : 2 * axis + 2]
    kernel, dilation, extra = window.kernel[axis], window.dilation[axis], layer.output_padding[axis]
    text = f"({length} - 1)*{window.stride[axis]}"
    if before or after:
        text += f" - 2*{before}" if before == after else f" - {before} - {after}"
    text += f" + {kernel}" if dilation == 1 else f" + {dilation}*({kernel} - 1) + 1"
    text += f" + {extra}" if extra else ""
    return f"{text} = {result}"


def node_formulas(node: Node) -> tuple[str, ...]:
    """Return the formula of a node's rows, and of its columns where that is another one; nothing without a window."""
    window = node.layer.window()
    shape = node.in_shapes[0]
    if len(shape) != 3 or len(node.out_shape) != 3 or not hasattr(node.layer, "stride"):
        return ()
    if isinstance(node.layer, ConvTranspose2D):
        lengths = zip((0, 1), shape[1:], node.out_shape[1:], strict=True)
        rows, columns = (transposed_formula(n, node.layer, axis, result) for axis, n, result in lengths)
        return (rows,) if rows == columns else (rows, columns)
    rounded = node.layer.rounded if isinstance(node.layer, Conv2D) else (0, 0)
    ceil = any(rounded)
    rows, columns = (axis_formula(shape[1 + axis], window, axis, ceil=ceil, rounded=rounded[axis]) for axis in (0, 1))
    return (rows,) if rows == columns else (rows, columns)
