"""Shapes in the notations of the field."""

from __future__ import annotations

from cnncli.shapes import Shape, format_hwc, user_shape

NOTATIONS = ("hwc", "chw", "d@wxh", "keras", "torch")


def format_shape(shape: Shape, notation: str = "hwc") -> str:
    """Return (C, H, W) or (n,) in one of `NOTATIONS`.

    Examples
    --------
    >>> [format_shape((3, 24, 32), notation) for notation in NOTATIONS]
    ['24x32x3', '3x24x32', '3@32x24', '(None, 24, 32, 3)', '(N, 3, 24, 32)']
    >>> format_shape((120,), "keras")
    '(None, 120)'
    """
    if notation == "keras":
        return f"(None, {', '.join(map(str, user_shape(shape)))})"
    if notation == "torch":
        return f"(N, {', '.join(map(str, shape))})"
    if notation == "d@wxh" and len(shape) == 3:
        return f"{shape[0]}@{shape[2]}x{shape[1]}"
    return "x".join(map(str, shape)) if notation == "chw" else format_hwc(shape)


def format_tuple(shape: Shape) -> str:
    """Return the lecture's form: ``(28, 28, 8)``, ``(120,)``.

    Examples
    --------
    >>> format_tuple((8, 28, 28)), format_tuple((120,))
    ('(28, 28, 8)', '(120,)')
    """
    return str(tuple(user_shape(shape)))


def format_bytes(count: int) -> str:
    """Return bytes in the largest unit that keeps at least one digit before the point.

    Examples
    --------
    >>> format_bytes(251832), format_bytes(512)
    ('246 KiB', '512 B')
    """
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if size >= 100 or unit == "B" else f"{size:.1f} {unit}"


def format_count(count: int) -> str:
    """Return a count with its magnitude: ``0.85 M``, ``15.47 G``.

    Examples
    --------
    >>> format_count(849320), format_count(15470264320), format_count(27)
    ('0.85 M', '15.47 G', '27')
    """
    if count < 10_000:
        return f"{count:,}"
    return f"{count / 1e9:,.2f} G" if count >= 1e9 else f"{count / 1e6:,.2f} M"
