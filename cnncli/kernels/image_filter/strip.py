"""The arithmetic of an image filter: 8-bit, 16-bit or float rows in, filtered rows out, blocks of them in cache.

A block of rows is converted to float32 once. Then every group of ROWS output rows is summed over a list of taps: each
tap is an offset into the block and one weight for each of the ROWS rows, so that an image vector that was loaded serves
ROWS sums, and zeros of a kernel, dilation and interleaved colours (a horizontal step is C elements) cost nothing extra.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types

from cnncli.compute.arguments import Block
from cnncli.compute.kernel import kernel
from cnncli.kernels.image_filter.arguments import (
    F32,
    LOW,
    MAGNITUDE,
    NOTHING,
    SINGLE,
    STACK,
    TALL,
    U8,
    U16,
    Job,
    Pass,
)
from cnncli.kernels.image_filter.vectors import fence, make_taps, vabs, vconvert, vpack, vstream
from cnncli.kernels.simd.vectors import (
    LANES,
    address_of,
    offset,
    pointer,
    vfma,
    vget,
    vload,
    vmax,
    vmin,
    vmul,
    vset,
    vsqrt,
    vstore,
)

_tall, _low, _single = make_taps(*TALL), make_taps(*LOW), make_taps(*SINGLE)


@njit(error_model="numpy")
def _convert(source: Any, start: int, count: int, x: Any) -> None:
    """x[i] = source[start + i] for whole numbers."""
    done = count - count % LANES
    for i in range(0, done, LANES):
        vstore(x, i, vconvert(source, start + i))
    for i in range(done, count):
        x[i] = np.float32(source[start + i])


@njit(error_model="numpy")
def _read(job: Any, kind: int, start: int, count: int, x: Any) -> None:
    """Write `count` source elements from `start` on to x as float32."""
    if kind == U8:
        _convert(pointer(job.source, types.uint8(0)), start, count, x)
    elif kind == U16:
        _convert(pointer(job.source, types.uint16(0)), start, count, x)
    else:
        source = pointer(job.source, types.float32(0))
        for i in range(count):
            x[i] = source[start + i]


@njit(error_model="numpy")
def _read_row(job: Any, row: int, first: int, last: int, constant: float, x: Any) -> None:
    """Write padded pixels `first` to `last` of padded row `row` to x."""
    channels, left, kind = job.channels, job.left, job.source_kind
    y = job.row_index[row]
    if y < 0:
        for i in range((last - first) * channels):
            x[i] = constant
        return
    start = y * job.source_row
    inner = min(max(first, left), last)
    outer = max(min(last, left + job.width), inner)
    _read_border(job, kind, start, first, inner, constant, x)
    middle = offset(x, (inner - first) * channels)
    _read(job, kind, start + (inner - left) * channels, (outer - inner) * channels, middle)
    _read_border(job, kind, start, outer, last, constant, offset(x, (outer - first) * channels))


@njit(error_model="numpy")
def _read_border(job: Any, kind: int, start: int, first: int, last: int, constant: float, x: Any) -> None:
    """Write padded pixels `first` to `last`, which lie outside the image, of the row that begins at `start`."""
    columns, channels = job.column_index, job.channels
    for p in range(first, last):
        column = columns[p]
        target = offset(x, (p - first) * channels)
        if column < 0:
            for c in range(channels):
                target[c] = constant
        else:
            _read(job, kind, start + column * channels, channels, target)


@njit(error_model="numpy")
def _sum(step: Any, x: Any, width: int, start: float, y: Any, pitch: int, rows: int) -> None:
    """Run one pass for a group of `rows` output rows of `width` elements."""
    places, weights = pointer(step.places, types.int64(0)), pointer(step.weights, types.float32(0))
    ends, shape, more = pointer(step.ends, types.int64(0)), step.shape, step.more
    if shape == 0:
        for i in range(0, width, TALL[1] * LANES):
            _tall(offset(x, i), places, weights, ends, start, more, offset(y, i), pitch)
    elif shape == 1:
        for i in range(0, width, LOW[1] * LANES):
            _low(offset(x, i), places, weights, ends, start, more, offset(y, i), pitch)
    else:
        for row in range(rows):
            for i in range(0, width, SINGLE[1] * LANES):
                _single(
                    offset(x, row * pitch + i), places, weights, ends, start, more, offset(y, row * pitch + i), pitch
                )


@njit(error_model="numpy")
def _combine(kind: int, filters: int, y: Any, step: int, width: int) -> None:
    """Make one row of responses of `filters` rows, `step` apart, in place."""
    for i in range(0, width, LANES):
        total = vload(y, i)
        if kind == MAGNITUDE:
            total = vmul(total, total)
        for f in range(1, filters):
            value = vload(y, f * step + i)
            total = vfma(value, value, total) if kind == MAGNITUDE else vmax(total, value)
        vstore(y, i, vsqrt(total) if kind == MAGNITUDE else total)


@njit(error_model="numpy")
def _finish(job: Any, y: Any, count: int) -> None:
    """Divide, rectify and shift `count` responses in place."""
    quotient, absolute = job.quotient, job.absolute
    affine = job.post_scale != 1.0 or job.post_shift != 0.0
    inverse, minus_divisor = vset(np.float32(1 / job.divisor)), vset(np.float32(-job.divisor))
    scale, shift = vset(np.float32(job.post_scale)), vset(np.float32(job.post_shift))
    if not (quotient or absolute or affine):
        return
    for i in range(0, count, LANES):
        value = vload(y, i)
        if quotient:
            # one Newton step on the remainder rounds the quotient correctly (Markstein 1990, doi:10.1147/rd.341.0111)
            guess = vmul(value, inverse)
            value = vfma(vfma(guess, minus_divisor, value), inverse, guess)
        if absolute:
            value = vabs(value)
        if affine:
            value = vfma(value, scale, shift)
        vstore(y, i, value)


@njit(error_model="numpy")
def _pack(out: Any, start: int, y: Any, count: int, white: float, spare: Any, tally: Any) -> None:
    """Clip, round and write `count` values as whole numbers; note the extremes."""
    zero, limit = vset(np.float32(0)), vset(white)
    low = high = vload(y, 0)
    done = count - count % LANES
    for i in range(0, done, LANES):
        value = vload(y, i)
        low, high = vmin(low, value), vmax(high, value)
        vpack(out, start + i, vmin(vmax(value, zero), limit))
    if done < count:
        value = vload(y, done)
        low, high = vmin(low, value), vmax(high, value)
        vpack(spare, 0, vmin(vmax(value, zero), limit))
        for i in range(done, count):
            out[start + i] = spare[i - done]
    _note(low, high, zero, tally)


@njit(error_model="numpy")
def _note_floats(y: Any, count: int, tally: Any) -> None:
    """Note the extremes of `count` values, and whether all of them are finite."""
    zero = vset(np.float32(0))
    low = high = vload(y, 0)
    strange = zero
    for i in range(0, count, LANES):
        value = vload(y, i)
        low, high, strange = vmin(low, value), vmax(high, value), vfma(value, zero, strange)
    _note(low, high, strange, tally)


@njit(error_model="numpy")
def _stream(target: int, source: int, size: int) -> None:
    """Copy `size` bytes between two addresses around the caches; both lie equally far from a multiple of 64."""
    to, what = pointer(target, types.uint8(0)), pointer(source, types.uint8(0))
    head = min(-target % 64, size)
    done = head + (size - head) // 64 * 64
    for i in range(head):
        to[i] = what[i]
    wide_to, wide = pointer(target + head, types.float32(0)), pointer(source + head, types.float32(0))
    for i in range(0, (done - head) // 4, LANES):
        vstream(wide_to, i, vload(wide, i))
    for i in range(done, size):
        to[i] = what[i]


@njit(error_model="numpy")
def _note(low: Any, high: Any, strange: Any, tally: Any) -> None:
    """Put the extremes of all lanes into the first two numbers of `tally`.

    `strange` is the sum of every value times 0: not 0 where one of them was infinite or not a number. Minimum and
    maximum alone would lose a NaN.
    """
    for lane in range(LANES):
        if vget(strange, lane) != np.float32(0):
            tally[1] = np.inf
        tally[0] = min(tally[0], vget(low, lane))
        tally[1] = max(tally[1], vget(high, lane))


@njit(error_model="numpy")
def _outside(y: Any, count: int, low: float, high: float) -> Any:
    """Return how many values are less than `low`, and how many are at least `high`."""
    below, above = np.int32(0), np.int32(0)
    for i in range(count):
        below += np.int32(y[i] < low)
        above += np.int32(y[i] >= high)
    return below, above


@njit(error_model="numpy")
def _write(job: Any, row: int, first: int, y: Any, count: int, spare: int, tally: Any) -> None:
    """Write `count` finished values to element `first` on of an output row, and count what is clipped."""
    start = row * job.out_row + first
    kind, white = job.out_kind, np.float32(job.white)
    for i in range(count, count + LANES):  # the lanes after the last value may hold no strange numbers
        y[i] = y[count - 1]
    here = pointer(spare, types.float64(0))
    here[0], here[1] = np.inf, -np.inf
    if kind >= F32 or job.source_kind == F32:  # only floats bring numbers that are not finite
        _note_floats(y, count, here)
    if kind != NOTHING:
        size = 1 << kind  # bytes of a number: 1, 2, 4
        address = job.out + start * size
        # a large result only pushes out of the caches what is still needed: it is made beside and copied around them
        place = spare + 128 + address % 64 if job.streamed else address
        rest = spare + 64
        if kind == U8:
            _pack(pointer(place, types.uint8(0)), 0, y, count, white, pointer(rest, types.uint8(0)), here)
        elif kind == U16:
            _pack(pointer(place, types.uint16(0)), 0, y, count, white, pointer(rest, types.uint16(0)), here)
        else:
            out = pointer(place, types.float32(0))
            for i in range(count):
                out[i] = y[i]
        if job.streamed:
            _stream(address, place, count * size)
    half = np.float32(0.5)
    if here[0] < -half or here[1] >= white + half:
        below, above = _outside(y, count, -half, white + half)
        tally[2] += below
        tally[3] += above
    tally[0], tally[1] = min(tally[0], here[0]), max(tally[1], here[1])


PASS_WORDS = len(Pass._fields)


@njit(error_model="numpy")
def _pass_at(table: Any) -> Any:
    """Return the pass whose words begin at `table`."""
    return Pass(table[0], table[1], table[2], table[3], table[4], table[5], table[6])


@kernel
def filter_strip(job: Job, task: Block) -> None:
    """Filter output rows task*strip to (task + 1)*strip."""
    constant = np.float32(job.constant)
    pitch, channels, group, filters = job.pitch, job.channels, job.group, job.filters
    block = job.scratch
    between = offset(block, job.block_rows * pitch)
    response = offset(between, group * pitch)
    spare = address_of(offset(response, filters * group * pitch))
    passes = job.passes
    top, bottom = task * job.strip, min((task + 1) * job.strip, job.out_height)
    stride_y, stride_x, reach_x = job.stride_y, job.stride_x, job.reach_x
    halo = reach_x - 1
    for first in range(0, job.out_width, job.block):
        wide = min(job.block, job.out_width - first)
        left, span = first * stride_x, (wide - 1) * stride_x + 1
        for row in range(top * stride_y, (bottom - 1) * stride_y + job.reach_y):
            _read_row(job, row, left, left + span + halo, constant, offset(block, (row - top * stride_y) * pitch))
        for row in range(top, bottom, group):
            window = offset(block, (row - top) * stride_y * pitch)
            count = 0
            for f in range(filters):
                answer = offset(response, f * group * pitch)
                for _ in range(passes[2 * f]):
                    step = _pass_at(offset(passes, passes[2 * f + 1] + count * PASS_WORDS))
                    count += 1
                    width = span * channels if step.target else (span + halo) * channels
                    x = between if step.source else window
                    start = job.starts[f] if step.target else np.float32(0)
                    _sum(step, x, width, start, answer if step.target else between, pitch, group)
            for i in range(min(group, bottom - row)):
                y = offset(response, i * pitch)
                if job.combine != STACK:
                    _combine(job.combine, filters, y, group * pitch, span * channels)
                if stride_x > 1:
                    for j in range(1, wide):
                        for c in range(channels):
                            y[j * channels + c] = y[j * stride_x * channels + c]
                _finish(job, y, wide * channels)
                _write(job, row + i, first * channels, y, wide * channels, spare, job.tally)
    if job.streamed:
        fence()
