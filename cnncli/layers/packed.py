"""Convolutions of many channels on copied pixels and weights: the steps they record. See kernels/convolution.

Direct sums reach the peak of the processor as long as the pixels that they read stay in the cache. Where a map takes
about a multiple of 4 KiB they do not, and are up to five times as slow.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from cnncli.layers.convolution import ConvLoops
from cnncli.layers.recording import Scope, Step, Table, View
from cnncli.shapes import Pads, Shape

if TYPE_CHECKING:
    from cnncli.compute.arguments import Operand
    from cnncli.compute.program import Op
    from cnncli.layers.convolution import LoopPart
    from cnncli.layers.recording import Bound, Graph, Value

#: the larger and the smaller of channels and filters from which on copies pay: measured
_MOST_AT_LEAST, _FEWEST_AT_LEAST = 96, 16
#: bytes after which addresses meet in the same lines of a first cache, and how near to that maps may come
_PERIOD, _NEAR = 4096, 256


@dataclass(frozen=True)
class Packed:
    """A convolution from maps `x` to maps `y`, without groups.

    Parameters
    ----------
    loops : ConvLoops
    x, y : (C, H, W)
    """

    loops: ConvLoops
    x: Shape
    y: Shape

    @classmethod
    def of(cls, loops: ConvLoops, x: Shape, y: Shape) -> Packed | None:
        """Return the passes of a convolution, or None where the direct ones serve it better."""
        if loops.groups > 1 or max(x[0], y[0]) < _MOST_AT_LEAST or min(x[0], y[0]) < _FEWEST_AT_LEAST:
            return None
        if not (_collides(x, loops.window.padding) or _collides(y, loops.gradient_halo(x, y))):
            return None
        return cls(loops, x, y)

    @property
    def halo(self) -> Pads:
        """Return the zeros around x that the forward pass reads."""
        return self.loops.window.padding

    @property
    def turned_halo(self) -> Pads:
        """Return the zeros around dy that the input gradient reads."""
        return self.loops.gradient_halo(self.x, self.y)

    def transform(self, node: int, name: str, weight: Table | None = None, *, is_turned: bool = False) -> Step:
        """Return the step that lays out the weights of the layer, or those of a table, once for the whole batch."""
        from cnncli.kernels.convolution.winograd.sizes import ROWS

        parts = self._parts(_blank(self.y if is_turned else self.x), _blank(self.x if is_turned else self.y), is_turned)
        rows = self.x[0] if is_turned else self.y[0]
        target = Table(sum(self._size(one) for one in parts), name)

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            source = b.weights["weight"] if weight is None else b.tables[weight]
            ops, place = [], b.tables[target]
            for one in parts:
                operands = {"weight": source.shifted(one.weight), "out": place, "rows": rows}
                operands |= {"row_step": one.nest.a_row, "lengths": one.nest.lengths, "steps": one.nest.a_steps}
                ops.append(Op("convolution.packed.pack_weights", operands))
                place = place.shifted(self._size(one))
            return ops

        reads = () if weight is None else (weight,)
        return Step(name, (), (), emit, reads, (target,), Scope.BATCH, tasks=-(-rows // ROWS), node=node)

    def scratch(self, g: Graph, *, is_turned: bool = False) -> Value:
        """Return the memory in which pixels are copied and sums are made."""
        from cnncli.kernels.convolution.winograd.sizes import ROWS, padded

        parts = self._parts(_blank(self.y if is_turned else self.x), _blank(self.x if is_turned else self.y), is_turned)
        return g.value(
            (max(self._chunk(one) * (prod(one.nest.lengths) + padded(one.nest.rows, ROWS)) for one in parts),)
        )

    def correlate(
        self, b: Bound, weights: Operand, bias: Operand, *, has_bias: bool = False, relu: bool = False,
        is_turned: bool = False,
    ) -> list[Op]:  # fmt: skip
        """Return the ops that write y, or dx from dy; the second value written is their scratch memory."""
        from cnncli.compute.program import Op
        from cnncli.kernels.convolution.winograd.sizes import ROWS, columns_of

        ops = []
        for one in self._parts(b.reads[0], b.writes[0], is_turned, has_bias=has_bias, relu=relu):
            count, chunk = one.nest.outer * one.nest.columns, self._chunk(one)
            operands = {"a": weights, "b": one.source, "c": one.target, "bias": bias, "scratch": b.writes[1]}
            chunks = -(-count // chunk)
            most = chunks * max(1, one.nest.rows // (8 * ROWS)) if chunks < 8 else chunks
            variant = (columns_of(count),)
            operands |= {"nest": one.nest, "chunk": chunk}
            ops.append(Op("convolution.packed.contract_packed", operands, variant=variant, most_parts=most))
            weights = weights.shifted(self._size(one))
        return ops

    def _parts(
        self, x: View, y: View, is_turned: bool, *, has_bias: bool = False, relu: bool = False
    ) -> list[LoopPart]:
        passes = self.loops.input_parts if is_turned else self.loops.forward_parts
        return passes(x, y, has_bias=has_bias, relu=relu)

    @staticmethod
    def _size(one: LoopPart) -> int:
        """Return the numbers of the weights of a part, in panels."""
        from cnncli.kernels.convolution.winograd.sizes import ROWS, padded

        return padded(one.nest.rows, ROWS) * prod(one.nest.lengths)

    @staticmethod
    def _chunk(one: LoopPart) -> int:
        from cnncli.kernels.convolution.winograd.sizes import packed_chunk

        return packed_chunk(one.nest.outer * one.nest.columns, prod(one.nest.lengths))


def _collides(shape: Shape, halo: Pads) -> bool:
    """Return whether the same pixel of many channels lies in few lines of the cache."""
    from cnncli.compute.host import LANES

    size = (shape[1] + halo[0] + halo[1]) * (shape[2] + halo[2] + halo[3]) * LANES * 4  # bytes of float32
    return size >= _PERIOD and min(size % _PERIOD, -size % _PERIOD) <= _NEAR


def _blank(shape: Shape) -> View:
    """Return a view of nothing, for the loops over weights, which do not depend on where maps lie."""
    import numpy as np

    from cnncli.compute.arguments import Operand

    return View(Operand(np.zeros(0)), (shape[0], shape[1], shape[2]), 0, 0, 0)
