"""The grid of labelled tiles: every tile stands whole in its cell, and labels stay inside of theirs."""

import itertools

import numpy as np
import pytest

from cnncli.errors import InvalidInputError
from cnncli.io.drawing.grid import gray, grid, signed
from cnncli.io.drawing.lettering import line_height, shortened, text_mask, text_width, write_text

RANDOM = np.random.default_rng(3)


def places(picture, tile):
    """Return every (row, column) at which `tile` (H, W, 3) stands in `picture`."""
    high, wide = tile.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(picture, (high, wide, 3))[:, :, 0]
    return [tuple(map(int, place)) for place in np.argwhere((windows == tile).all(axis=(2, 3, 4)))]


@pytest.mark.parametrize("columns", [None, 1, 2, 5, 9])
def test_every_tile_stands_once_and_in_order(columns):
    sizes = [(64, 70), (70, 64), (1, 1), (33, 64), (12, 70)]
    tiles = [RANDOM.integers(0, 200, (*size, 3), np.uint8) for size in sizes]
    tiles[2][:] = (1, 2, 3)
    picture = grid(tiles, list("abcde"), columns)
    found = [places(picture, tile) for tile in tiles]
    assert [len(place) for place in found] == [1] * 5
    centres = [(place[0][0] + size[0] / 2, place[0][1] + size[1] / 2) for place, size in zip(found, sizes, strict=True)]
    rows = sorted({round(row, 0) // 8 for row, _ in centres})
    across = {None: 3, 1: 1, 2: 2, 5: 5, 9: 5}[columns]
    assert len(rows) == -(-5 // across)
    for first, second in itertools.pairwise(centres):
        assert second[1] > first[1] or second[0] > first[0] + 8  # further right, or in the next row


def test_gray_tiles_and_colour_tiles_may_stand_side_by_side():
    flat = RANDOM.integers(0, 200, (64, 64), np.uint8)
    picture = grid([flat, flat[..., None], np.stack([flat] * 3, axis=2)])
    assert len(places(picture, np.stack([flat] * 3, axis=2))) == 3


def test_small_tiles_are_magnified_by_whole_squares():
    tile = RANDOM.integers(0, 200, (3, 5, 3), np.uint8)
    magnified = np.repeat(np.repeat(tile, 13, axis=0), 13, axis=1)  # 13 is the least with 5 * 13 >= 64
    assert len(places(grid([tile]), magnified)) == 1
    assert len(places(grid([tile], zoom=2), np.repeat(np.repeat(tile, 2, axis=0), 2, axis=1))) == 1


def test_a_label_stays_in_its_cell():
    dark = np.zeros((64, 64, 3), np.uint8)
    picture = grid([dark, dark], ["x" * 500, ""], columns=2)
    plain = grid([dark, dark], ["x" * 500, "y"], columns=2)
    assert picture.shape == plain.shape
    assert picture.shape[1] < 2 * 150 + 40
    assert text_width(shortened("x" * 500, 12, 150), 12) <= 150
    assert shortened("short", 12, 150) == "short"
    assert shortened("short", 12, 1) == ""


def test_a_title_has_its_own_line():
    tile = RANDOM.integers(0, 200, (64, 64, 3), np.uint8)
    with_title, without = grid([tile], title="title"), grid([tile])
    (row, _), (plain_row, _) = places(with_title, tile)[0], places(without, tile)[0]
    assert row - plain_row == with_title.shape[0] - without.shape[0] >= line_height(15)


def test_letters_are_cut_at_the_edge_of_the_picture():
    mask = text_mask("W", 20)
    assert mask.max() == 255
    whole = np.full((mask.shape[0] + 20, mask.shape[1] + 20, 3), 255, np.uint8)
    write_text(whole, 10, 10, "W", 20, (0, 0, 0))
    assert np.array_equal(whole[10:-10, 10:-10, 0], 255 - mask)
    for top in (-10, 0, 10, 100, -100):
        for left in (-10, 0, 10, 100, -100):
            part = np.full((20, 20, 3), 255, np.uint8)
            write_text(part, top, left, "W", 20, (0, 0, 0))
            expected = np.full((420, 420), 255, np.uint8)
            expected[200 + top : 200 + top + mask.shape[0], 200 + left : 200 + left + mask.shape[1]] = 255 - mask
            assert np.array_equal(part[..., 0], expected[200:220, 200:220])


def test_a_picture_that_is_too_large_is_refused_before_it_is_made():
    with pytest.raises(InvalidInputError, match=r"exceeds 100 Mpx"):
        grid([np.zeros((1, 50_000), np.uint8)] * 9, [], 9, zoom=10)


def test_numbers_as_gray_and_as_colours():
    values = np.array([[-1.0, 0.0, 1.0, np.nan]])
    assert gray(values).tolist() == [[0, 128, 255, 0]]
    assert gray(values, 0, 2).tolist() == [[0, 0, 128, 0]]
    assert gray(np.full((2, 2), 7.0)).tolist() == [[128, 128], [128, 128]]
    assert signed(values)[0].tolist() == [[33, 102, 172], [255, 255, 255], [178, 24, 43], [255, 255, 255]]
    assert signed(values, 2)[0, 2].tolist() == [216, 140, 149]
    assert signed(np.zeros((1, 1)))[0, 0].tolist() == [255, 255, 255]
