"""Pictures of digits as people make them: from a data set's image to scans, photographs, chalk boards and crops.

Nothing here knows how `cnn predict` prepares a picture. A variant is a function of the image (bright ink on black, as
in the data set) and a random generator; the parameters of each drawing are random within what its name says.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

Picture = np.ndarray
Random = np.random.Generator
PHOTO = 480, 640  # height and width [px]


def box_of(digit: Picture, threshold: int = 0) -> tuple[slice, slice]:
    """Return the rows and columns that hold ink."""
    rows, columns = np.flatnonzero((digit > threshold).any(1)), np.flatnonzero((digit > threshold).any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def tight(digit: Picture, threshold: int = 0) -> Picture:
    """Cut a digit out without a margin."""
    return digit[box_of(digit, threshold)]


def sized(picture: Picture, height: int, width: int) -> Picture:
    """Return another size, bicubic."""
    image = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image)


def jpeg(picture: Picture, quality: int) -> Picture:
    """Return what is left of a picture in a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def as_bytes(values: Picture) -> Picture:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def noisy(values: Picture, random: Random, sigma: float) -> Picture:
    return as_bytes(values + random.normal(0, sigma, values.shape))


def shifted(digit: Picture, random: Random, most: int, least: int = 1) -> Picture:
    """Move the digit by up to `most` pixels per side, and by `least` at least, keeping all of it in the picture."""
    rows, columns = box_of(digit)
    room = (-rows.start, digit.shape[0] - rows.stop), (-columns.start, digit.shape[1] - columns.stop)
    while True:
        moves = [int(random.integers(-most, most + 1)) for _ in range(2)]
        moves = [min(max(move, low), high) for move, (low, high) in zip(moves, room, strict=True)]
        if max(map(abs, moves)) >= min(least, max(abs(side) for pair in room for side in pair)):
            return np.roll(digit, moves, (0, 1))


def on_canvas(digit: Picture, random: Random, height: int, width: int, ground: int = 0) -> Picture:
    """Lay the image somewhere on a larger one."""
    result = np.full((height, width), ground, np.uint8)
    top, left = random.integers(0, height - digit.shape[0] + 1), random.integers(0, width - digit.shape[1] + 1)
    result[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return result


def ink_map(digit: Picture, random: Random, shape: tuple[int, int], *, margin: float = 0.08, pen: int = 0) -> Picture:
    """Return where the ink is (0..1) on a sheet: the digit enlarged to 40 to 62 % of the sheet, off the middle.

    A `pen` above 0 widens the stroke by so many pixels per side, below 0 narrows it.
    """
    height, width = shape
    drawn = tight(digit)
    tall = random.uniform(0.4, 0.62) * min(shape) * drawn.shape[0] / max(drawn.shape)
    wide = tall * drawn.shape[1] / drawn.shape[0]
    # a pixel of black around it keeps the soft edge
    size = tuple(max(4, round(side)) + round(side * 2 / n) for side, n in zip((tall, wide), drawn.shape, strict=True))
    large = Image.fromarray(sized(np.pad(drawn, 1), *size))
    if pen:
        large = large.filter(ImageFilter.GaussianBlur(2)).point(lambda v: 255 if v > 127 else 0)
        kind = ImageFilter.MaxFilter if pen > 0 else ImageFilter.MinFilter
        large = large.filter(kind(2 * abs(pen) + 1)).filter(ImageFilter.GaussianBlur(1.2))
    large = np.asarray(large)
    ink = np.zeros(shape)
    room = height - large.shape[0], width - large.shape[1]
    top, left = (
        random.integers(edge, free - edge + 1)
        for free, edge in ((free, min(round(margin * side), free // 2)) for free, side in zip(room, shape, strict=True))
    )
    ink[top : top + large.shape[0], left : left + large.shape[1]] = large / 255
    return ink


def lit(shape: tuple[int, int], random: Random, strength: float = 0.25) -> Picture:
    """Return paper under light that falls off in some direction (1 = full light)."""
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    angle = random.uniform(0, 2 * np.pi)
    return 1 - strength * (1 + x * np.cos(angle) + y * np.sin(angle)) / 2.5


def vignette(shape: tuple[int, int], strength: float) -> Picture:
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    return 1 - strength * (x * x + y * y) / 2


def photograph(
    reflectance: Picture, light: Picture, random: Random, *, white: float = 225, sigma: float = 5, blur: float = 1.2
) -> Picture:
    """Return an RGB photograph: light times reflectance, blurred, with noise, as JPEG."""
    gray = Image.fromarray(as_bytes(reflectance * light * white)).filter(ImageFilter.GaussianBlur(blur))
    tint = np.array([1.0, 0.98, 0.93])
    return jpeg(noisy(np.asarray(gray)[..., None] * tint, random, sigma), 85)


def photo(digit: Picture, random: Random) -> Picture:
    ink = ink_map(digit, random, PHOTO)
    return photograph(1 - random.uniform(0.6, 0.85) * ink, lit(PHOTO, random), random)


def ruled(digit: Picture, random: Random) -> Picture:
    """Pale lines, as in an exercise book, thinner and fainter than the pen."""
    ink = random.uniform(0.65, 0.85) * ink_map(digit, random, PHOTO)
    distance, thickness = int(random.integers(45, 70)), int(random.integers(2, 4))
    y = np.arange(PHOTO[0])[:, None] + random.uniform(-0.02, 0.02) * np.arange(PHOTO[1])
    lines = ((y + random.integers(0, distance)) % distance < thickness) * random.uniform(0.15, 0.3)
    return photograph((1 - ink) * (1 - lines), lit(PHOTO, random, 0.15), random, sigma=4)


def strong_vignette(digit: Picture, random: Random) -> Picture:
    ink = ink_map(digit, random, PHOTO)
    return photograph(1 - 0.75 * ink, vignette(PHOTO, random.uniform(0.5, 0.65)), random)


def strips(digit: Picture, random: Random, sides: int, share: float, level: float, white: float = 225) -> Picture:
    """A dark table beside the sheet along one side, or along two that meet."""
    ink = ink_map(digit, random, PHOTO, margin=share + 0.02)
    paper = 1 - 0.75 * ink
    first = int(random.integers(4))
    for side in range(first, first + sides):
        turned = np.rot90(paper, side)
        turned[:, : round(share * turned.shape[1])] = level
    return photograph(paper, lit(PHOTO, random, 0.15), random, white=white)


def two_digits(digit: Picture, random: Random, other: Picture) -> Picture:
    gap = np.zeros((digit.shape[0], int(random.integers(0, 8))), np.uint8)
    pair = np.pad(np.concatenate([digit, gap, other], 1), 4)
    return 255 - sized(pair, *(3 * side for side in pair.shape))


def blank(random: Random) -> Picture:
    return photograph(np.ones(PHOTO), lit(PHOTO, random), random)


def coloured(digit: Picture, random: Random) -> Picture:
    """A saturated ink on pastel paper."""
    ink = ink_map(digit, random, (200, 200))[..., None]
    paper, colour = random.uniform(200, 255, 3), random.permutation([random.uniform(0, 60), random.uniform(0, 60), 150])
    return as_bytes(paper * (1 - ink) + colour * ink)


def chalk(digit: Picture, random: Random) -> Picture:
    ink = ink_map(digit, random, PHOTO) * random.uniform(0.6, 1, PHOTO)
    return photograph(0.2 + 0.65 * ink, lit(PHOTO, random), random, sigma=7)


def pencil(digit: Picture, random: Random) -> Picture:
    return photograph(1 - random.uniform(0.2, 0.3) * ink_map(digit, random, PHOTO), lit(PHOTO, random), random, sigma=4)


def pen(digit: Picture, random: Random, width: int) -> Picture:
    shape = 300, 400
    return as_bytes(245 - 215 * ink_map(digit, random, shape, pen=width))


def rotated(digit: Picture, random: Random) -> Picture:
    angle = random.uniform(5, 15) * random.choice([-1, 1])
    return np.asarray(Image.fromarray(digit).rotate(angle, Image.Resampling.BICUBIC))


def specks(digit: Picture, random: Random) -> Picture:
    sheet = 240 - 200 * ink_map(digit, random, (300, 300))
    for _ in range(12):
        y, x = random.integers(0, 297, 2)
        sheet[y : y + 2, x : x + 2] = 60
    return as_bytes(sheet)


def box_frame(digit: Picture, random: Random) -> Picture:
    """A field of a form: a thin box around the digit that touches the frame of the picture."""
    sheet = 245 - 205 * ink_map(digit, random, (260, 260), margin=0.1)
    sheet[[0, 1, -2, -1], :] = sheet[:, [0, 1, -2, -1]] = 40
    return as_bytes(sheet)


def enlarged_tight(digit: Picture, random: Random) -> Picture:
    drawn = tight(digit)
    factor = random.uniform(4, 12)
    return sized(drawn, round(drawn.shape[0] * factor), round(drawn.shape[1] * factor))


def large_in_frame(digit: Picture, random: Random) -> Picture:
    drawn = tight(digit)
    factor = 26 / max(drawn.shape)
    drawn = sized(drawn, *(max(1, round(side * factor)) for side in drawn.shape))
    return on_canvas(drawn, random, 28, 28)


Variant = Callable[[Picture, Random], Picture]

WHOLE: dict[str, Variant] = {
    "raw": lambda d, r: d,
    "inverted": lambda d, r: 255 - d,
    "RGB": lambda d, r: np.repeat(d[..., None], 3, 2),
    "JPEG": lambda d, r: jpeg(d, int(r.integers(40, 80))),
    "inverted JPEG": lambda d, r: jpeg(255 - d, int(r.integers(25, 60))),
    "light with noise": lambda d, r: noisy(235 - d * 0.8, r, r.uniform(4, 10)),
    "dark with noise": lambda d, r: noisy(15 + d * 0.85, r, r.uniform(4, 10)),
    "black canvas": lambda d, r: on_canvas(d, r, int(r.integers(40, 120)), int(r.integers(40, 120))),
    "white canvas": lambda d, r: 255 - on_canvas(d, r, int(r.integers(40, 120)), int(r.integers(40, 120))),
    "coloured": coloured,
    "56x56": lambda d, r: sized(d, 56, 56),
    "shifted by up to 2": lambda d, r: shifted(d, r, 2),
    "shifted by up to 4": lambda d, r: shifted(d, r, 4),
    "shifted, inverted": lambda d, r: 255 - shifted(d, r, 4),
    "shifted with noise": lambda d, r: noisy(15 + shifted(d, r, 4) * 0.85, r, r.uniform(4, 8)),
    "large in 28x28": large_in_frame,
    "tight": lambda d, r: tight(d),
    "tight, inverted": lambda d, r: 255 - tight(d),
    "tight, enlarged": enlarged_tight,
    "tight, enlarged, inverted": lambda d, r: 255 - enlarged_tight(d, r),
    "photo": photo,
    "ruled paper": ruled,
    "vignette": strong_vignette,
    "strip of 5 %": lambda d, r: strips(d, r, 1, 0.05, 0.25),
    "strip of 12 %": lambda d, r: strips(d, r, 1, 0.12, 0.25),
    "dark corner": lambda d, r: strips(d, r, 2, 0.12, 0.25),
    "chalk": chalk,
    "faint pencil": pencil,
    "specks": specks,
    "box": box_frame,
}
# the picture itself has lost or changed something: a stroke of 14x14, a slant, a width that the data set does not have
CHANGED: dict[str, Variant] = {
    "14x14": lambda d, r: sized(d, 14, 14),
    "rotated": rotated,
    "thin pen": lambda d, r: pen(d, r, -3),
    "thick marker": lambda d, r: pen(d, r, 4),
}
