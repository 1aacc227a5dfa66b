"""From 8-bit images to vectors of images: pick, transpose, scale."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from cnncli.compute.arguments import Int64s, Maps, Reals
from cnncli.compute.kernel import kernel
from cnncli.kernels.simd.vectors import (
    ELEMENTS,
    LANES,
    load_vector,
    pointer,
    store_vector,
    transpose_lanes,
    vfma,
    vload,
    vset,
    vstore,
)


@intrinsic
def _bytes_to_lanes(typingctx: Any, source: Any, picks: Any, size: Any, start: Any, target: Any) -> Any:
    """target[e][i] = source[picks[i]*size + start + e] for e, i < LANES: LANES bytes of LANES images, transposed."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, picks, size, start, out = args
        byte, number, real = ir.IntType(8), ir.IntType(64), ELEMENTS[target.dtype]
        rows = []
        for i in range(LANES):
            pick = builder.load(builder.gep(picks, [ir.Constant(number, i)], source_etype=number), typ=number)
            rows.append(load_vector(builder, source, builder.add(builder.mul(pick, size), start), byte))
        for e, column in enumerate(transpose_lanes(builder, rows)):
            wide = builder.zext(column, ir.VectorType(ir.IntType(32), LANES))
            value = builder.uitofp(wide, ir.VectorType(real, LANES))
            store_vector(builder, value, out, ir.Constant(number, e * LANES))
        return context.get_dummy_value()

    return types.void(source, picks, types.int64, types.int64, target), codegen


@kernel
def gather_images(source: Int64s, picks: Int64s, x: Maps, scale: Reals, shift: Reals, scratch: Reals) -> None:
    """Write x[c, h, w, lane] = scale[c] * image[picks[lane]][h, w, c] + shift[c].

    `source` holds the address of the images, uint8 (N, H, W, C); `scratch` has room for LANES*LANES numbers.
    """
    images = pointer(source[0], types.uint8(0))
    channels, height, width = x.channels, x.height, x.width
    size = channels * height * width
    if size < LANES:
        for lane in range(LANES):
            for e in range(size):
                c, h, w = e % channels, e // channels // width, e // channels % width
                x.data[c * x.channel_step + h * x.row_step + w * LANES + lane] = (
                    scale[c] * images[picks[lane] * size + e] + shift[c]
                )
        return
    for block in range(0, size, LANES):
        start = min(block, size - LANES)
        _bytes_to_lanes(images, picks, size, start, scratch)
        c, h, w = start % channels, start // channels // width, start // channels % width
        for e in range(LANES):
            value = vfma(vload(scratch, e * LANES), vset(scale[c]), vset(shift[c]))
            vstore(x.data, c * x.channel_step + h * x.row_step + w * LANES, value)
            c += 1
            if c == channels:
                c = 0
                w += 1
                if w == width:
                    w = 0
                    h += 1
