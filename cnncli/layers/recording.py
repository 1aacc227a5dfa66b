"""What layers say of their arithmetic: steps on values that have no memory yet.

A layer records steps on a `Graph`: what each reads and writes, which zeros it needs around its input, whether it may
write over its input, what it could do besides as it writes. It says nothing of buffers, threads or other layers: the
engine rewrites the list of steps, lays out memory, and only then asks each step for its ops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Any, TypeAlias

from cnncli.shapes import Pads, Shape

if TYPE_CHECKING:  # kernels are imported when ops are made: counting a network's parameters needs none
    from cnncli.compute.arguments import Maps, Operand, Partial
    from cnncli.compute.program import Op

NO_PADS: Pads = (0, 0, 0, 0)
#: activations that only limit results, and the limits: cheap for a step that writes them
LIMITS = {"relu": (0.0, inf), "relu6": (0.0, 6.0)}


class Scope(Enum):
    """How often a step is done: for each block of images, or once for the whole batch after all blocks."""

    BLOCK = "block"
    BATCH = "batch"


@dataclass(eq=False)
class Value:
    """Feature maps (C, H, W) or a vector (n,) of every image of a batch.

    Parameters
    ----------
    shape : Shape
    name : str
        Of the node that makes it, for people.
    halo : Pads
        Zeros around the maps that readers ask for: top, bottom, left, right.
    home, channel : Value, int
        It lies inside of another value from this channel on (the parts of a concatenation), or is the same numbers in
        another shape (flatten).
    is_pinned : bool
        Read from outside of the graph: it is never overwritten.
    """

    shape: Shape
    name: str = ""
    halo: Pads = NO_PADS
    home: Value | None = None
    channel: int = 0
    is_pinned: bool = False

    @property
    def image(self) -> tuple[int, int, int]:
        """Return the shape with rows and columns: a vector of n values is (n, 1, 1)."""
        return as_image(self.shape)


@dataclass(eq=False)
class Table:
    """A small array of numbers: statistics, partial gradients.

    Parameters
    ----------
    size : int
        Numbers, for each block or group of blocks where there is one of them.
    name : str
    per : {"batch", "group", "block"}
        One for the batch, one per group of blocks that run one after the other, or one per block of images.
    dtype : str
        Empty for the type of the program.
    gradient : str
        Name of the parameter whose gradient the parts add up to, if that is what they are.
    """

    size: int
    name: str = ""
    per: str = "batch"
    dtype: str = ""
    gradient: str = ""


Tensor: TypeAlias = Value | Table


@dataclass(frozen=True)
class View:
    """Where feature maps lie for a block of images, (C, H, W, LANES); a vector of n values is (n, 1, 1, LANES).

    Parameters
    ----------
    operand : Operand
        Of channel 0, row 0, column 0; around it lies a halo of zeros as wide as readers asked for.
    shape : (C, H, W)
    channel_step, row_step, lanes : int
        Elements between channels, rows and columns.
    """

    operand: Operand
    shape: tuple[int, int, int]
    channel_step: int
    row_step: int
    lanes: int

    def pixel(self, channel: int, row: int, column: int) -> Operand:
        """Return the operand that begins at a pixel."""
        return self.operand.shifted(channel * self.channel_step + row * self.row_step + column * self.lanes)

    def maps(self) -> Maps:
        """Return the maps as kernels take them."""
        from cnncli.compute.arguments import Maps

        return Maps(self.operand, *self.shape, self.channel_step, self.row_step)

    @property
    def is_contiguous(self) -> bool:
        """Return whether the maps follow each other without a halo."""
        _, height, width = self.shape
        return self.row_step == width * self.lanes and self.channel_step == height * self.row_step


@dataclass(frozen=True)
class Bound:
    """What a step is given when memory is laid out.

    Parameters
    ----------
    reads, writes : tuple of View
    tables, partials : mapping
        Of the tables; those that are one per group of blocks are partials.
    weights, gradients : mapping of str to Operand
        Of the layer's parameters, by name.
    absorbed : tuple of str
        What the step does besides, of those it offers in `epilogues`.
    blocks, together : int
        Blocks of images in the batch; how many of them one thread does one after the other.
    zero : Operand
        One vector of zeros, for a bias that is not there.
    count : Operand
        int64: images in the batch; lanes beyond are padding.
    key : Operand
        uint64 that changes with every step, for random numbers.
    """

    reads: tuple[View, ...]
    writes: tuple[View, ...]
    tables: Mapping[Table, Operand]
    partials: Mapping[Table, Partial]
    weights: Mapping[str, Operand]
    gradients: Mapping[str, Operand]
    absorbed: tuple[str, ...]
    blocks: int
    together: int
    zero: Operand
    count: Operand
    key: Operand

    @property
    def limits(self) -> dict[str, float]:
        """Return the least and the largest result, `low` and `high`, that absorbed activations leave."""
        limits = [LIMITS[name] for name in self.absorbed if name in LIMITS]
        return {"low": max((low for low, _ in limits), default=-inf), "high": min((h for _, h in limits), default=inf)}


@dataclass(eq=False)
class Step:
    """A piece of arithmetic; all that rewrites and the planner know of a layer.

    Parameters
    ----------
    name : str
        For people: ``conv1 forward``.
    reads, writes : tuple of Value
    emit : callable
        ``emit(bound)`` returns the ops, once memory is laid out. It looks at the values only through `bound`.
    tables_read, tables_written : tuple of Table
    scope : Scope
    in_place : bool
        writes[0] may take the memory of reads[0].
    is_view : bool
        writes[0] holds the numbers of reads[0] in the same order; where both lie without a halo nothing is to be done.
    is_copy : bool
        writes[0] holds the numbers of reads[0] in the same shape: reads[0] may be made there in the first place.
    epilogues : frozenset of str
        What the step can do besides as it writes writes[0].
    epilogue : str
        Under this name the step that makes reads[0] can do the work of this one; ``add``: the one that makes either
        input of a sum, and then it reads the other one last.
    prologues : frozenset of str
        What the step can do besides with the gradient reads[0]. ``relu_gradient``: take it as 0 wherever the step of
        its own layer that has absorbed the ReLU, and nothing else, writes 0. ``make``: write it in the first place, as
        the gradient of a ReLU; it then reads the one or two gradients that add up to that of the ReLU's result, that
        result, and what it reads besides.
    is_cheap : bool
        It takes about as long as reading its results from memory: it may be done again in place of keeping them.
    halos : tuple of Pads
        Zeros around each value read.
    tasks : int
        Into how many tasks a step of the whole batch is divided.
    is_update : bool
        It changes what lasts beyond the batch (running statistics): it is done with the parameters, or not at all.
    node : int
        Index of the layer's node.
    is_parallel : bool
        The ops of `emit` neither read nor write what another one of them writes.
    folded : callable, optional
        ``folded(scale, shift)`` returns the steps that do this one's work with results scaled and shifted per channel.
    few : callable, optional
        ``few(step)`` returns the steps that do the work of `step`, this one after all rewrites, on one image whose
        channels lie in the lanes (C / LANES, H, W, LANES), with the same bits; none where that is not possible.
    """

    name: str
    reads: tuple[Value, ...]
    writes: tuple[Value, ...]
    emit: Callable[[Bound], Sequence[Op]]
    tables_read: tuple[Table, ...] = ()
    tables_written: tuple[Table, ...] = ()
    scope: Scope = Scope.BLOCK
    in_place: tuple[int, ...] = ()
    is_view: bool = False
    is_copy: bool = False
    epilogues: frozenset[str] = frozenset()
    epilogue: str = ""
    prologues: frozenset[str] = frozenset()
    is_cheap: bool = False
    halos: tuple[Pads, ...] = ()
    tasks: int = 1
    is_update: bool = False
    node: int = -1
    is_parallel: bool = False
    absorbed: tuple[str, ...] = ()
    folded: Callable[[Table, Table], Sequence[Step]] | None = None
    few: Callable[[Step], Sequence[Step]] | None = None


def lanewise(step: Step) -> Sequence[Step]:
    """Return a step that does the same to every lane, whatever that holds: it serves few images as it is."""
    return (step,)


@dataclass
class Graph:
    """The list of steps that layers record, in the order in which they must seem to happen.

    Parameters
    ----------
    is_training : bool
    blocks : int
        Blocks of images in a batch.
    groups : int
        Groups of consecutive blocks that each accumulate a gradient of their own.
    """

    is_training: bool
    blocks: int = 1
    groups: int = 1
    steps: list[Step] = field(default_factory=list)
    node: int = -1
    label: str = ""
    wanted: frozenset[Value] = frozenset()
    notes: dict[Any, Any] = field(default_factory=dict)  # what a layer's forward pass leaves for its backward pass

    def value(self, shape: Shape) -> Value:
        """Return a value that a step is going to write."""
        return Value(tuple(shape), self.label)

    def step(
        self,
        name: str,
        reads: Sequence[Value],
        writes: Sequence[Value],
        emit: Callable[[Bound], Sequence[Op]],
        *,
        tables_read: Sequence[Table] = (),
        tables_written: Sequence[Table] = (),
        scope: Scope = Scope.BLOCK,
        in_place: Sequence[int] = (),
        is_view: bool = False,
        is_copy: bool = False,
        epilogues: Sequence[str] = (),
        epilogue: str = "",
        prologues: Sequence[str] = (),
        is_cheap: bool = False,
        halos: Sequence[Pads] = (),
        tasks: int = 1,
        is_update: bool = False,
        is_parallel: bool = False,
        few: Callable[[Step], Sequence[Step]] | None = None,
    ) -> Step:
        """Record a step, see `Step`."""
        step = Step(
            f"{self.label} {name}".strip(),
            tuple(reads),
            tuple(writes),
            emit,
            tuple(tables_read),
            tuple(tables_written),
            scope,
            tuple(in_place),
            is_view,
            is_copy,
            frozenset(epilogues),
            epilogue,
            frozenset(prologues),
            is_cheap,
            tuple(halos),
            tasks,
            is_update,
            self.node,
            is_parallel,
            few=few,
        )
        self.steps.append(step)
        return step

    def wants_gradient(self, value: Value) -> bool:
        """Return whether somebody needs the gradient with respect to `value`."""
        return value in self.wanted

    def part(self, whole: Value, channel: int, shape: Shape) -> Value:
        """Return the channels of `whole` from `channel` on as a value of their own, in the same memory."""
        return Value(tuple(shape), self.label, home=whole, channel=channel)

    def sum(self, a: Value, b: Value, name: str = "sum") -> Value:
        """Return a + b; the step can limit results as it writes, and what makes a or b can add as it writes."""
        y = self.value(a.shape)

        def emit(bound: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            operands = {"a": bound.reads[0], "b": bound.reads[1], "y": bound.writes[0]}
            return [Op("elementwise.add", operands | bound.limits)]

        self.step(name, [a, b], [y], emit, in_place=(0, 1), epilogues=[*LIMITS], epilogue="add", few=lanewise)
        return y

    def reshaped(self, x: Value, shape: Shape, name: str = "reshape") -> Value:
        """Return the numbers of `x` in the same order in another shape; costs nothing where no halo is in the way."""
        y = self.value(shape)
        channels = {"channels": x.image[0], "y_channels": y.image[0]}

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            return [Op("elementwise.reshape", {"x": b.reads[0], "y": b.writes[0]})]

        def emit_few(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            return [Op("few.maps.reshape", {"x": b.reads[0], "y": b.writes[0], **channels})]

        is_same = x.image == y.image
        few = lanewise if is_same else lambda step: (replace(step, emit=emit_few, is_view=False),)
        self.step(name, [x], [y], emit, is_view=True, few=few)
        return y

    def parameter_gradient(self, name: str, size: int) -> Table:
        """Return the parts of a parameter's gradient, one per group of blocks; they are added up afterwards."""
        parts = Table(size, f"{self.label} d{name}", "group", gradient=name)
        if self.groups > 1:
            per_task = 1024

            def emit(b: Bound) -> list[Op]:
                from cnncli.compute.program import Op

                source, count = b.partials[parts], -(-b.blocks // b.together)
                operands = {"parts": source.data, "out": b.gradients[name], "length": size, "count": count}
                return [Op("reduction.add_parts", operands | {"step": source.step, "per_task": per_task})]

            tasks = -(-size // per_task)
            self._late.append(
                Step(f"{self.label} d{name} sum", (), (), emit, (parts,), (), Scope.BATCH, tasks=tasks, node=self.node)
            )
        return parts

    def bias_gradient(self, name: str, dy: Value) -> None:
        """Record the gradient of a bias: dy summed over rows, columns and images."""
        parts = self.parameter_gradient(name, dy.shape[0])

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            source = b.reads[0]
            channels, height, width = source.shape
            operands = {"x": source.operand, "out": b.partials[parts], "rows": channels}
            loops = {"sizes": (1, height, width), "row_step": source.channel_step}
            return [Op("reduction.sum_lanes", operands | loops | {"steps": (0, source.row_step, source.lanes)})]

        self.step(f"d{name}", [dy], [], emit, tables_written=[parts])

    _late: list[Step] = field(default_factory=list)

    def finish(self) -> None:
        """Append the steps that follow when everything else is recorded."""
        self.steps += self._late
        self._late = []


def as_image(shape: Shape) -> tuple[int, int, int]:
    """Return (n, 1, 1) for (n,) and the shape itself otherwise."""
    return (shape[0], 1, 1) if len(shape) == 1 else (shape[0], shape[1], shape[2])
