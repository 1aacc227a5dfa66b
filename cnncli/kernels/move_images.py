"""8-bit images moved by whole pixels and mirrored: what augmentation does to most images."""

from __future__ import annotations

from numba import types

from cnncli.compute.arguments import Int64s
from cnncli.compute.kernel import kernel
from cnncli.kernels.simd.vectors import pointer


@kernel
def move_images(
    source: Int64s, target: Int64s, ground: Int64s, moves: Int64s, count: int, height: int, width: int, channels: int
) -> None:
    """Write target[n, h, w] = source[n, h - down, v - right]; v is w, or width - 1 - w where the image is mirrored.

    `source`, `target` and `ground` hold addresses of uint8: images (count, height, width, channels), and the pixel that
    comes in from outside. `moves` has four numbers per image: down, right, 1 to mirror it after the move, and 1 to let
    the nearest pixel of the edge come in instead of `ground`.
    """
    images, moved, outside = (
        pointer(source[0], types.uint8(0)),
        pointer(target[0], types.uint8(0)),
        pointer(ground[0], types.uint8(0)),
    )
    for n in range(count):
        down, right, is_mirrored, repeats_edge = moves[4 * n], moves[4 * n + 1], moves[4 * n + 2], moves[4 * n + 3]
        image = n * height * width * channels
        for h in range(height):
            row = h - down
            is_inside = 0 <= row < height
            row = image + min(max(row, 0), height - 1) * width * channels
            to, left = image + h * width * channels, min(max(right, 0), width)
            end = max(left, width + min(right, 0))
            if is_mirrored:
                left, end = width - end, width - left
            if not (is_inside or repeats_edge):
                left = end = width
            step = -channels if is_mirrored else channels
            begin = row + (width - 1 - right if is_mirrored else -right) * channels  # where w = 0 reads
            if is_mirrored:
                for w in range(left, end):
                    for c in range(channels):
                        moved[to + w * channels + c] = images[begin - w * channels + c]
            else:
                for place in range(left * channels, end * channels):
                    moved[to + place] = images[begin + place]
            for w in range(width - (end - left)):
                w = w if w < left else w + end - left
                edge = min(max(begin + w * step, row), row + (width - 1) * channels)
                for c in range(channels):
                    moved[to + w * channels + c] = images[edge + c] if repeats_edge else outside[c]
