"""3x3 convolutions of stride 1 by Winograd's minimal filtering: the steps they record. See kernels/convolution."""

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

#: channels x filters, and either of them, from which on fewer multiplications outweigh the transforms: measured
_LEAST_PAIRS, _LEAST_CHANNELS = 192, 12
#: with fewer tiles in a map, the results that lie outside of it cost more than is saved
_FEWEST_TILES = 4

#: channels up to which products are not written to memory: measured; at most DEPTH, one chain of additions
_MOST_IN_REGISTERS = 64
#: channels and filters up to which the weight gradient brings filters into the lanes: measured
_MOST_TURNED = 64


@dataclass(frozen=True)
class Winograd:
    """A convolution with 3x3 kernels, stride 1 and no dilation, from maps `x` to maps `y`.

    Parameters
    ----------
    padding : Pads
        Zeros around x; at most two on each side.
    x, y : (C, H, W)
    """

    padding: Pads
    x: Shape
    y: Shape

    @classmethod
    def of(cls, window: Window, groups: int, x: Shape, y: Shape) -> Winograd | None:
        """Return the passes of a convolution, or None where the direct ones serve it better."""
        is_plain = window.kernel == (3, 3) and window.stride == window.dilation == (1, 1) and groups == 1
        if not is_plain or max(window.padding) > 2:
            return None
        if x[0] * y[0] < _LEAST_PAIRS or min(x[0], y[0]) < _LEAST_CHANNELS:
            return None
        if -(-y[1] // 2) * -(-y[2] // 2) < _FEWEST_TILES:
            return None
        return cls(window.padding, x, y)

    @property
    def halo(self) -> Pads:
        """Return the zeros around x that forward pass and weight gradient read."""
        return _whole_tiles(self.padding, self.y)

    @property
    def gradient_halo(self) -> Pads:
        """Return the zeros around dy that the weight gradient reads."""
        return _whole_tiles((0, 0, 0, 0), self.y)

    @property
    def _turned_padding(self) -> Pads:
        """Return the zeros around dy of the convolution that is the input gradient."""
        top, bottom, left, right = self.padding
        return 2 - top, 2 - bottom, 2 - left, 2 - right

    @property
    def turned_halo(self) -> Pads:
        """Return the zeros around dy that the input gradient reads."""
        return _whole_tiles(self._turned_padding, self.x)

    def transform(self, node: int, name: str, weight: Table | None = None, *, is_turned: bool = False) -> Step:
        """Return the step that transforms the weights of the layer, or those of a table, once for the whole batch."""
        from cnncli.kernels.convolution.winograd.sizes import ROWS, weights_size

        channels, filters = self.x[0], self.y[0]
        rows, depth = (channels, filters) if is_turned else (filters, channels)
        steps = (9, channels * 9) if is_turned else (channels * 9, 9)
        target = Table(weights_size(depth, rows), name)

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            places = {"weight": b.weights["weight"] if weight is None else b.tables[weight], "out": b.tables[target]}
            sizes = {"rows": rows, "depth": depth, "row_step": steps[0], "depth_step": steps[1]}
            return [
                Op("convolution.winograd.weights.transform_weights", places | sizes | {"is_turned": int(is_turned)})
            ]

        reads = () if weight is None else (weight,)
        return Step(name, (), (), emit, reads, (target,), Scope.BATCH, tasks=-(-rows // ROWS), node=node)

    def scratch(self, g: Graph, *, is_turned: bool = False) -> Value:
        """Return the memory in which tiles are transformed."""
        from cnncli.kernels.convolution.winograd.sizes import ROWS, chunk_of, padded, scratch_size, tiles

        y, x = (self.x, self.y) if is_turned else (self.y, self.x)
        if _stays_in_registers(x):
            return g.value((8 * x[0] + 4 * padded(y[0], ROWS),))
        return g.value((scratch_size(chunk_of(tiles(y), x[0], y[0]), x[0], y[0]),))

    def correlate(
        self, b: Bound, weights: Operand, bias: Operand, *, has_bias: bool = False, relu: bool = False,
        is_turned: bool = False,
    ) -> list[Op]:  # fmt: skip
        """Return the op that writes y, or dx from dy; the second value written is its scratch memory."""
        from cnncli.compute.program import Op
        from cnncli.kernels.convolution.winograd.sizes import ROWS, chunk_of, columns_of, tiles

        x, (y, scratch) = b.reads[0], b.writes
        pads = self._turned_padding if is_turned else self.padding
        count = tiles(y.shape)
        operands = {"x": x, "y": y, "u": weights, "bias": bias, "scratch": scratch, "top": pads[0], "left": pads[2]}
        operands |= {"bias_row": int(has_bias), "relu": int(relu)}
        if _stays_in_registers(x.shape):
            return [Op("convolution.winograd.few_channels.correlate", operands, most_parts=count)]
        chunk = chunk_of(count, x.shape[0], y.shape[0])
        operands["chunk"] = chunk
        chunks = -(-count // chunk)
        most = chunks * max(1, y.shape[0] // (8 * ROWS)) if chunks < 8 else chunks
        return [
            Op("convolution.winograd.many_channels.correlate", operands, variant=(columns_of(count),), most_parts=most)
        ]

    def weight_gradient(self, g: Graph, x: Value, dy: Value, name: str) -> None:
        """Record the steps that fill the gradient of the parameter `name`."""
        from cnncli.compute.host import LANES
        from cnncli.kernels.convolution.winograd import sizes

        channels, filters = self.x[0], self.y[0]
        variant: tuple[int, ...]
        operands = {"top": self.padding[0], "left": self.padding[2]}
        if max(channels, filters) <= _MOST_TURNED:
            kernel, variant = "few_channels_gradient", sizes.few_product_tile(self.y, channels)
            rows, columns = sizes.few_products_shape(variant, channels, filters)
            size = sizes.few_products_scratch_size(variant, channels, filters)
            places = {"rows": channels, "columns": filters, "row_taps": 9, "column_taps": 9 * channels}
        else:
            kernel, variant = "gradient", sizes.product_tile(channels)
            rows, columns = sizes.products_shape(channels, filters)
            operands["chunk"] = chunk = sizes.product_chunk(sizes.tiles(self.y), channels, filters)
            size = sizes.products_scratch_size(chunk, channels, filters)
            places = {"rows": filters, "columns": channels, "row_taps": 9 * channels, "column_taps": 9}
        plane = rows * columns + (LANES if kernel == "few_channels_gradient" else 0)
        products = Table(16 * plane, f"{g.label} products", "group")

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            maps = {"x": b.reads[0], "dy": b.reads[1], "out": b.partials[products], "scratch": b.writes[0]}
            name = f"convolution.winograd.{kernel}.weight_products"
            return [Op(name, maps | operands, variant=variant, most_parts=4)]

        def emit_sum(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            source = b.partials[products]
            arrays = {"products": source.data, "out": b.gradients[name], "step": source.step}
            steps = {"plane": plane, "row": columns, "groups": -(-b.blocks // b.together)}
            return [Op("convolution.winograd.gradient.weight_gradient", arrays | places | steps)]

        halos = [self.halo, self.gradient_halo]
        scratch = g.value((size,))
        g.step("dweight", [x, dy], [scratch], emit, tables_written=[products], halos=halos, is_parallel=True)
        g.step("dweight sum", [], [], emit_sum, tables_read=[products], scope=Scope.BATCH, tasks=places["rows"])


def _stays_in_registers(x: Shape) -> bool:
    """Return whether the products over the channels of x are transformed in registers, which takes 32 of them."""
    from cnncli.compute.host import LANES

    return LANES == 16 and x[0] <= _MOST_IN_REGISTERS


def _whole_tiles(pads: Pads, y: Shape) -> Pads:
    """Return the zeros around the input for tiles of 2x2 that cover `y`: one more where a tile reaches beyond it."""
    top, bottom, left, right = pads
    return top, bottom + y[1] % 2, left, right + y[2] % 2
