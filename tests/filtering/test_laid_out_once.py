"""What is laid out for one picture serves the next ones: results depend on nothing that came before or beside."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from cnncli.filtering.apply import FilterPlan, apply_filter
from cnncli.tasks.filter.read_steps import parse_steps


def test_pictures_of_one_shape_at_the_same_time_get_their_own_results():
    plan = FilterPlan(parse_steps(["sharpen"]), range="clip")
    pictures = np.random.default_rng(0).integers(0, 256, (24, 60, 80, 3), dtype=np.uint8)
    # no compiled code, and no plan that another picture has used
    alone = [apply_filter(one, FilterPlan(parse_steps(["sharpen"]), range="clip", bias=0.0)) for one in pictures]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: apply_filter(one, plan, compiled=True), pictures))
    for one, other in zip(found, alone, strict=True):
        assert np.array_equal(one.pixels, other.pixels)
        assert (one.minimum, one.maximum, one.below, one.above) == (
            other.minimum, other.maximum, other.below, other.above,
        )  # fmt: skip


def test_extremes_and_counts_start_again_for_each_picture():
    plan = FilterPlan(parse_steps(["sharpen"]), range="clip")
    noise = np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    first = apply_filter(noise, plan, compiled=True)
    flat = apply_filter(np.full_like(noise, 90), plan, compiled=True)
    assert first.below > 0 < first.above
    assert (flat.minimum, flat.maximum, flat.below, flat.above) == (90, 90, 0, 0)
