"""Image filter with one kernel in one pass over the image: rows into a ring of rows in cache, sums into pixels.

A group of output rows needs some units: image rows, or pairs of them. Each unit is converted once, into the slot of a
ring that stays in cache; float32 images are read where they are. A table of addresses says where each
unit of the group lies.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types

from cnncli.compute.arguments import Block
from cnncli.compute.kernel import CompiledKernel
from cnncli.kernels.image_filter.arguments import (
    F32,
    FLOATS,
    FUSED_TILES,
    NARROW,
    PAIRED,
    SHIFT,
    STREAMS,
    WIDE,
    FusedJob,
    rows_of_group,
)
from cnncli.kernels.image_filter.fused_tile import make_tile
from cnncli.kernels.image_filter.strip import _note, _read_row
from cnncli.kernels.image_filter.sums import SUMS
from cnncli.kernels.image_filter.vectors import prefetch, vmadd, vpair
from cnncli.kernels.simd.vectors import LANES, address_of, offset, pointer, vget, vload, vset, vstore, vsub


@njit(error_model="numpy")
def _find_ahead(job: Any, row: int, first: int, group: int, ahead: Any) -> None:
    """Write where the source rows begin that the group after the one at output row `row` reads first."""
    new = group * job.stride_y
    start = row * job.stride_y + job.reach
    for r in range(group):
        y = job.row_index[min(start + r * new // group, job.last_row)]
        column = max(first - job.left, 0) * job.channels
        ahead[r] = job.source + ((max(y, 0) * job.source_row + column) << job.source_kind)


@njit(error_model="numpy")
def _bytes_of_row(job: Any, row: int, first: int, last: int, spare: int) -> int:
    """Return where padded pixels `first` to `last` of an 8-bit row are: in the image, or put together in `spare`."""
    channels, left = job.channels, job.left
    y = job.row_index[min(row, job.last_row)]
    start = job.source + y * job.source_row
    if y >= 0 and first >= left and last <= left + job.width:
        return start + (first - left) * channels
    inner = min(max(first, left), last) if y >= 0 else last
    outer = max(min(last, left + job.width), inner)
    _border_bytes(job, y, start, first, inner, spare)
    _copy_bytes(start + (inner - left) * channels, (outer - inner) * channels, spare + (inner - first) * channels)
    _border_bytes(job, y, start, outer, last, spare + (outer - first) * channels)
    return spare


@njit(error_model="numpy")
def _border_bytes(job: Any, y: int, start: int, first: int, last: int, place: int) -> None:
    """Write padded pixels `first` to `last`, which lie outside the image, of the row that begins at `start`."""
    channels, columns = job.channels, job.column_index
    source, target, constant = pointer(start, types.uint8(0)), pointer(place, types.uint8(0)), np.uint8(job.constant)
    for p in range(first, last):
        column = columns[p] if y >= 0 else -1
        for c in range(channels):
            target[(p - first) * channels + c] = constant if column < 0 else source[column * channels + c]


@njit(error_model="numpy")
def _copy_bytes(source: int, count: int, place: int) -> None:
    """Copy `count` bytes."""
    size = 4 * LANES
    x, y = pointer(source, types.float32(0)), pointer(place, types.float32(0))
    done = count - count % size
    for i in range(0, done // 4, LANES):
        vstore(y, i, vload(x, i))
    rest, target = pointer(source, types.uint8(0)), pointer(place, types.uint8(0))
    for i in range(done, count):
        target[i] = rest[i]


@njit(error_model="numpy")
def _pair_rows(a: int, b: int, count: int, out: Any, unit: int) -> None:
    """out[i] = a[i] + b[i] * unit for `count` bytes."""
    upper, lower = pointer(a, types.uint8(0)), pointer(b, types.uint8(0))
    done = count - count % (2 * LANES)
    for i in range(0, done, 2 * LANES):
        vpair(upper, lower, i, out)
    for i in range(done, count):
        out[i] = upper[i] + lower[i] * unit


@njit(error_model="numpy")
def _settle(job: Any, place: int, table: Any, column: int, y: int, first: int, counts: Any) -> None:
    """Decide the pixels of one vector of sums whose last bits cannot tell to which whole number they round.

    What rounding took from the weights is summed as well.
    """
    group, columns = FUSED_TILES[WIDE]
    mark = counts[3 + place]
    row, vector, lanes = mark >> 40, (mark >> 32) & 255, mark & 0xFFFFFFFF
    out = pointer(y + row * job.out_row + vector * LANES, types.uint8(0))
    sums = pointer(address_of(offset(counts, 4 + group * columns + place * (LANES // 2))), types.int32(0))
    weights = address_of(job.rests) + row * job.units * job.rest_span * 4
    unit = 1.0 / (1 << job.flags[SHIFT])
    for lane in range(LANES):
        if not (lanes >> lane) & 1:
            continue
        c = vector * LANES + lane
        rests = vset(np.int32(0))
        for u in range(job.units):
            x, w = table[u] + column + 4 * c, weights + u * job.rest_span * 4
            for i in range(0, 4 * job.rest_span, 4 * LANES):
                rests = vmadd(rests, w + i, x + i)
        rest = job.rest_start
        for i in range(LANES):
            rest += vget(rests, i)
        value = np.rint(((sums[lane] - job.lift) + rest * job.rest_unit) * unit)
        out[lane] = np.uint8(min(max(value, 0.0), 255.0))
        if c >= first:
            counts[0] += value < 0
            counts[1] += value > 255


@njit(error_model="numpy")
def _subtract(place: int, beside: int, count: int) -> None:
    """place[i] -= beside[i] for `count` float32 numbers."""
    x, y = pointer(place, types.float32(0)), pointer(beside, types.float32(0))
    done = count - count % LANES
    for i in range(0, done, LANES):
        vstore(x, i, vsub(vload(x, i), vload(y, i)))
    for i in range(done, count):
        x[i] -= y[i]


def _make_reader(arithmetic: int, form: int) -> Any:
    """Return a function that makes one unit of a group ready and returns its address."""

    @njit(error_model="numpy")
    def read_pair(job: Any, unit: int, top: int, first: int, last: int, slot: int, spare: int, beside: int) -> int:
        """Interleave two 8-bit rows."""
        row = top * job.stride_y + 2 * unit
        count = (last - first) * job.channels
        upper = _bytes_of_row(job, row, first, last, spare)
        lower = _bytes_of_row(job, row + 1, first, last, spare + count)
        _pair_rows(upper, lower, count, pointer(slot, types.int32(0)), 1 << 16)
        return slot

    @njit(error_model="numpy")
    def read_bytes(job: Any, unit: int, top: int, first: int, last: int, slot: int, spare: int, beside: int) -> int:
        """Say where an 8-bit row is."""
        return _bytes_of_row(job, top * job.stride_y + unit, first, last, slot)

    @njit(error_model="numpy")
    def read_row(job: Any, row: int, first: int, last: int, slot: int) -> int:
        """Convert a row, or say where it is float32 already."""
        row = min(row, job.last_row)
        y, left = job.row_index[row], job.left
        if job.source_kind == F32 and y >= 0 and first >= left and last <= left + job.width:
            return job.source + (y * job.source_row + (first - left) * job.channels) * 4
        _read_row(job, row, first, last, np.float32(job.constant), pointer(slot, types.float32(0)))
        return slot

    @njit(error_model="numpy")
    def read_floats(job: Any, unit: int, top: int, first: int, last: int, slot: int, spare: int, beside: int) -> int:
        """Convert a row."""
        return read_row(job, top * job.stride_y + unit, first, last, slot)

    @njit(error_model="numpy")
    def read_stream(job: Any, unit: int, top: int, first: int, last: int, slot: int, spare: int, beside: int) -> int:
        """Make an odd row ready, or the difference of an even row and the odd one `beside` it."""
        stream, row = unit % STREAMS, top + unit // STREAMS * 2
        if stream == 0:
            return read_row(job, row + 1, first, last, slot)
        row = min(row + 2 * (stream - 1), job.last_row)
        _read_row(job, row, first, last, np.float32(job.constant), pointer(slot, types.float32(0)))
        _subtract(slot, beside, (last - first) * job.channels)
        return slot

    if arithmetic == FLOATS:
        return read_stream if form == PAIRED else read_floats
    return read_bytes if arithmetic == NARROW else read_pair


def _make_group(arithmetic: int, kind: int, form: int) -> Any:
    """Return a function that writes a group of rows of a block."""
    tile = make_tile(arithmetic, kind, form)
    unit_bytes = SUMS[arithmetic].unit_bytes
    columns, group = FUSED_TILES[arithmetic][1], rows_of_group(arithmetic, form)
    wide = columns * SUMS[arithmetic].lanes
    lines = (wide + 63) // 64

    @njit(error_model="numpy")
    def write(job: Any, table: Any, ahead: Any, y: int, valid: int, count: int, seen: Any, counts: Any) -> None:
        """Write `valid` rows of `count` elements from address `y` on; the last tile ends where the rows end."""
        runs, weights, ends, numbers, flags = job.runs, job.weights, job.ends, job.numbers, job.flags
        for i in range(0, count, wide):
            c = min(i, count - wide)
            column, here = c * unit_bytes, y + (c << kind)
            for row in range(group):
                if arithmetic == NARROW:  # of bytes
                    for line in range(lines):
                        prefetch(ahead[row] + i + 64 * line)
                else:
                    for place in range(i << job.source_kind, (i + wide) << job.source_kind, 64):
                        prefetch(ahead[row] + place)
            tile(
                address_of(table), column, runs, job.column_step, weights, ends, numbers, flags,
                here, job.out_row << kind, valid, i - c, seen, counts,
            )  # fmt: skip
            if arithmetic == WIDE and counts[2]:
                for mark in range(counts[2]):
                    _settle(job, mark, table, column, here, i - c, counts)
                counts[2] = 0

    return write


def _make_ending(arithmetic: int) -> Any:
    """Return a function that turns the extremes of the lanes into numbers of the tally."""

    @njit(error_model="numpy")
    def note_floats(job: Any, seen: Any) -> None:
        _note(vload(seen, 0), vload(seen, LANES), vload(seen, 2 * LANES), job.tally)

    @njit(error_model="numpy")
    def note_shorts(job: Any, seen: Any) -> None:
        lanes = pointer(address_of(seen), types.int16(0))
        for lane in range(2 * LANES):
            job.tally[0] = min(job.tally[0], float(lanes[lane]))
            job.tally[1] = max(job.tally[1], float(lanes[2 * LANES + lane]))

    @njit(error_model="numpy")
    def note_ints(job: Any, seen: Any) -> None:
        best = pointer(address_of(seen), types.float64(0))
        step = 1.0 / (1 << job.flags[SHIFT])
        job.tally[0], job.tally[1] = min(job.tally[0], best[0] * step), max(job.tally[1], best[1] * step)

    return {FLOATS: note_floats, NARROW: note_shorts, WIDE: note_ints}[arithmetic]


def _make_start(arithmetic: int) -> Any:
    """Return a function that makes the extremes of the lanes ready."""

    @njit(error_model="numpy")
    def start(seen: Any) -> None:
        if arithmetic == NARROW:
            shorts = pointer(address_of(seen), types.int16(0))
            for lane in range(2 * LANES):
                shorts[lane], shorts[2 * LANES + lane] = 32767, -32768
        elif arithmetic == WIDE:
            best = pointer(address_of(seen), types.float64(0))
            best[0], best[1] = np.inf, -np.inf
            bounds = pointer(address_of(offset(seen, 3 * LANES)), types.int32(0))
            for lane in range(LANES):
                bounds[lane], bounds[LANES + lane] = 2147483647, -2147483648
        else:
            vstore(seen, 0, vset(np.float32(np.inf)))
            vstore(seen, LANES, vset(np.float32(-np.inf)))
            vstore(seen, 2 * LANES, vset(np.float32(0)))
            bounds = pointer(address_of(offset(seen, 3 * LANES)), types.int16(0))
            for lane in range(2 * LANES):
                bounds[lane], bounds[2 * LANES + lane] = 32767, -32768

    return start


def fused_strip(arithmetic: int, kind: int, form: int) -> CompiledKernel:
    """Return the kernel that filters the rows of one task, summed as `arithmetic` says, into numbers of `kind`.

    `form`: ``ANY``, ``PAIRED`` or one of ``UNROLLED``.
    """
    rows, columns = FUSED_TILES[arithmetic]
    group, streams = rows_of_group(arithmetic, form), STREAMS if form == PAIRED else 1
    read, write = _make_reader(arithmetic, form), _make_group(arithmetic, kind, form)
    start, end = _make_start(arithmetic), _make_ending(arithmetic)

    def strip(job: FusedJob, task: Block) -> None:
        """Filter output rows task*strip to (task + 1)*strip."""
        seen = job.scratch
        counts = pointer(address_of(offset(seen, 5 * LANES)), types.int64(0))
        table = offset(counts, 4 + rows * columns * (1 + LANES // 2))
        ahead = offset(table, job.units)
        ring = (address_of(offset(ahead, group)) + 63) & -64
        spare = ring + job.slots * job.slot_bytes
        start(seen)
        counts[0] = counts[1] = counts[2] = 0
        top, bottom = task * job.strip, min((task + 1) * job.strip, job.out_height)
        advance = rows * streams if streams > 1 else group * job.stride_y // job.rows_per_unit
        for b in range(job.blocks):
            first, last = job.edges[b], job.edges[b + 1]
            base = 0
            for row in range(top, bottom, group):
                for u in range(job.units):
                    if row > top and u + advance < job.units:
                        table[u] = table[u + advance]
                    else:
                        unit = base + u
                        slot = ring + unit % job.slots * job.slot_bytes
                        beside = table[u - u % streams]
                        table[u] = read(job, unit, top, first, last + job.halo, slot, spare, beside)
                y = job.out + ((row * job.out_row + first * job.channels) << kind)
                _find_ahead(job, row, first, group, ahead)
                write(job, table, ahead, y, min(group, bottom - row), (last - first) * job.channels, seen, counts)
                base += advance
        end(job, seen)
        job.tally[2] += counts[0]
        job.tally[3] += counts[1]

    return CompiledKernel(strip, f"fused_strip{arithmetic}x{kind}x{form}")
