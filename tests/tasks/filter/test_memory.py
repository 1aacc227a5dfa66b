"""The forecast of a filter's memory is at least what it allocates, and not far more."""

import tracemalloc

import numpy as np
import pytest
from command_line import expect_error, run_cnn
from PIL import Image as Pillow

from cnncli.errors import CnnError, ShapeError
from cnncli.filtering.alpha import filter_with_alpha
from cnncli.filtering.apply import FilterPlan, apply_filter
from cnncli.filters import parse_border, parse_steps
from cnncli.tasks.filter import memory
from cnncli.tasks.filter.memory import check_memory, memory_needed, result_shape

MIB = 1 << 20


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(
    ("specs", "options"),
    [
        (["sharpen"], {}),
        (["gaussian:3", "sobel"], {"range": "minmax"}),
        (["box:31"], {"stride": (2, 2)}),
        (["box:9"], {"padding": (0, 0, 0, 3000), "border": parse_border("wrap"), "dtype": "float32"}),
        (["maxpool:2", "gray"], {}),
    ],
    ids=str,
)
def test_no_filter_needs_more_than_the_forecast(specs, options, dtype, alpha):
    pixels = np.zeros((1200, 1000, 3), dtype)
    opacity = np.tile(np.array([0, 1], dtype), (1200, 500))
    plan = FilterPlan(parse_steps(specs), **options)

    def run(rows):
        if alpha:
            return filter_with_alpha(pixels[:rows], opacity[:rows], plan, filter_alpha=False, threads=2)[0].pixels.shape
        return apply_filter(pixels[:rows], plan, threads=2).pixels.shape

    run(80)
    tracemalloc.start()
    try:
        shape = run(1200)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    needed = memory_needed(pixels.shape, plan, pixels.dtype, alpha=alpha, threads=2)
    assert result_shape(pixels.shape, plan, pixels.dtype) == shape
    assert peak <= needed
    assert needed <= peak + 160 * MIB  # strips of two threads at their largest


def test_the_size_of_a_result_is_known_without_its_memory():
    plan = FilterPlan(parse_steps(["maxpool:2"]))
    tracemalloc.start()
    try:
        assert result_shape((60_000, 60_000, 3), plan, np.dtype(np.uint16)) == (30_000, 30_000, 3)
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()
    with pytest.raises(ShapeError, match="output would be 0x0"):
        result_shape((1, 1, 3), plan, np.dtype(np.uint8))


def test_opacity_counts(monkeypatch):
    shape, plan = (4000, 4000, 3), FilterPlan(parse_steps(["sharpen"]))
    plain = memory_needed(shape, plan, np.dtype(np.uint8), alpha=False, threads=1)
    assert memory_needed(shape, plan, np.dtype(np.uint8), alpha=True, threads=1) == plain + 2 * 4000 * 4000
    monkeypatch.setattr(memory, "free_memory", lambda: int(plain / 0.8) + 9)
    check_memory(shape, plan, np.dtype(np.uint8), threads=1)
    with pytest.raises(CnnError, match=r"4000x4000x3 needs 0\.\d+ GiB, 0\.\d+ GiB are free"):
        check_memory(shape, plan, np.dtype(np.uint8), alpha=True, threads=1)


@pytest.mark.parametrize(
    ("name", "mode", "words"),
    [
        ("a.png", "P", "3000x3000x4 needs 0.10"),
        ("a.png", "I;16", "3000x3000x1 needs"),
        ("a.jpg", "RGB", "3000x3000x3 needs"),
        ("a.tif", "RGBA", "3000x3000x4 needs"),
        ("a.webp", "RGB", "3000x3000x3 needs"),
    ],
)
def test_memory_is_asked_for_before_a_picture_is_decoded(tmp_path, monkeypatch, name, mode, words):
    from cnncli.io.images import decoders as decoding

    def decode(*_, **__):
        raise AssertionError("decoded")

    monkeypatch.chdir(tmp_path)
    picture = Pillow.new(mode, (3000, 3000))
    picture.save(name, **({"transparency": bytes([128])} if mode == "P" else {}))
    assert run_cnn("filter", name, "-k", "identity", "-o", "b.png").code == 0
    monkeypatch.setattr(memory, "free_memory", lambda: 60 * MIB)
    monkeypatch.setattr(decoding, "pillow_planes", decode)
    monkeypatch.setattr(decoding, "split_16_bit", decode)
    result = run_cnn("filter", name, "-k", "sharpen", "-j", "1", "-o", "c.png")
    expect_error(result, 1, f"{name}: filtering a picture of {words}", "GiB are free; use ")
