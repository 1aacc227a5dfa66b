"""Kernels from arrays: which axis is which, and what sizes are allowed."""

from __future__ import annotations

import numpy as np

from cnncli.errors import InvalidInputError
from cnncli.filters.formulas import LIMIT
from cnncli.filters.kernel import Kernel, Numbers

ORDERS = ("FCHW", "HWCF")  # filters, channels, rows, columns: as PyTorch and as Keras
EXAMPLE = 'example: "0 -1 0; -1 5 -1; 0 -1 0"'
_BANK_LIMIT = 4096  # filters of a bank, and channels of a filter
_LARGEST = 1e150  # leaves room for sums and factors within float64


def kernel_from_array(array: Numbers, where: str, name: str, order: str | None = None) -> Kernel:
    """Return the kernel of an array.

    Parameters
    ----------
    array : ndarray
        Of shape (K,), (KH, KW), (C, KH, KW) summed over channels, or a bank (F, C, KH, KW).
    order : str, optional
        One of ORDERS: ``HWCF`` reads three axes as (KH, KW, C) and four as (KH, KW, C, F), as Keras stores them.

    Raises
    ------
    InvalidInputError
        Other shapes, sizes beyond the limits, numbers that are not finite or beyond 1e150; without `order` also an
        array whose shape says that it is in the order of Keras.
    """
    if array.ndim == 0 or array.ndim > 4:
        shape = "x".join(map(str, array.shape)) or "no"
        raise InvalidInputError(f"a kernel has 1 to 4 axes, this array has {shape} elements", where=where)
    numbers, note = in_order(array, where, order)
    full = numbers.reshape((1,) * (4 - numbers.ndim) + numbers.shape)
    check_size(full.shape, where)
    if not np.all(np.abs(full) <= _LARGEST):
        place = np.argwhere(~(np.abs(array) <= _LARGEST))[0]
        what = "is too large" if np.isfinite(array[tuple(place)]) else "is not a finite number"
        raise InvalidInputError(f"element [{', '.join(str(i) for i in place)}] {what}", where=where)
    return Kernel(name, np.ascontiguousarray(full, dtype=np.float64), per_channel=array.ndim <= 2, note=note)


def in_order(array: Numbers, where: str, order: str | None) -> tuple[Numbers, str]:
    """Return an array with its axes as (F, C, KH, KW), and what a user should know about that.

    Errors as `kernel_from_array`.
    """
    if array.ndim < 3 or order == "FCHW":
        return array, ""
    if order == "HWCF":
        return np.moveaxis(array, (-1, -2), (0, 1)) if array.ndim == 4 else np.moveaxis(array, 2, 0), ""
    shape = "x".join(map(str, array.shape))
    ours, theirs = ("(F, C, KH, KW)", "(KH, KW, C, F)") if array.ndim == 4 else ("(C, KH, KW)", "(KH, KW, C)")
    square_here, square_there = array.shape[-1] == array.shape[-2], array.shape[0] == array.shape[1]
    if square_there and not square_here:
        message = f"an array of {shape} looks like {theirs}, the order of Keras; {ours} is expected"
        hint = f"filter with --as keras to read {theirs}, with --as torch to read {ours}, or transpose it"
        raise InvalidInputError(message, where=where, hint=hint)
    if array.ndim == 4 and square_there and square_here and array.shape[0] > 1:
        return array, f"{where} of {shape} is read as {ours}; --as keras reads {theirs}"
    return array, ""


def check_size(shape: tuple[int, ...], where: str) -> None:
    """Refuse a kernel (F, C, KH, KW) that is empty or beyond the limits."""
    filters, channels, height, width = shape
    if not filters * channels * height * width:
        raise InvalidInputError("kernel is empty", where=where, hint=EXAMPLE)
    if max(height, width) > LIMIT:
        raise InvalidInputError(f"kernel has {height}x{width} numbers, the limit is {LIMIT}x{LIMIT}", where=where)
    if max(filters, channels) > _BANK_LIMIT:
        raise InvalidInputError(
            f"bank of {filters} filters of {channels} channels, the limit is {_BANK_LIMIT}", where=where
        )
