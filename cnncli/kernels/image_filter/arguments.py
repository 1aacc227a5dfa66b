"""What the two sides of the image filter agree on: the arguments of a job and of a pass, kinds, shapes of taps.

Importing this does not import Numba.
"""

from __future__ import annotations

from typing import NamedTuple

from cnncli.compute.arguments import Float32s, Float64s, Int64s
from cnncli.compute.host import LANES

#: output rows that share a loaded vector, and vectors side by side, for tall kernels, low kernels and single rows
TALL, LOW, SINGLE = {16: ((4, 6), (2, 8), (1, 8)), 8: ((4, 3), (2, 6), (1, 8)), 4: ((4, 3), (2, 6), (1, 8))}[LANES]

U8, U16, F32, NOTHING = range(4)  # kinds of numbers, in the order of their size
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


def segments(rows: int) -> list[range]:
    """Return which rows of a group the taps of each segment concern: a growing head, all, a shrinking tail.

    Output rows that are summed together share most of the image rows they read, but not the first and the last ones.

    Examples
    --------
    >>> [list(active) for active in segments(2)]
    [[0], [0, 1], [1]]
    """
    return [range(n + 1) for n in range(rows)] + [range(n + 1, rows) for n in range(rows - 1)]
