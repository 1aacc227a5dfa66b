"""The rows of a network's table: one for everything that was written as a layer or holds parameters.

An activation that came as an option and has no parameters rides in the row of its layer, so the rows of a network
are those of the lecture's table and their counts add up to the totals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from cnncli.layers.base import pads_text
from cnncli.model.network import NETWORK_INPUT, Model, Node
from cnncli.model.receptive_field import ReceptiveField, receptive_fields
from cnncli.optim.optimizers import OPTIMIZERS
from cnncli.shapes import Shape, pair_text

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Row:
    """One row: a layer, or several that were collapsed into one.

    `kind` is the layer's word in an architecture file, or ``block``; `activations` are those that ride along.
    """

    name: str
    kind: str
    label: str
    output: Shape
    trainable: int
    non_trainable: int
    macs: int
    formula: str = ""
    kernel: str = ""
    stride: str = ""
    padding: str = ""
    activations: tuple[str, ...] = ()
    field: ReceptiveField | None = None
    scope: tuple[str, ...] = ()
    where: str = ""
    inputs: tuple[Shape, ...] = ()
    node: Node | None = None
    size_in_memory: int = 0  # values of all activations it makes
    sources: tuple[str, ...] = ()  # names of the rows it reads, once `connected`

    @property
    def params(self) -> int:
        """Return all its parameters."""
        return self.trainable + self.non_trainable

    @property
    def size(self) -> int:
        """Return the number of values of its output."""
        return prod(self.output)


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes in float32 for a batch: parameters, activations of the forward pass, and all of training.

    Training holds parameters, gradients and the optimizer's vectors, and activations with their gradients.
    """

    parameters: int
    activations: int
    training: int


def rows_of(model: Model) -> tuple[Row, ...]:
    """Return the rows of a network in execution order."""
    fields = receptive_fields(model)
    rows: list[Row] = []
    of_owner: dict[int, int] = {}
    for index, node in enumerate(model.nodes):
        if node.owner != index and not node.params and node.owner in of_owner:
            at = of_owner[node.owner]
            row = rows[at]
            rows[at] = replace(
                row,
                activations=(*row.activations, node.layer.kind),
                size_in_memory=row.size_in_memory + prod(node.out_shape),
            )
            continue
        of_owner[node.owner] = len(rows)
        rows.append(_row(node, fields[index]))
    return tuple(rows)


def collapse(
    rows: Sequence[Row], depth: int | None, repeats: Mapping[tuple[str, ...], str] | None = None
) -> tuple[Row, ...]:
    """Return `rows` with what lies inside deeper blocks as one row per block.

    Parameters
    ----------
    rows : sequence of Row
        From `rows_of`.
    depth : int or None
        1 shows no block from inside, 2 shows the outermost ones; None shows everything.
    repeats : mapping, optional
        ``Model.repeats``: all repetitions of a block become one row.
    """
    repeats = repeats or {}
    result: list[Row] = []
    keys: list[tuple[str, ...]] = []
    for row in rows:
        cut = len(row.scope) if depth is None else min(depth - 1, len(row.scope))
        repeated = [level for level in range(len(row.scope)) if row.scope[: level + 1] in repeats]
        cut = min([cut, *repeated])
        if cut == len(row.scope):
            result.append(row)
            keys.append(())
            continue
        inside = row.scope[: cut + 1]
        key = (*row.scope[:cut], repeats.get(inside, inside[-1]))
        if keys and keys[-1] == key:
            result[-1] = _merged(result[-1], row)
        else:
            result.append(
                Row(
                    "/".join(key), "block", "", row.output, row.trainable, row.non_trainable, row.macs,
                    field=row.field, scope=key[:-1], inputs=row.inputs, size_in_memory=row.size_in_memory,
                )
            )  # fmt: skip
            keys.append(key)
    return tuple(result)


def connections(model: Model, rows: Sequence[Row], drawn: Sequence[Row]) -> list[tuple[int, int]]:
    """Return the pairs (source, target) of rows that are connected, as positions in `drawn`.

    `rows` are those of `rows_of`, `drawn` what `collapse` has made of them; -1 is the input of the network, and what
    lies inside one collapsed row is left out.
    """
    row_of_owner: dict[int, int] = {}
    row_at = -1
    of_node: list[int] = []
    for index, node in enumerate(model.nodes):
        # the same rule that `rows_of` follows
        if node.owner != index and not node.params and node.owner in row_of_owner:
            of_node.append(row_of_owner[node.owner])
            continue
        row_at += 1
        row_of_owner[node.owner] = row_at
        of_node.append(row_at)
    drawn_of = _positions(rows, drawn, model)
    found: dict[tuple[int, int], None] = {}
    for index, node in enumerate(model.nodes):
        target = drawn_of[of_node[index]]
        for source in node.inputs:
            start = NETWORK_INPUT if source == NETWORK_INPUT else drawn_of[of_node[source]]
            if start != target:
                found[start, target] = None
    return list(found)


def connected(model: Model, rows: Sequence[Row], drawn: Sequence[Row]) -> tuple[Row, ...]:
    """Return `drawn` with the names of the rows that each one reads."""
    names: dict[int, list[str]] = {}
    for source, target in connections(model, rows, drawn):
        names.setdefault(target, []).append("Input" if source == NETWORK_INPUT else drawn[source].name)
    return tuple(replace(row, sources=tuple(names.get(index, ()))) for index, row in enumerate(drawn))


def unread(model: Model) -> list[str]:
    """Return a remark on every layer but the last whose output no layer reads: a slip in `from`, as a rule."""
    read = {source for node in model.nodes for source in node.inputs}
    return [
        f"{model.nodes[node.owner].name}: no layer reads it, but its parameters and MACs are counted"
        for index, node in enumerate(model.nodes[:-1])
        if index not in read
    ]


def memory(model: Model, batch: int, optimizer: str) -> MemoryEstimate:
    """Return the memory of `batch` images with an optimizer of `OPTIMIZERS`."""
    count = model.parameter_count
    parameters = (count + model.non_trainable_count) * FLOAT_BYTES
    values = prod(model.input_shape) + sum(prod(node.out_shape) for node in model.nodes)
    activations = values * batch * FLOAT_BYTES
    state = count * (FLOAT_BYTES + OPTIMIZERS[optimizer].bytes_per_parameter)
    return MemoryEstimate(parameters, activations, parameters + state + 2 * activations)


def _row(node: Node, field: ReceptiveField | None) -> Row:
    layer = node.layer
    window = layer.window()
    slides = window.kernel != (1, 1) or hasattr(layer, "stride")
    return Row(
        name=node.name,
        kind=layer.kind,
        label=layer.label(),
        output=node.out_shape,
        trainable=node.trainable,
        non_trainable=node.non_trainable,
        macs=node.macs,
        formula=layer.params_formula(*node.in_shapes),
        kernel=pair_text(window.kernel) if slides else "",
        stride=pair_text(window.stride) if slides else "",
        padding=pads_text(window.padding) if slides else "",
        field=field,
        scope=node.scope,
        where=node.where,
        inputs=node.in_shapes,
        node=node,
        size_in_memory=prod(node.out_shape),
    )


def _merged(block: Row, row: Row) -> Row:
    return replace(
        block,
        output=row.output,
        trainable=block.trainable + row.trainable,
        non_trainable=block.non_trainable + row.non_trainable,
        macs=block.macs + row.macs,
        field=row.field,
        size_in_memory=block.size_in_memory + row.size_in_memory,
    )


def _positions(rows: Sequence[Row], drawn: Sequence[Row], model: Model) -> list[int]:
    """Return for each row the index of the drawn row that holds it."""
    names = {row.name: index for index, row in enumerate(drawn)}
    positions = []
    for row in rows:
        found = names.get(row.name)
        for level in range(len(row.scope)):
            inside = row.scope[: level + 1]
            for last in (inside[-1], model.repeats.get(inside, "")):
                if found is None:
                    found = names.get("/".join((*inside[:-1], last)))
        positions.append(found if found is not None else 0)
    return positions
