"""What convolutions and pools share: the options of a sliding window and its output shape."""

from __future__ import annotations

from dataclasses import replace

from cnncli.errors import ShapeError
from cnncli.layers.base import MAX_KERNEL, MAX_PADDING, Option, Window, pads_text, require_image
from cnncli.shapes import Pads, Pair, Shape, format_hwc, out_length, pair_text, same_padding

STRIDE = Option("stride", "pair", (1, 1), 1, 65_535, help="step in pixels, one number or [rows, columns]")
PADDING = Option(
    "padding",
    "pads",
    "valid",
    0,
    MAX_PADDING,
    help="valid, same, full, a number or [top, bottom, left, right]",
)
DILATION = Option("dilation", "pair", (1, 1), 1, MAX_KERNEL, help="distance of the kernel's taps in pixels")
ROUND = Option("round", "choice", "floor", choices=("floor", "ceil"), help="rounding of the output length")


def resolve_pads(padding: str | Pads, window: Window, x: Shape) -> Pads:
    """Return top, bottom, left, right in pixels for ``valid``, ``same``, ``full`` or four numbers.

    ``same`` makes the output ceil(n / stride) long and gives the odd zero to the end; ``full`` is
    ``dilation * (kernel - 1)`` on every side.
    """
    if not isinstance(padding, str):
        return padding
    if padding == "full":
        rows, columns = (d * (k - 1) for k, d in zip(window.kernel, window.dilation, strict=True))
        return rows, rows, columns, columns
    if padding == "valid" or len(x) != 3:
        return 0, 0, 0, 0
    axes = zip(x[1:], window.kernel, window.stride, window.dilation, strict=True)
    (top, bottom), (left, right) = (same_padding(*axis) for axis in axes)
    return top, bottom, left, right


def round_up(window: Window, x: Shape) -> Pads:
    """Return the pads that make a rounded-down output as long as a rounded-up one (zeros at the end)."""
    extra: list[int] = []
    for axis in (0, 1):
        pads = window.padding[2 * axis], window.padding[2 * axis + 1]
        geometry = x[1 + axis], window.kernel[axis], window.stride[axis]
        up = out_length(*geometry, pads, window.dilation[axis], ceil=True)
        down = out_length(*geometry, pads, window.dilation[axis])
        if up > max(down, 0):
            span = x[1 + axis] + sum(pads) - window.dilation[axis] * (window.kernel[axis] - 1) - 1
            extra.append((up - 1) * window.stride[axis] - span)
        else:
            extra.append(0)
    top, bottom, left, right = window.padding
    return top, bottom + extra[0], left, right + extra[1]


def slide(name: str, window: Window, x: Shape) -> Pair:
    """Return the output rows and columns of `window` over `x`; raise `ShapeError` where it does not fit."""
    require_image(name, x)
    top, bottom, left, right = window.padding
    rows, columns = (
        out_length(n, k, s, pads, d, ceil=window.ceil)
        for n, k, s, pads, d in zip(
            x[1:], window.kernel, window.stride, ((top, bottom), (left, right)), window.dilation, strict=True
        )
    )
    if rows < 1 or columns < 1:
        size = "x".join(str(d * (k - 1) + 1) for k, d in zip(window.kernel, window.dilation, strict=True))
        dilated = f" (dilation {pair_text(window.dilation)})" if window.dilation != (1, 1) else ""
        padded = f" padded by {pads_text(window.padding)}" if any(window.padding) else ""
        raise ShapeError(
            f"the {size} kernel{dilated} is larger than its {x[1]}x{x[2]} input{padded}",
            hint="add padding, take a smaller kernel or drop a pool before it",
        )
    return rows, columns


def check_pool_pads(window: Window, x: Shape) -> None:
    """Raise `ShapeError` where a pool's padding is so large that a window could hold padding alone."""
    for axis, kernel in enumerate(window.kernel):
        if max(window.padding[2 * axis : 2 * axis + 2]) >= kernel:
            raise ShapeError(
                f"padding {pads_text(window.padding)} of a pool of {pair_text(window.kernel)} "
                f"over {format_hwc(x)} makes windows of padding alone",
                hint=f"keep it below {kernel}",
            )


def with_pads(window: Window, padding: str | Pads, x: Shape) -> Window:
    """Return `window` with its padding in pixels."""
    return replace(window, padding=resolve_pads(padding, window, x))
