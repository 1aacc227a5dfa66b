"""Random changes of training images: what they do, and on what they depend."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from cnncli.engine.moving import move_images
from cnncli.errors import UsageError
from cnncli.io.datasets import load_dataset
from cnncli.io.datasets.dataset import Split
from cnncli.model.sources import read_source
from cnncli.tasks.train.augmentation import CHANGES, parse_augmentation, uniform
from cnncli.tasks.train.options import TrainingOptions
from cnncli.tasks.train.plan import plan_training

GROUND = (10, 200, 90)
IMAGES = np.random.default_rng(1).integers(0, 256, (300, 12, 16, 3), np.uint8)
NUMBERS = np.arange(300)


def changed(text, images=IMAGES, numbers=NUMBERS, seed=0, epoch=1, ground=GROUND):
    return parse_augmentation(text).apply(images.copy(), numbers, seed=seed, epoch=epoch, ground=ground)


def test_random_numbers_are_those_of_the_definition():
    mask = (1 << 64) - 1

    def finalize(z):
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        return z ^ (z >> 31)

    for seed, epoch, image, stream in [(0, 1, 0, 0), (2**64 - 1, 40, 59_999, 17), (5, 2, 3, 1)]:
        key = seed
        for position, word in enumerate((epoch, image, stream), start=1):
            key = finalize((key + 0x9E3779B97F4A7C15 * position) & mask) ^ word
        expected = (finalize(key) >> 11) * 2.0**-53
        assert uniform(seed, epoch, np.array([image]), stream).tolist() == [expected]


def test_random_numbers_are_even_and_independent():
    rows = np.stack([uniform(3, epoch, np.arange(4000), stream) for epoch in (1, 2) for stream in range(4)])
    assert np.allclose(rows.mean(1), 0.5, atol=0.03)
    assert np.allclose(np.corrcoef(rows), np.eye(8), atol=0.06)


def test_flip_turns_half_of_the_images():
    after = changed("flip")
    turned = (after == IMAGES[:, :, ::-1]).all((1, 2, 3))
    assert ((after == IMAGES).all((1, 2, 3)) ^ turned).all()
    assert 120 < turned.sum() < 180


@pytest.mark.parametrize(("name", "padding"), [("crop", "constant"), ("shift", "edge")])
def test_crop_and_shift_are_windows_of_the_padded_image(name, padding):
    after, seen = changed(f"{name}:2"), set()
    for image, result in zip(IMAGES, after, strict=True):
        planes = []
        for channel, colour in enumerate(GROUND):
            more = {"constant_values": colour} if padding == "constant" else {}
            planes.append(np.pad(image[..., channel], 2, mode=padding, **more))
        padded = np.stack(planes, axis=-1)
        places = [(y, x) for y in range(5) for x in range(5) if np.array_equal(padded[y : y + 12, x : x + 16], result)]
        assert len(places) == 1
        seen.update(places)
    assert len(seen) == 25


def test_rotation_agrees_with_scipy():
    smooth = np.stack([ndimage.gaussian_filter(image.astype(float), (2, 2, 0)) for image in IMAGES[:20]])
    smooth = np.clip(np.rint(smooth), 0, 255).astype(np.uint8)
    after = changed("rotate:20", smooth, NUMBERS[:20])
    angles = (2 * uniform(0, 1, NUMBERS[:20], list(CHANGES).index("rotate") * 8) - 1) * 20
    assert angles.min() < -10
    assert angles.max() > 10
    for image, result, angle in zip(smooth, after, angles, strict=True):
        expected = ndimage.rotate(image.astype(float), angle, reshape=False, order=1, mode="constant", cval=-1e9)
        inside = expected > -1  # all four neighbours lie in the picture
        assert inside.mean() > 0.6
        assert np.abs(result.astype(float) - expected)[inside].max() <= 1


def test_what_rotation_brings_in_is_the_ground():
    after = changed("rotate:45", np.zeros((50, 12, 16, 3), np.uint8), NUMBERS[:50])
    values = {tuple(pixel) for pixel in after.reshape(-1, 3)}
    assert values == {(0, 0, 0), GROUND}


def test_brightness_scales_all_pixels_of_an_image():
    factors = 1 + (2 * uniform(0, 1, NUMBERS, list(CHANGES).index("brightness") * 8) - 1) * 0.5
    expected = np.clip(np.rint(IMAGES * factors[:, None, None, None]), 0, 255)
    assert np.array_equal(changed("brightness:0.5"), expected)
    assert factors.min() < 0.6
    assert factors.max() > 1.4


def test_cutout_hides_a_square():
    after = changed("cutout:5")
    sizes = set()
    for image, result in zip(IMAGES, after, strict=True):
        hidden = (result == GROUND).all(-1)
        assert np.array_equal(result[~hidden], image[~hidden])
        rows, columns = np.flatnonzero(hidden.any(1)), np.flatnonzero(hidden.any(0))
        assert hidden.sum() == len(rows) * len(columns)  # a full rectangle
        sizes.add((len(rows), len(columns)))
    assert max(sizes) == (5, 5)
    assert min(sizes) < (4, 4)  # at the frame a part of it


ALL = "flip,shift:2,crop:3,rotate:15,brightness:0.3,cutout:4"


def test_a_change_depends_on_seed_epoch_and_image_alone():
    whole = changed(ALL)
    order = np.random.default_rng(0).permutation(300)
    assert np.array_equal(changed(ALL, IMAGES[order], order), whole[order])
    parts = [changed(ALL, IMAGES[k : k + 7], NUMBERS[k : k + 7]) for k in range(0, 300, 7)]
    assert np.array_equal(np.concatenate(parts), whole)
    assert not np.array_equal(changed(ALL, epoch=2), whole)
    assert not np.array_equal(changed(ALL, seed=1), whole)
    assert (
        hashlib.sha256(changed("flip,crop:3,brightness:0.3,cutout:4").tobytes()).hexdigest()[:16] == "e9a9f63dafde8896"
    )


def test_a_second_kind_does_not_change_the_first():
    plain = changed("flip")
    hidden = (changed("flip,cutout:4") == GROUND).all(-1)
    assert np.array_equal(changed("flip,cutout:4")[~hidden], plain[~hidden])


def test_batches_copy_only_what_they_change():
    data = load_dataset("digits")
    before, chosen = data.train.images.copy(), np.array([5, 2])
    options = TrainingOptions(arch="digits", dataset="digits", augment="none", seed=3)
    images, _, places = plan_training(options, read_source("digits"), data).batch(chosen, 1)
    assert images is data.train.images
    assert places.tolist() == [5, 2]
    plan = plan_training(replace(options, augment="shift:1,rotate:9"), read_source("digits"), data)
    images, labels, places = plan.batch(chosen, 2)
    expected = changed("shift:1,rotate:9", before[chosen], chosen, seed=3, epoch=2, ground=(0,))
    assert np.array_equal(images, expected)
    assert labels.tolist() == data.train.labels[chosen].tolist()
    assert places.tolist() == [0, 1]
    assert np.array_equal(before, data.train.images)


def test_gray_images_are_changed_too():
    assert changed(ALL, IMAGES[..., :1], ground=(0,)).shape == (300, 12, 16, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("flop", "did you mean flip"),
        ("flip:2", "takes no amount"),
        ("crop:x", "whole number"),
        ("crop:0", "whole number"),
        ("crop:1.5", "whole number"),
        ("rotate:181", "up to 180"),
        ("rotate:nan", "up to 180"),
        ("brightness:2", "up to 1 "),
        ("flip,flip", "stands twice"),
        ("flip,none", "unknown change 'none'"),
    ],
)
def test_bad_words_are_refused(text, words):
    with pytest.raises(UsageError, match=words):
        parse_augmentation(text)


def test_amounts_larger_than_the_image_are_refused():
    parse_augmentation("crop:7").check(8, 9)
    with pytest.raises(UsageError, match="cutout:8 is too much for images of 8x9; give at most cutout:7"):
        parse_augmentation("cutout:8").check(8, 9)


def test_rotation_by_nothing_is_nothing():
    assert np.array_equal(changed("rotate:1e-9"), IMAGES)


def test_photographs_to_be_classified_are_changed_without_being_asked():
    digits = load_dataset("digits")
    options = TrainingOptions(arch="a", dataset="d", augment="auto")

    def planned(side, channels, **more):
        images = np.zeros((40, side, side, channels), np.uint8)
        part = Split(images, np.arange(40) % 10)
        data = replace(digits, train=part, test=part.first(0), mean=(0.5,) * channels, std=(0.5,) * channels,
                       light_on_dark="placement" in more, **{"placement": None} | more)  # fmt: skip
        plan = plan_training(options, read_source("digits"), data)
        return plan.augmentation.text, any("--augment none" in note for note in plan.notes)

    assert planned(32, 3) == ("flip,crop:4", True)
    assert planned(28, 1, placement=digits.placement) == ("shift:2", True)
    assert planned(23, 3) == ("none", False)
    assert planned(32, 1) == ("none", False)
    assert plan_training(options, read_source("digits"), digits).augmentation.text == "none"


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (5, 7)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_moved_images_against_one_pixel_at_a_time(size, channels):
    height, width = size
    images = np.random.default_rng(7).integers(0, 256, (60, height, width, channels), np.uint8)
    ground = np.array([3, 9, 27, 81], np.uint8)[:channels]
    moves = np.random.default_rng(8).integers((-12, -12, 0, 0), (13, 13, 2, 2), (60, 4))
    expected = np.empty_like(images)
    for n, (down, right, is_mirrored, repeats_edge) in enumerate(moves.tolist()):
        for h, w in np.ndindex(height, width):
            row, column = h - down, (width - 1 - w if is_mirrored else w) - right
            inside = 0 <= row < height and 0 <= column < width
            near = images[n, min(max(row, 0), height - 1), min(max(column, 0), width - 1)]
            expected[n, h, w] = near if inside or repeats_edge else ground
    assert np.array_equal(move_images(images, moves, ground), expected)
