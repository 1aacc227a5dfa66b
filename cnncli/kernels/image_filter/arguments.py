"""What the two sides of the image filter agree on: the arguments of a job and of a pass, kinds, shapes of taps.

Importing this does not import Numba.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cnncli.compute.arguments import Float32s, Float64s, Int64s
from cnncli.compute.host import LANES

#: output rows that share a loaded vector, and vectors side by side, for tall kernels, low kernels and single rows
TALL, LOW, SINGLE = {16: ((4, 6), (2, 8), (1, 8)), 8: ((4, 3), (2, 6), (1, 8)), 4: ((4, 3), (2, 6), (1, 8))}[LANES]

#: output rows and vectors side by side of a fused tile, by the arithmetic of its sums
FUSED_TILES = {
    16: ((4, 4), (4, 4), (4, 4)),
    8: ((3, 4), (4, 2), (2, 4)),
    4: ((3, 4), (4, 2), (2, 4)),
}[LANES]
#: forms of fused code: for any kernel, for pairs of output rows (see `fused_weights`), and for square kernels of these
#: sizes without zeros, which have no loops over the taps; in 16-bit integers for 3x3 kernels, with corners or without
ANY, PAIRED, CROSS = range(3)
UNROLLED = (3, 5)
PATTERNS = {3: ((1, 1, 1), (1, 1, 1), (1, 1, 1)), CROSS: ((0, 1, 0), (1, 1, 1), (0, 1, 0))}
STREAMS = 3  # rows that pairs of output rows read for each pair of image rows
FLOATS, NARROW, WIDE = range(3)  # how a fused tile sums: in float32, in 16-bit or 32-bit integers

#: places in the flags and in the numbers of a fused job
QUOTIENT, ABSOLUTE, AFFINE, SHIFT, CLOSE, HUGE, LIFT, RESTS, LEAST, MOST, REST_START, REST_UNIT = range(12)
START, INVERSE, MINUS_DIVISOR, SCALE, OFFSET, WHITE, LIMIT = range(7)

U8, U16, F32, NOTHING = range(4)  # kinds of numbers, in the order of their size
KINDS = {"uint8": U8, "uint16": U16, "float32": F32}
STACK, MAGNITUDE, MAXIMUM = range(3)  # how the responses of several filters become one


class Job(NamedTuple):
    """One filter job, see `job.FilterJob`; rows and columns are those of the padded image.

    Parameters
    ----------
    source, out : int
        Addresses of images of the kinds `source_kind` and `out_kind`; `source_row` and `out_row` elements per row.
    row_index, column_index : pointer
        Source row and column of each padded row and column, -1 outside.
    width, channels, left : int
        Of the source; padded columns before it.
    reach_y, reach_x, stride_y, stride_x : int
        Rows and columns under the dilated kernel; steps of the output.
    strip, block, group : int
        Output rows per task, output columns per block, output rows summed together.
    passes : pointer
        For each filter how many passes and where they begin, then the passes.
    block_rows, pitch : int
        Rows of a block in the scratch, elements between them.
    scratch : pointer
        One per worker.
    tally : pointer
        Per task: smallest value, largest, how many below 0, how many above `white`.
    """

    source: int
    source_row: int
    source_kind: int
    row_index: Int64s
    column_index: Int64s
    width: int
    channels: int
    left: int
    out: int
    out_row: int
    out_kind: int
    out_height: int
    out_width: int
    stride_y: int
    stride_x: int
    reach_y: int
    reach_x: int
    strip: int
    block: int
    group: int
    passes: Int64s
    filters: int
    combine: int
    absolute: int
    quotient: int
    streamed: int
    scratch: Float32s
    block_rows: int
    pitch: int
    tally: Float64s
    starts: Float32s
    constant: float
    divisor: float
    post_scale: float
    post_shift: float
    white: float


class FusedJob(NamedTuple):
    """One filter whose sums become pixels in registers, see `fused_job.FusedLayout`; names as in `Job`.

    What changes from picture to picture comes first.

    Parameters
    ----------
    edges, blocks : pointer, int
        Output columns where blocks begin, and where the last one ends; how many blocks.
    units, rows_per_unit : int
        Rows that a group reads: source rows, or pairs of them, interleaved in the scratch.
    reach : int
        Image rows that a group reads, at least.
    slots, slot_bytes : int
        Rows the scratch holds; unit u lies in slot u % slots.
    ends, runs, weights : pointer
        Of the taps: end of each segment, counted in runs; for each run of columns the place of its unit, or of the
        first of two, in a table of addresses, the byte within it and how many taps; for each tap the weights of every
        output row.
    column_step : int
        Bytes between the columns that two taps of a run read.
    numbers, flags : pointer
        Start, 1/divisor, -divisor, scale, shift, white, white + 0.5. Whether there is a quotient, an absolute value, a
        scale or shift; `shift` and `close` of the weights; whether float32 sums may not fit 32 bits; `lift`, bytes
        from the weights to what rounding took from them, `least` and `most` of its sums, and as float64 `rest_start`
        and `rest_unit`.
    rests, rest_span, rest_unit, rest_start, lift : pointer, int, float, float, int
        For 32-bit sums: what rounding took from the weights and the start, in units of `rest_unit`; for each output row
        and unit `rest_span` pairs, one for each element of the row. What was added to the sums so that a shift rounds
        them.
    """

    source: int
    out: int
    source_row: int
    source_kind: int
    row_index: Int64s
    column_index: Int64s
    width: int
    channels: int
    left: int
    halo: int
    last_row: int
    stride_y: int
    out_row: int
    out_height: int
    strip: int
    edges: Int64s
    blocks: int
    units: int
    rows_per_unit: int
    reach: int
    slots: int
    slot_bytes: int
    ends: Int64s
    runs: Int64s
    weights: Float32s
    column_step: int
    numbers: Float32s
    flags: Int64s
    rests: Float32s
    rest_span: int
    rest_unit: float
    rest_start: float
    lift: int
    scratch: Float32s
    tally: Float64s
    constant: float


class Pass(NamedTuple):
    """One pass over a block: taps (addresses of their offsets, weights and the ends of their segments) and direction.

    It reads the block (0) or the rows between (1), writes the rows between (0) or the response (1), and adds to what is
    there where `more` is 1.
    """

    shape: int
    ends: int
    places: int
    weights: int
    source: int
    target: int
    more: int


def rows_of_group(arithmetic: int, form: int) -> int:
    """Return how many output rows are summed together."""
    return FUSED_TILES[arithmetic][0] * (2 if form == PAIRED else 1)


def segments(rows: int) -> list[range]:
    """Return which rows of a group the taps of each segment concern: a growing head, all, a shrinking tail.

    Output rows that are summed together share most of the image rows they read, but not the first and the last ones.

    Examples
    --------
    >>> [list(active) for active in segments(2)]
    [[0], [0, 1], [1]]
    """
    return [range(n + 1) for n in range(rows)] + [range(n + 1, rows) for n in range(rows - 1)]


def segment(active: Sequence[int], rows: int) -> int:
    """Return the first of the `segments` that covers the rows a tap concerns, given in ascending order.

    Examples
    --------
    >>> segment([0], 2), segment([0, 1], 2), segment([1], 2)
    (0, 1, 2)
    """
    if not active or active[0] == 0:
        return int(active[-1]) if active else 0
    return rows - 1 + int(active[0]) if active[-1] == rows - 1 else rows - 1


def dense_units(size: int, rows: int) -> list[tuple[int, range]]:
    """Return the units of a kernel of `size` rows without zeros in the order of its taps, and the rows they concern.

    Examples
    --------
    >>> [(unit, list(active)) for unit, active in dense_units(2, 2)]
    [(0, [0]), (1, [0, 1]), (2, [1])]
    """
    found = []
    for unit in range(size + rows - 1):
        place = segment(range(max(0, unit - size + 1), min(unit + 1, rows)), rows)
        found.append((place, unit, segments(rows)[place]))
    return [(unit, active) for _, unit, active in sorted(found, key=lambda one: one[:2])]


def pattern_taps(pattern: Sequence[Sequence[int]], rows: int) -> list[tuple[int, int, list[int]]]:
    """Return pair of image rows, column and output rows of each tap of a kernel of a pattern, in their order.

    Examples
    --------
    >>> pattern_taps([[1], [1]], 2)
    [(0, 0, [0, 1]), (1, 0, [1])]
    """
    used: dict[tuple[int, int], set[int]] = {}
    for row in range(rows):
        for i, line in enumerate(pattern):
            for j in range(len(line)):
                if line[j]:
                    used.setdefault(((row + i) // 2, j), set()).add(row)
    parts = {place: segment(sorted(used[place]), rows) for place in used}
    return [(*place, sorted(used[place])) for place in sorted(used, key=lambda place: (parts[place], place))]
