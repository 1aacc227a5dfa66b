"""What the two sides of the image filter agree on: words of a job and of a pass, kinds, shapes of taps."""

from __future__ import annotations

from cnncli.kernels.host import LANES

#: output rows that share a loaded vector, and vectors side by side, for tall kernels, low kernels and single rows
TALL, LOW, SINGLE = {16: ((4, 6), (2, 8), (1, 8)), 8: ((4, 3), (2, 6), (1, 8)), 4: ((4, 3), (2, 6), (1, 8))}[LANES]

# words of a job, see image_filter_job.py
SOURCE, SOURCE_ROW, SOURCE_KIND, ROW_INDEX, COLUMN_INDEX, WIDTH, CHANNELS, LEFT, PADDED_WIDTH, PARAMETERS = range(10)
OUT, OUT_ROW, OUT_KIND, OUT_HEIGHT, OUT_WIDTH, STRIDE_Y, STRIDE_X, REACH_Y, STRIP, BLOCK = range(10, 20)
PASSES, FILTERS, COMBINE, ABSOLUTE, QUOTIENT, SCRATCH, SCRATCH_STEP, BLOCK_ROWS, PITCH, TALLY = range(20, 30)
REACH_X, GROUP, STREAMED, WORDS = range(30, 34)
# parameters: float32 numbers
CONSTANT, INVERSE, DIVISOR, POST_SCALE, POST_SHIFT, WHITE, STARTS = range(7)
# words of a pass: reads the block (0) or the between rows (1), writes the between rows (0) or the response (1)
PASS_SHAPE, PASS_ENDS, PASS_PLACES, PASS_WEIGHTS, PASS_FROM, PASS_TO, PASS_MORE, PASS_WORDS = range(8)
U8, U16, F32, NOTHING = range(4)
STACK, MAGNITUDE, MAXIMUM = range(3)


def segments(rows: int) -> list[range]:
    """Return which rows of a group the taps of each segment concern: a growing head, all, a shrinking tail.

    Output rows that are summed together share most of the image rows they read, but not the first and the last ones.

    Examples
    --------
    >>> [list(active) for active in segments(2)]
    [[0], [0, 1], [1]]
    """
    return [range(n + 1) for n in range(rows)] + [range(n + 1, rows) for n in range(rows - 1)]
