"""How often windows read pixels, against counting them one by one."""

from __future__ import annotations

import re

from command_line import run_cnn
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnncli.layers.base import Window
from cnncli.shapes import out_length
from cnncli.tasks.shape.window_notes import coverage, visits


@given(
    st.integers(1, 20), st.integers(1, 6), st.integers(1, 5), st.integers(0, 6), st.integers(0, 6), st.integers(1, 3)
)
def test_visits_counts_every_read(length, kernel, stride, before, after, dilation):
    outputs = out_length(length, kernel, stride, (before, after), dilation)
    counts = [0] * length
    for output in range(outputs):
        for tap in range(kernel):
            pixel = output * stride - before + tap * dilation
            if 0 <= pixel < length:
                counts[pixel] += 1
    window = Window((kernel, 1), (stride, 1), (before, after, 0, 0), (dilation, 1))
    assert visits(length, outputs, window, 0) == counts


def test_corners_are_read_once():
    counts = coverage((1, 6, 8), (1, 4, 6), Window((3, 3)))
    assert (counts[0][0], counts[0][-1], counts[-1][0], counts[-1][-1]) == (1, 1, 1, 1)
    assert max(map(max, counts)) == 9
    assert sum(map(sum, counts)) == 4 * 6 * 9


@settings(max_examples=200)
@given(
    st.integers(1, 24),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(0, 3),
    st.integers(1, 3),
    st.sampled_from(["floor", "ceil"]),
)
def test_every_pixel_that_is_never_read_is_noted(length, kernel, stride, padding, dilation, rounding):
    layer = f"conv:{kernel},s={stride},p={padding},d={dilation},round={rounding}"
    result = run_cnn("shape", f"{length}x{length}", layer, "--coverage", "--json")
    assume(result.code == 0)
    unread = sum(not any(row) for row in result.json["coverage"])
    said = 0
    for note in result.json.get("notes", ()):
        if found := re.match(r"(\d+) rows? and .* (never read|skipped)$", note):
            said += int(found[1])
    assert said == unread
