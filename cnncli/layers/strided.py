"""3x3 convolutions of stride 2 by minimal filtering: the steps they record. See kernels/convolution/strided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnncli.layers.base import Window
from cnncli.layers.recording import Scope, Step, Table
from cnncli.shapes import Pads, Shape

if TYPE_CHECKING:
    from cnncli.compute.arguments import Operand
    from cnncli.compute.program import Op
    from cnncli.layers.recording import Bound, Graph, Value

#: the fewest channels, filters and tiles of a map from which on a pass is faster than the direct one: measured
_LEAST = {"forward": (32, 32, 4), "dx": (32, 32, 4), "dweight": (16, 32, 4)}


@dataclass(frozen=True)
class Strided:
    """A convolution with 3x3 kernels, stride 2 and no dilation, from maps `x` to maps `y`.

    Parameters
    ----------
    padding : Pads
        Zeros around x.
    x, y : (C, H, W)
    """

    padding: Pads
    x: Shape
    y: Shape

    @classmethod
    def of(cls, which: str, window: Window, groups: int, x: Shape, y: Shape) -> Strided | None:
        """Return a convolution, or None where its direct `which`, forward, dx or dweight, serves it better."""
        if window.kernel != (3, 3) or window.stride != (2, 2) or window.dilation != (1, 1) or groups > 1:
            return None
        channels, filters, tiles = _LEAST[which]
        if x[0] < channels or y[0] < filters or -(-y[1] // 2) * -(-y[2] // 2) < tiles:
            return None
        return cls(window.padding, x, y)

    @property
    def halo(self) -> Pads:
        """Return the zeros around x that forward pass and weight gradient read."""
        top, bottom = _reach(self.padding[0], self.x[1], self.y[1])
        left, right = _reach(self.padding[2], self.x[2], self.y[2])
        return top, bottom, left, right

    @property
    def gradient_halo(self) -> Pads:
        """Return the zeros around dy that the weight gradient reads."""
        return 0, self.y[1] % 2, 0, self.y[2] % 2

    @property
    def turned_halo(self) -> Pads:
        """Return the zeros around dy that the input gradient reads."""
        top, bottom = _reach_back(self.padding[0], self.x[1], self.y[1])
        left, right = _reach_back(self.padding[2], self.x[2], self.y[2])
        return top, bottom, left, right

    def transform(self, node: int, name: str, weight: Table | None = None, *, is_turned: bool = False) -> Step:
        """Return the step that transforms the weights of the layer, or those of a table, once for the whole batch."""
        from cnncli.kernels.convolution.strided.sizes import chain_of, weights_size
        from cnncli.kernels.convolution.winograd.sizes import DEPTH, ROWS

        channels, filters = self.x[0], self.y[0]
        rows, depth = (channels, filters) if is_turned else (filters, channels)
        chain = chain_of(filters) if is_turned else DEPTH
        steps = (9, channels * 9) if is_turned else (channels * 9, 9)
        target = Table(weights_size(depth, rows), name)

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            places = {"weight": b.weights["weight"] if weight is None else b.tables[weight], "out": b.tables[target]}
            sizes = {"rows": rows, "depth": depth, "row_step": steps[0], "depth_step": steps[1]}
            sizes["chain"] = chain
            return [Op("convolution.strided.weights.transform_weights", places | sizes)]

        reads = () if weight is None else (weight,)
        return Step(name, (), (), emit, reads, (target,), Scope.BATCH, tasks=-(-rows // ROWS), node=node)

    def scratch(self, g: Graph, *, is_turned: bool = False) -> Value:
        """Return the memory in which tiles are transformed."""
        from cnncli.kernels.convolution.strided.sizes import scratch_size

        sizes = (self.y[0], self.x[0]) if is_turned else (self.x[0], self.y[0])
        return g.value((scratch_size("dx" if is_turned else "forward", self._chunk(is_turned), *sizes),))

    def correlate(
        self, b: Bound, weights: Operand, bias: Operand, *, has_bias: bool = False, relu: bool = False,
        is_turned: bool = False,
    ) -> list[Op]:  # fmt: skip
        """Return the op that writes y, or dx from dy; the second value written is its scratch memory."""
        from cnncli.compute.program import Op
        from cnncli.kernels.convolution.strided.sizes import chain_of
        from cnncli.kernels.convolution.winograd.sizes import ROWS, columns_of

        chunk, count = self._chunk(is_turned), self._tiles(is_turned)
        chunks = -(-count // chunk)
        rows = self.x[0] if is_turned else self.y[0]
        most = chunks * max(1, rows // (8 * ROWS)) if chunks < 8 else chunks
        operands = {"u": weights, "scratch": b.writes[1], "top": self.padding[0], "left": self.padding[2]}
        operands["chunk"] = chunk
        variant = (columns_of(count),)
        if is_turned:
            operands |= {"dy": b.reads[0], "dx": b.writes[0], "chain": chain_of(self.y[0])}
            name = "convolution.strided.input_gradient.input_gradient"
            return [Op(name, operands, variant=variant, most_parts=most)]
        operands |= {"x": b.reads[0], "y": b.writes[0], "bias": bias, "bias_row": int(has_bias), "relu": int(relu)}
        return [Op("convolution.strided.correlate.correlate", operands, variant=variant, most_parts=most)]

    def weight_gradient(self, g: Graph, x: Value, dy: Value, name: str) -> None:
        """Record the steps that fill the gradient of the parameter `name`."""
        from cnncli.compute.host import LANES
        from cnncli.kernels.convolution.strided.sizes import NEAR_PRODUCTS, product_chunk, products_scratch_size
        from cnncli.kernels.convolution.winograd.sizes import product_tile, products_shape

        channels, filters = self.x[0], self.y[0]
        tile = product_tile(channels)
        rows, columns = products_shape(channels, filters)
        width = tile[1] * LANES
        chunk = product_chunk(self._tiles(), columns, rows)
        products = Table(16 * rows * columns, f"{g.label} products", "group")
        scratch = g.value((products_scratch_size(chunk, columns, rows),))
        together = 4 if rows * columns <= NEAR_PRODUCTS else 1

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            operands = {"x": b.reads[0], "dy": b.reads[1], "out": b.partials[products], "scratch": b.writes[0]}
            operands |= {"top": self.padding[0], "left": self.padding[2], "chunk": chunk, "together": together}
            return [Op("convolution.strided.weight_gradient.weight_products", operands, variant=tile, most_parts=4)]

        def emit_sum(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            source = b.partials[products]
            places = {"products": source.data, "out": b.gradients[name], "step": source.step}
            sizes = {"filters": filters, "channels": channels, "rows": rows, "width": width, "plane": rows * columns}
            sizes["groups"] = -(-b.blocks // b.together)
            return [Op("convolution.strided.weight_gradient.weight_gradient", places | sizes)]

        halos = [self.halo, self.gradient_halo]
        g.step("dweight", [x, dy], [scratch], emit, tables_written=[products], halos=halos, is_parallel=True)
        g.step("dweight sum", [], [], emit_sum, tables_read=[products], scope=Scope.BATCH, tasks=filters)

    def _tiles(self, is_turned: bool = False) -> int:
        """Return the tiles of 2x2 results or, of the input gradient, of 4x4 pixels."""
        side, shape = (4, self.x) if is_turned else (2, self.y)
        return -(-shape[1] // side) * -(-shape[2] // side)

    def _chunk(self, is_turned: bool) -> int:
        from cnncli.kernels.convolution.strided.sizes import chunk_of

        if is_turned:
            return chunk_of("dx", self._tiles(is_turned=True), self.y[0], self.x[0])
        return chunk_of("forward", self._tiles(), self.x[0], self.y[0])


def _reach(before: int, length: int, results: int) -> tuple[int, int]:
    """Return the zeros before and after pixels that tiles of two results read, four pixels and one each."""
    return before, max(0, 4 * -(-results // 2) - before - length + 1)


def _reach_back(before: int, length: int, results: int) -> tuple[int, int]:
    """Return the zeros before and after dy that tiles of four pixels read, two results and one each."""
    first = (before + 1) // 2 - 1
    return max(0, -first), max(0, first + 2 * -(-length // 4) + 1 - results)
