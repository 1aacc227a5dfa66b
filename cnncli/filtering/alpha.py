"""Filtering a picture with transparency: hidden colours must not bleed into visible ones.

A mean over a window becomes the mean of what is visible of it: ``sum(k a c) / sum(k a)`` with opacities a from 0 to 1
(normalised convolution, Knutsson and Westin 1993, doi:10.1109/CVPR.1993.341081). The response of a kernel is the sum
S+ of its positive numbers times such a mean, less the sum S- of its negative ones times another, plus the bias::

    S+ * sum(k+ a c) / sum(k+ a)  -  S- * sum(k- a c) / sum(k- a)  +  bias

which is plain filtering where all is opaque, keeps an even colour even for every kernel, and gives the same for
every even opacity. Where one of the two means sees nothing the other one stands in, and where neither does, the pixel
at the centre of the window. What lies outside the picture is as opaque as the pixel that stands there, and the
constant of a border is opaque. Steps that change each value by itself, and everything after the last step, see colours
only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import InvalidInputError, UsageError
from cnncli.filtering.apply import FilterPlan, FilterResult, apply_filter, run_stages
from cnncli.filtering.bank import BankStage
from cnncli.filtering.chain import build_stages
from cnncli.filtering.direct import worth_compiling_alone
from cnncli.filtering.kernel_stage import KernelStage, WideStage
from cnncli.filtering.plan import resolve_plan
from cnncli.filtering.rank import RankStage
from cnncli.filtering.stages import GrayStage, PointStage, PoolStage, Rows, SourceStage, Stage, WindowStage, joined
from cnncli.filters.borders import Border
from cnncli.filters.kernel import Kernel
from cnncli.kernels.image_filter import with_numpy as arithmetic
from cnncli.threads import available

#: colours (H, W, C) and their opacity (H, W, 1) from 0 to the white of its type; None where all of it is opaque
Layer: TypeAlias = tuple[Rows, Rows | None]
_STEPS = 65535  # of opacity, in a weighted median
_NOTHING = 1e-6  # relative to a kernel's sum: smaller differences are rounding errors


def filter_with_alpha(
    pixels: NDArray,
    alpha: NDArray,
    plan: FilterPlan,
    *,
    filter_alpha: bool,
    threads: int | None = None,
    compiled: bool | None = None,
) -> tuple[FilterResult, NDArray]:
    """Return the filtered colours and the opacity that belongs to them.

    Where every window on the way to a pixel is opaque, the pixel is that of `apply_filter`. Colours and opacity are
    made strip by strip; for whole numbers and fractions of them as kernels, 8-bit and 16-bit pixels there are equal.

    Parameters
    ----------
    pixels : ndarray, shape (H, W, C), uint8, uint16, float32 or float64
    alpha : ndarray, shape (H, W), of the dtype of `pixels`
        Full at 255, 65535 or 1.
    plan : FilterPlan
    filter_alpha : bool
        The opacity goes through kernels (each divided by the sum of its numbers) and pools; else it is that of the
        pixel at the centre of each window.
    threads : int, optional
        All cores by default. The result has the same bits for any number.
    compiled : bool, optional
        As `apply_filter`; concerns opaque pictures.

    Raises
    ------
    UsageError
        With `filter_alpha`, a kernel that no opacity follows from: a bank, or numbers that add up to 0.
    InvalidInputError
        Opacity that is not a finite number.
    CnnError
        As `apply_filter`.
    """
    white = _white(alpha.dtype)
    if alpha.dtype.kind == "f" and not np.isfinite(alpha).all():
        raise InvalidInputError("the opacity holds numbers that are not finite", hint="use --alpha drop")
    resolved = resolve_plan(plan, pixels.dtype)
    pixels = np.ascontiguousarray(pixels)
    plain = build_stages(pixels, resolved, worth_compiling_alone(pixels, plan, resolved))
    layers = _layers(plain, alpha, white, filter_alpha)
    if bool((alpha >= white).all()):
        shown = np.full(plain.shape[:2], white, alpha.dtype)
        return apply_filter(pixels, plan, threads=threads, compiled=compiled), shown
    shown = np.empty(plain.shape[:2], alpha.dtype)
    stage = _Shown(plain, layers, shown, white)
    return run_stages(stage, plain, pixels, resolved, threads or available()), shown


class _LayerStage(ABC):
    """A stage of `kernel_stage` or `stages` whose rows come with their opacity."""

    @abstractmethod
    def rows(self, first: int, last: int) -> Layer:
        """Return colours and opacity of rows `first` up to but not including `last`; never written to."""


class _Shown(Stage):
    """The colours of the last layer; puts the opacity of the rows that are asked for into `shown`."""

    strip_values = 1 << 17  # about ten arrays of them are in use at a time

    def __init__(self, plain: Stage, layers: _LayerStage, shown: NDArray, white: float) -> None:
        super().__init__(plain.shape)
        self.source, self.layers, self.shown, self.white = plain, layers, shown, white

    def rows(self, first: int, last: int) -> Rows:
        """Return the colours of these rows and store their opacity in `shown`."""
        colours, opacity = self.layers.rows(first, last)
        whole = self.shown.dtype.kind == "u"
        values = self.white if opacity is None else opacity[..., 0]
        self.shown[first:last] = np.rint(np.clip(values, 0, self.white)) if whole else values
        return colours

    def counted(self, first: int, last: int) -> Rows:
        """Return the pixels of these rows that are not fully transparent, shape (n, C)."""
        colours = self.rows(first, last)
        visible: Rows = colours.reshape(-1, self.shape[2])[self.shown[first:last].ravel() > 0]
        return visible


class _Source(_LayerStage):
    def __init__(self, plain: SourceStage, alpha: NDArray, white: float) -> None:
        self.plain, self.alpha, self.opaque = plain, alpha, np.all(alpha >= white, axis=1)

    def rows(self, first: int, last: int) -> Layer:
        """Return pixels and stored opacity of these rows."""
        colours = self.plain.rows(first, last)
        if self.opaque[first:last].all():
            return colours, None
        return colours, self.alpha[first:last, :, None].astype(self.plain.work)


class _Point(_LayerStage):
    """Each pixel by itself: the colours change, the opacity stays."""

    def __init__(self, plain: GrayStage | PointStage, source: _LayerStage) -> None:
        self.plain, self.source = plain, source

    def rows(self, first: int, last: int) -> Layer:
        """Return changed colours and unchanged opacity of these rows."""
        colours, opacity = self.source.rows(first, last)
        return self.plain.changed(colours), opacity


class _Window(_LayerStage):
    def __init__(self, plain: WindowStage, source: _LayerStage, white: float) -> None:
        self.plain, self.source, self.white = plain, source, white

    def rows(self, first: int, last: int) -> Layer:
        """Return these rows: plain filtering where all source pixels are opaque, else `weighted`."""
        runs, places = self.plain.source_runs(first, last)
        layers = [self.source.rows(*run) for run in runs]
        colours = joined([colours for colours, _ in layers])
        if all(opacity is None for _, opacity in layers):
            return self.plain.respond(colours, places, last - first), None
        full = colours.dtype.type(self.white)
        opacity = joined([np.full((*c.shape[:2], 1), full) if opacity is None else opacity for c, opacity in layers])
        return self.weighted(colours, opacity, places, last - first)

    def share(self, opacity: Rows) -> Rows:
        """Return the opacity from 0 to 1, exactly 1 where it is full."""
        return np.asarray(np.clip(opacity / opacity.dtype.type(self.white), 0, 1))

    @abstractmethod
    def weighted(self, colours: Rows, opacity: Rows, places: NDArray[np.int64], height: int) -> tuple[Rows, Rows]:
        """Return colours and opacity of `height` rows; `colours`, `opacity`, `places` as in `WindowStage.respond`."""


class _Pool(_Window):
    """The largest colour that is visible and the largest opacity; or the means of both."""

    plain: PoolStage

    def weighted(self, colours: Rows, opacity: Rows, places: NDArray[np.int64], height: int) -> tuple[Rows, Rows]:
        """Return the pooled visible colours and the pooled opacity."""
        pooled = self.plain.respond(opacity, places, height)
        if self.plain.kind == "maxpool":
            seen = np.where(opacity > 0, colours, colours.dtype.type(-np.inf))
            values = self.plain.respond(seen, places, height)
            visible = pooled > 0
        else:
            share = self.share(opacity)
            weight = self.plain.respond(share, places, height)
            visible = weight > 0
            values = self.plain.respond(colours * share, places, height)
            values = np.divide(values, weight, out=values, where=visible)
        if not visible.all():
            values = np.where(visible, values, self.plain.respond(colours, places, height))
        return values, pooled


class _Refusal(_LayerStage):
    """Stands for a wide blur, whose halves would each need the opacity of the whole window."""

    def __init__(self, plain: WideStage) -> None:
        self.plain = plain

    def rows(self, first: int, last: int) -> Layer:  # noqa: ARG002
        """Refuse; called only where something is not opaque."""
        message = f"{self.plain.kernel.name} is wider than 255 pixels and has no rule for transparent ones"
        raise UsageError(message, hint="use --alpha drop, or repeat a smaller blur")


class _Bank(_LayerStage):
    """The colours of all members, and the opacity at the centres of the windows, which is the same for all."""

    def __init__(self, plain: BankStage, members: list[_LayerStage]) -> None:
        self.plain, self.members = plain, members

    def rows(self, first: int, last: int) -> Layer:
        """Return the rows of all members side by side."""
        layers = [member.rows(first, last) for member in self.members]
        return np.concatenate([colours for colours, _ in layers], axis=2), layers[0][1]


class _Rank(_Window):
    """The least, largest or middle colour of what is visible, in the middle each counted by its opacity."""

    plain: RankStage

    def __init__(self, plain: RankStage, source: _LayerStage, white: float, filter_alpha: bool) -> None:
        super().__init__(plain, source, white)
        self.filter_alpha = filter_alpha
        self.full = copy(plain)  # for opacities: outside of the picture, a constant is opaque
        if plain.border.kind in ("zero", "constant"):
            self.full.border = Border("constant", white)

    def weighted(self, colours: Rows, opacity: Rows, places: NDArray[np.int64], height: int) -> tuple[Rows, Rows]:
        """Return the value of each window among its visible colours, the centre where none is, and the opacity."""
        plain = self.plain
        weights = arithmetic.pad(opacity, places, plain.column_index, self.white)
        padded = arithmetic.pad(colours, places, plain.column_index, plain.border.value)
        centre = _centre(plain, opacity, places, height, self.white)
        shown = self.full.respond(opacity, places, height) if self.filter_alpha else centre
        if plain.kind == "median":
            counted = np.rint(np.clip(weights[..., 0] / self.white, 0, 1) * _STEPS).astype(np.int64)
            values = plain.picked(padded, height, np.ascontiguousarray(counted))
            visible = ~np.isnan(values)
        else:
            hidden = padded.dtype.type(np.inf if plain.kind == "minimum" else -np.inf)
            values = plain.picked(np.where(weights > 0, padded, hidden), height)
            visible = np.isfinite(values)
        if not visible.all():
            values = np.where(visible, values, _centre(plain, colours, places, height, plain.border.value))
        return values, shown


class _Part:
    """The positive or the negative numbers of a two-dimensional kernel, for a weighted mean."""

    def __init__(self, stage: KernelStage, numbers: NDArray[np.float64], divisor: float, sign: float) -> None:
        self.sign = sign
        self.colours = _with_kernel(stage, numbers, divisor, stage.border)
        self.weights = _with_kernel(stage, numbers, divisor, Border("constant", 1.0))
        self.sum = _sum_as_computed(self.weights)


class _Kernel(_Window):
    plain: KernelStage

    def __init__(self, plain: KernelStage, source: _LayerStage, white: float, filter_alpha: bool) -> None:
        super().__init__(plain, source, white)
        kernel = plain.kernel
        centre = tuple(c // d for c, d in zip(plain.geometry.centre, plain.geometry.dilation, strict=True))
        taps = np.argwhere(kernel.numerators.any(axis=(0, 1))).tolist()
        self.single = taps in ([], [list(centre)])  # each pixel by itself: nothing to weigh
        self.parts = [
            [
                [_Part(plain, np.maximum(sign * plane, 0), kernel.divisor, sign) for sign in (1.0, -1.0)
                 if (sign * plane > 0).any()]
                for plane in planes
            ]
            for planes in kernel.numerators
        ]  # fmt: skip
        self.filtered = _opacity_filter(plain, white) if filter_alpha else None
        self.filtered_sum = _sum_as_computed(self.filtered) if self.filtered else 1.0

    def rows(self, first: int, last: int) -> Layer:
        """Return these rows, with the border copied from the source where the convention does so."""
        values, shown = super().rows(first, last)
        if self.plain.copy_border:
            self.plain.restore_border(values, self.source.rows(first, last)[0], first)
        return values, shown

    def weighted(self, colours: Rows, opacity: Rows, places: NDArray[np.int64], height: int) -> tuple[Rows, Rows]:
        """Return the response by normalised convolution, and the opacity, as the module explains."""
        shown = self._opacity(opacity, places, height)
        if self.single:
            return self.plain.respond(colours, places, height), shown
        share = np.repeat(self.share(opacity), colours.shape[2], axis=2)  # arrays of one shape are quicker by far
        seen = colours * share
        values = self.plain.respond(seen, places, height)  # right where the windows are opaque, to the last bit
        near: Any = False
        responses = []
        for planes, bias in zip(self.parts, self.plain.kernel.biases, strict=True):
            total: Any = None
            for channel, parts in enumerate(planes):
                which = slice(None) if self.plain.kernel.per_channel else slice(channel, channel + 1)
                blocks = tuple(np.ascontiguousarray(block[..., which]) for block in (colours, seen, share))
                response, touched = self._response(parts, blocks, places, height)
                total, near = response if total is None else total + response, near | touched
            added = float(bias) + self.plain.rounding_start
            responses.append(total + added if added else total)
        if np.any(near):
            values = np.where(near, self.plain.combined(responses), values)
        return values, shown

    def _response(
        self, parts: list[_Part], blocks: tuple[Rows, ...], places: NDArray[np.int64], height: int
    ) -> tuple[Rows, Any]:
        """Return the response of one plane of numbers without its bias, and where its windows are not all opaque.

        `blocks` are the colours, the colours times their opacity, and the opacity from 0 to 1.
        """
        colours, seen, share = blocks
        shape = (height, self.plain.shape[1], colours.shape[2])
        sums, hidden, touched = [], [], np.zeros(shape, bool)
        for part in parts:
            total, weight = (
                block.respond(x, places, height) for block, x in ((part.colours, seen), (part.weights, share))
            )
            hidden.append(weight <= _NOTHING * part.sum)
            touched |= np.abs(weight - weight.dtype.type(part.sum)) > _NOTHING * part.sum
            with np.errstate(all="ignore"):  # what is hidden is replaced
                total *= weight.dtype.type(part.sum) / weight
            sums.append(total)
        number = colours.dtype.type
        for i, part in enumerate(parts):
            if hidden[i].any():
                instead = _centre(self.plain, colours, places, height, self.plain.border.value) * number(part.sum)
                if len(parts) > 1:
                    other = sums[1 - i] * number(part.sum / parts[1 - i].sum)
                    instead = np.where(hidden[1 - i], instead, other)
                sums[i] = np.where(hidden[i], instead, sums[i])
        response = np.zeros(shape, colours.dtype)
        for part, total in zip(parts, sums, strict=True):
            response += total if part.sign > 0 else -total
        return response, touched

    def _opacity(self, opacity: Rows, places: NDArray[np.int64], height: int) -> Rows:
        if self.filtered is None:
            return _centre(self.plain, opacity, places, height, self.white)
        values = self.filtered.respond(opacity, places, height) / opacity.dtype.type(self.filtered_sum)
        return np.asarray(np.clip(values, 0, opacity.dtype.type(self.white)))


def _centre(plain: WindowStage, block: Rows, places: NDArray[np.int64], height: int, outside: float) -> Rows:
    """Return the pixel at the centre of each window."""
    (down, across), (rows, columns) = plain.geometry.centre, plain.geometry.stride
    return arithmetic.pad(
        block,
        places[down : down + (height - 1) * rows + 1 : rows],
        plain.column_index[across : across + (plain.shape[1] - 1) * columns + 1 : columns],
        outside,
    )


def _layers(plain: Stage, alpha: NDArray, white: float, filter_alpha: bool) -> _LayerStage:
    """Return the chain that ends with `plain`, each stage with its opacity."""
    if isinstance(plain, SourceStage):
        return _Source(plain, alpha, white)
    if isinstance(plain, PointStage | GrayStage):
        return _Point(plain, _layers(plain.source, alpha, white, filter_alpha))
    if isinstance(plain, PoolStage):
        return _Pool(plain, _layers(plain.source, alpha, white, filter_alpha), white)
    if isinstance(plain, BankStage):
        if filter_alpha:
            message = f"a bank of {len(plain.members)} has as many results: one opacity cannot follow"
            raise UsageError(message, where="--alpha filter", hint="use --alpha keep")
        return _Bank(plain, [_layers(member, alpha, white, filter_alpha) for member in plain.members])
    if isinstance(plain, RankStage):
        return _Rank(plain, _layers(plain.source, alpha, white, filter_alpha), white, filter_alpha)
    if isinstance(plain, WideStage):
        return _Refusal(plain)
    if isinstance(plain, KernelStage):
        return _Kernel(plain, _layers(plain.source, alpha, white, filter_alpha), white, filter_alpha)
    raise TypeError(f"no opacity for {type(plain).__name__}")


def _with_kernel(stage: KernelStage, numbers: NDArray[np.float64], divisor: float, border: Border) -> KernelStage:
    """Return the stage with one two-dimensional kernel and nothing added to its responses."""
    other = copy(stage)
    other.kernel = Kernel(stage.kernel.name, np.ascontiguousarray(numbers)[None, None], divisor)
    other.rounding_start = 0.0
    other.border = border if border.kind == "constant" and stage.border.kind in ("zero", "constant") else stage.border
    return other


def _opacity_filter(stage: KernelStage, white: float) -> KernelStage:
    kernel = stage.kernel
    numbers = kernel.numerators[0].sum(axis=0)
    where, hint = "--alpha filter", "use --alpha keep"
    if kernel.filters > 1 and kernel.combine == "stack":
        raise UsageError(
            f"{kernel.name} has {kernel.filters} filters: one opacity cannot follow", where=where, hint=hint
        )
    if kernel.is_zero_sum or abs(numbers.sum()) <= _NOTHING * np.abs(numbers).sum():
        raise UsageError(f"the numbers of {kernel.name} add up to 0: no opacity follows", where=where, hint=hint)
    return _with_kernel(stage, numbers, 1.0, Border("constant", white))


def _sum_as_computed(stage: KernelStage) -> float:
    """Return the response to a window of ones, in the arithmetic of the stage: it equals that of opaque windows."""
    alone = copy(stage)
    alone.geometry = replace(stage.geometry, pads=(0, 0, 0, 0), size=(1, 1))
    down, across = (d * (k - 1) + 1 for d, k in zip(stage.geometry.dilation, stage.kernel.size, strict=True))
    alone.column_index, alone.shape = np.zeros(across, np.int64), (1, 1, 1)
    work = _work(stage)
    return float(alone.respond(np.ones((1, 1, 1), work), np.zeros(down, np.int64), 1)[0, 0, 0])


def _work(stage: Stage) -> np.dtype:
    """Return the float type that a chain computes in."""
    link: Any = stage
    while not isinstance(link, SourceStage):
        link = link.source
    return link.work


def _white(dtype: np.dtype) -> float:
    return float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0
