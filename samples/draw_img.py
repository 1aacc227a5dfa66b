"""Draw samples/img.png: edges at every angle, steps, gradients, text and texture on one 512 x 512 picture.

Each area answers one question about a kernel:

    top left      a star: edges at every angle, and finer and finer towards its middle
    top right     discs and rings: round edges, thin lines 1, 2 and 4 pixels wide
    middle left   grey steps of 4 and 16 levels, a ramp (no edge at all), a colour wheel of saturated hues
    middle right  text, white on dark and dark on white
    bottom        a checkerboard, a fabric of sine waves, noise, and bricks with mortar

Run ``python samples/draw_img.py`` to draw it again; the picture does not depend on the machine.
"""

from __future__ import annotations

import colorsys
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE = 512
FINE = 4  # drawn this many times larger, then averaged: soft edges as a lens gives
SKY, INK, PAPER = (92, 128, 168), (28, 30, 38), (244, 240, 228)


def star(draw: ImageDraw.ImageDraw, x: int, y: int, radius: int, rays: int) -> None:
    """Draw alternating wedges: every angle is the angle of some edge."""
    box = [FINE * v for v in (x - radius, y - radius, x + radius, y + radius)]
    draw.ellipse(box, fill=PAPER)
    for ray in range(rays):
        start = 360 * ray / rays
        draw.pieslice(box, start, start + 180 / rays, fill=INK)


def rings(draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
    """Draw discs of three colours with lines of 1, 2 and 4 pixels around them."""
    draw.rectangle([FINE * v for v in (256, 0, 512, 192)], fill=(226, 214, 190))
    colours = ((196, 62, 52), (52, 132, 74), (58, 80, 178))
    for number, (colour, width) in enumerate(zip(colours, (1, 2, 4), strict=True)):
        cx, cy, r = x + 80 * number, y + 18 * number, 20
        draw.ellipse([FINE * v for v in (cx - r, cy - r, cx + r, cy + r)], fill=colour)
        for gap in (8, 17):
            box = [FINE * v for v in (cx - r - gap, cy - r - gap, cx + r + gap, cy + r + gap)]
            draw.ellipse(box, outline=INK, width=FINE * width)


def steps_and_ramps(pixels: np.ndarray) -> None:
    """Fill grey steps of 4 and 16 levels, a smooth ramp, and a band of all hues."""
    ramp = np.linspace(0, 255, 256)
    for column in range(8):
        pixels[192:224, 32 * column : 32 * column + 32] = 112 + 4 * (column % 2) * (1 + column // 2)
        pixels[224:256, 32 * column : 32 * column + 32] = 16 + 32 * column
    pixels[256:288, :256] = ramp[None, :, None]
    hues = [colorsys.hsv_to_rgb(i / 256, 0.75, 0.95) for i in range(256)]
    pixels[288:320, :256] = 255 * np.array(hues)[None]


def text(draw: ImageDraw.ImageDraw) -> None:
    """Write the same words light on dark and dark on light, in three sizes."""
    for top, paper, ink in ((192, INK, PAPER), (256, PAPER, INK)):
        draw.rectangle([FINE * v for v in (256, top, 512, top + 64)], fill=paper)
        for size, x, y, words in (
            (30, 264, 2, "Kernel 3x3"),
            (15, 266, 40, "sharpen 0 -1 5"),
            (10, 392, 45, "edges, lines, dots"),
        ):
            draw.text((FINE * x, FINE * (top + y)), words, fill=ink, font=ImageFont.load_default(FINE * size))


def textures(pixels: np.ndarray) -> None:
    """Fill the bottom with a checkerboard, a fabric, noise and a brick wall."""
    y, x = np.mgrid[0:192, 0:128]
    board = ((y // 8 + x // 8) % 2) * 150 + 50
    pixels[320:, :128] = np.stack([board, board, 0.9 * board], axis=-1)
    weave = np.sin(2 * math.pi * x / 9) * np.sin(2 * math.pi * (y + x / 3) / 14)
    pixels[320:, 128:256] = np.array([150, 104, 84]) + weave[..., None] * np.array([70, 60, 40])
    noise = np.random.default_rng(7).normal(0, 1, (192, 128))
    strength = np.linspace(0, 48, 128)  # from none on the left to strong on the right
    pixels[320:, 256:384] = 128 + (noise * strength)[..., None]
    course = y // 24
    mortar = (y % 24 < 3) | ((x + 22 * (course % 2)) % 44 < 3)
    tone = np.random.default_rng(11).normal(0, 10, (8, 4))[course, (x + 22 * (course % 2)) // 44 % 4]
    grain = np.random.default_rng(13).normal(0, 5, (192, 128))
    bricks = np.array([168, 84, 62]) + (tone + grain)[..., None]
    pixels[320:, 384:] = np.where(mortar[..., None], 206 + grain[..., None], bricks)


def draw_picture() -> Image.Image:
    """Return the picture, RGB, 512 x 512."""
    large = Image.new("RGB", (FINE * SIDE, FINE * SIDE), SKY)
    draw = ImageDraw.Draw(large)
    star(draw, 112, 96, 84, 36)
    rings(draw, 304, 76)
    text(draw)
    # straight edges at a few degrees off the axes: staircases show what a kernel does along them
    for number, angle in enumerate((3, 8, 20)):
        x, y, length = 206, 30 + 52 * number, 44
        tip = (x + length * math.cos(math.radians(angle)), y + length * math.sin(math.radians(angle)))
        draw.line([FINE * v for v in (x, y, *tip)], fill=PAPER, width=FINE * 5)
    pixels = np.asarray(large.resize((SIDE, SIDE), Image.Resampling.BOX)).astype(np.float64)
    steps_and_ramps(pixels)
    textures(pixels)
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


if __name__ == "__main__":
    draw_picture().save(Path(__file__).with_name("img.png"), optimize=True)
