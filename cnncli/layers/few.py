"""Convolutions and dense layers of one image at a time: the steps they record. See kernels/few.

With few images to predict, most lanes of a vector of images would stay empty. Here the channels of one image lie in the
lanes: maps are (C / LANES, H, W, LANES). The method of a layer (direct, packed, Winograd) and the order of its sums are
those of the steps for LANES images, so the results have the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from cnncli.layers.base import Window
from cnncli.layers.recording import Scope, Step, Table, Value
from cnncli.shapes import Shape

if TYPE_CHECKING:
    from cnncli.compute.arguments import Operand
    from cnncli.compute.program import Op
    from cnncli.layers.recording import Bound

#: parts into which a step is divided where it can be: enough for some threads, few enough to read weights seldom
_PARTS = 8
#: numbers that transformed tiles may take: about half of a second cache of 1 MiB
_ROOM = 1 << 17
#: results that share copied pixels
_CHUNK = 48


@dataclass(frozen=True)
class Contraction:
    """The sums of a convolution or a dense layer (a window of one pixel), one image at a time.

    Parameters
    ----------
    method : {"direct", "packed", "winograd", "strided", "depthwise"}
    window : Window
    x, y : (C, H, W) or (n,)
    has_bias : bool
    weight, bias : Table, optional
        Scaled ones, in place of the layer's own.
    """

    method: str
    window: Window
    x: Shape
    y: Shape
    has_bias: bool
    weight: Table | None = None
    bias: Table | None = None

    def __call__(self, step: Step) -> Sequence[Step]:
        """Return a step that lays out the weights, and one that does the work of `step`; none if it does more."""
        if set(step.absorbed) - {"relu"} or self._is_summed_along_rows:
            return ()
        pixels = prod(self.y[1:])
        weights = Table(self._panels * self._depth * self._tile[1] * self._lanes, f"{step.name} panels")
        bias = Table(self._vectors * self._lanes, f"{step.name} biases")
        scratch = Value((self._scratch,), step.name)
        writes = (step.writes[0], scratch) if self._scratch else step.writes[:1]

        def emit(b: Bound) -> list[Op]:
            return [self._op(b, b.tables[weights], b.tables[bias])]

        laid_out = self._laid_out(step, weights, bias)
        tables = (weights, bias)
        return laid_out, replace(
            step, emit=emit, writes=writes, tables_read=tables, is_parallel=pixels > 1 or step.is_parallel, few=None
        )

    @property
    def _is_summed_along_rows(self) -> bool:
        """Return whether chains of additions end within a row of taps: `convolution.loops.contract` may do that."""
        from cnncli.kernels.convolution.loops import summed_together

        rows, columns = self.window.kernel
        is_one = self.method == "depthwise" or (self.method == "direct" and self.x[0] == 1)
        return is_one and rows == 1 and summed_together(columns, columns) < columns

    def _laid_out(self, step: Step, weights: Table, bias: Table) -> Step:
        """Return the step that lays out weights and biases in panels of filters."""

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            own = b.weights["bias"] if self.has_bias and self.bias is None else b.zero
            sources = {
                "weight": b.weights["weight"] if self.weight is None else b.tables[self.weight],
                "own_bias": own if self.bias is None else b.tables[self.bias],
                "has_bias": int(self.has_bias or self.bias is not None),
            }
            targets = {"out": b.tables[weights], "bias": b.tables[bias]}
            sizes = {"filters": self.y[0], "columns": self._tile[1]}
            if self._is_transformed:
                sizes["channels"] = self.x[0]
                return [Op(f"few.{self.method}.transform_weights", sources | targets | sizes)]
            return [Op("few.convolution.pack_filters", sources | targets | sizes | {"size": self._depth})]

        reads = tuple(table for table in (self.weight, self.bias) if table is not None)
        name = f"{step.name}: panels of weights"
        return Step(name, (), (), emit, reads, (weights, bias), Scope.BATCH, tasks=self._panels, node=step.node)

    def _op(self, b: Bound, weights: Operand, bias: Operand) -> Op:
        from cnncli.compute.arguments import Window as KernelWindow
        from cnncli.compute.program import Op

        pads, rows = self.window.padding, _image(self.y)[1]
        maps = {"x": b.reads[0], "y": b.writes[0], "bias": bias, "relu": int("relu" in b.absorbed)}
        if self._is_transformed:
            sizes = {"u": weights, "scratch": b.writes[1], "top": pads[0], "left": pads[2], "channels": self.x[0]}
            most = self._panels * -(-self._count // self._chunk)
            return Op(f"few.{self.method}.correlate", maps | sizes | {"chunk": self._chunk}, 1, self._tile, most)
        window = KernelWindow(*self.window.kernel, *self.window.stride, pads[0], pads[2])
        maps |= {"weight": weights, "window": window, "down": self.window.dilation[0]}
        maps |= {"across": self.window.dilation[1]}
        if self.method == "depthwise":
            return Op("few.convolution.depthwise", maps, most_parts=self._vectors * rows)
        maps |= {"channels": self.x[0]}
        if self.method == "packed":
            most = self._panels * -(-self._count // self._chunk)
            sizes = {"scratch": b.writes[1], "chunk": self._chunk}
            return Op("few.convolution.contract_packed", maps | sizes, 1, self._tile, most)
        stride = self.window.stride[1] if self._tile[0] > 1 else 1
        variant = (*self._tile, stride, 2 if prod(self.window.kernel) > 1 else 1)
        shares = min(rows, -(-_PARTS // self._panels))
        sizes = {"block": self._block, "shares": shares}
        return Op("few.convolution.contract", maps | sizes, 1, variant, self._panels * shares)

    @property
    def _is_transformed(self) -> bool:
        return self.method in ("winograd", "strided")

    @property
    def _planes(self) -> tuple[int, int]:
        """Return the planes of transformed pixels, and of sums of products, that are held at a time."""
        from cnncli.kernels.convolution.strided.sizes import PLANES

        return (16, 16) if self.method == "winograd" else PLANES["forward"]

    @property
    def _block(self) -> int:
        """Return the channels whose products make a chain of additions, as `convolution.loops.contract` chooses it."""
        from cnncli.kernels.convolution.loops import summed_together

        return summed_together(self.x[0] * prod(self.window.kernel), self.x[0])

    @property
    def _lanes(self) -> int:
        from cnncli.compute.host import LANES

        return LANES

    @property
    def _vectors(self) -> int:
        """Return the vectors that hold the filters."""
        return -(-self.y[0] // self._lanes)

    @property
    def _tile(self) -> tuple[int, int]:
        """Return pixels and vectors of filters of the register tile."""
        if self.method == "depthwise":
            return 1, 1
        is_direct = self.method == "direct"
        pixels = _image(self.y)[2] if is_direct else self._count
        return _best_tile(pixels, self._vectors, divides=is_direct or self.method == "strided")

    @property
    def _panels(self) -> int:
        return -(-self._vectors // self._tile[1])

    @property
    def _depth(self) -> int:
        """Return the numbers of a filter's weights as they are laid out."""
        if self._is_transformed:
            return 16 * self.x[0]
        return prod(self.window.kernel) * (1 if self.method == "depthwise" else self.x[0])

    @property
    def _count(self) -> int:
        """Return the results of a filter that share weights: pixels, or tiles of 2x2."""
        _, rows, columns = _image(self.y)
        return -(-rows // 2) * -(-columns // 2) if self._is_transformed else rows * columns

    @property
    def _chunk(self) -> int:
        """Return the results that are made before the next ones, a multiple of the tile's."""
        rows = self._tile[0]
        if self.method == "packed":
            fit = _CHUNK
        else:
            pixels, sums = self._planes
            size = pixels * self.x[0] + sums * self.y[0]
            fit = min(_ROOM // size, -(-self._count * self._panels // _PARTS))
        return min(max(1, fit // rows), -(-self._count // rows)) * rows

    @property
    def _scratch(self) -> int:
        """Return the numbers of scratch memory."""
        vectors, channels = self._vectors, -(-self.x[0] // self._lanes)
        if self._is_transformed:
            pixels, sums = self._planes
            return (pixels * (channels * self._chunk + 1) + sums * (vectors * self._chunk + 1)) * self._lanes
        if self.method == "packed":
            return (-(-self._depth // self._lanes) + vectors) * self._chunk * self._lanes
        return 0


def _best_tile(pixels: int, vectors: int, *, divides: bool) -> tuple[int, int]:
    """Return pixels and vectors of filters of the register tile: the least work, as `convolution.loops.best_tile`.

    With `divides` the vectors of the tile divide all of them.
    """
    from cnncli.kernels.convolution.loops import ACCUMULATORS

    best = (float("inf"), 0, 0, 1)
    for j in range(1, min(vectors, 8) + 1):
        for i in range(1, min(pixels, ACCUMULATORS // j, 12) + 1):
            if not (divides and vectors % j):
                cycles = (max(i * j, i + j, 8) + 0.5) * -(-pixels // i) * -(-vectors // j)
                best = min(best, (cycles, -i * j, -i, j))  # more pixels: weights are read less often
    return -best[2], best[3]


def _image(shape: Shape) -> tuple[int, int, int]:
    return (shape[0], shape[1], shape[2]) if len(shape) == 3 else (shape[0], 1, 1)
