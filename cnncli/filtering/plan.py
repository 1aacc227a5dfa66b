"""What to do to an image: the steps and every option that changes numbers, with the defaults resolved."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache, lru_cache

import numpy as np

from cnncli.errors import UsageError
from cnncli.filters.borders import Border
from cnncli.filters.conventions import Convention, convention
from cnncli.filters.geometry import Padding, Scale
from cnncli.filters.kernel import Kernel
from cnncli.filters.steps import BankStep, KernelStep, PointStep, RankStep, Step, WideStep, flattened
from cnncli.shapes import Pair

RANGES = ("auto", "clip", "abs", "minmax", "shift", "raw", "equalize")
DTYPES = ("same", "uint8", "uint16", "float32")


@dataclass(frozen=True)
class FilterPlan:
    """The options of one filter run. None means: that of the convention, else the default.

    Parameters
    ----------
    steps : tuple of Step
        From left to right.
    flip : bool, optional
        True convolution (kernels turned by 180 degrees) instead of cross-correlation.
    padding : str or (int, int, int, int), optional
        ``same`` (default), ``valid``, ``full`` or pixels at the top, bottom, left, right; for every kernel step.
    border : Border, optional
        Default replicate; zero where `padding` is given in numbers or as ``full``.
    stride, dilation : (int, int)
        Rows and columns, for every kernel step.
    scale : Fraction or "sum", optional
        Every kernel is multiplied by it, or divided by the sum of its numbers.
    bias : float, or several
        Added once to every response of a kernel; several are for the filters of a bank.
    range : str
        One of RANGES: how values become pixels. ``auto``: ``raw`` for float results, ``abs`` where the last kernel sums
        to about 0, else ``clip``.
    dtype : str
        One of DTYPES.
    gray : str, optional
        One of GRAY_WEIGHTS: one channel before the first step.
    channels : tuple of int, optional
        Only these channels of the input.
    convention : str, optional
        Name of a tool whose operation, border, rounding and clipping are reproduced.
    """

    steps: tuple[Step, ...]
    flip: bool | None = None
    padding: Padding | None = None
    border: Border | None = None
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    scale: Scale | None = None
    bias: float | tuple[float, ...] = 0.0
    range: str = "auto"
    dtype: str = "same"
    gray: str | None = None
    channels: tuple[int, ...] | None = None
    convention: str | None = None


@dataclass(frozen=True)
class ResolvedPlan:
    """A plan with every default decided for one type of pixel.

    Parameters
    ----------
    operation : str
        ``correlation``, ``convolution`` or ``flipud`` (rows of the kernel reversed).
    late_anchor : bool
        The centre of an even kernel is k//2 and not (k-1)//2, counted in the kernel as given.
    rounding : str
        As `Convention.rounding`.
    range : str
        One of RANGES but ``auto``.
    dtype : numpy dtype
        Of the result.
    factor : float
        Pixels are multiplied by it before the first step: 257 where the tool computes with 16 bits.
    """

    plan: FilterPlan
    operation: str
    padding: Padding
    border: Border
    late_anchor: bool
    keras_same: bool
    halved: bool
    copy_border: bool
    rounding: str
    range: str
    dtype: np.dtype
    scale: Scale | None
    factor: float = 1.0
    notes: tuple[str, ...] = field(default=(), compare=False)  # words: no part of what is done

    def kernel(self, kernel: Kernel, bias: float | None = None) -> Kernel:
        """Return `kernel` as it meets the image: scaled, with `bias` or that of the plan, turned."""
        if self.scale == "sum":
            if kernel.is_zero_sum or not kernel.total:
                raise UsageError(
                    f"the numbers of {kernel.name} add up to 0: they cannot be divided by their sum",
                    where="--scale",
                    hint="drop --scale sum",
                )
            kernel = kernel.divided_in_float32() if self.rounding == "half_up" else kernel.normalised()
        elif isinstance(self.scale, Fraction):
            kernel = kernel.scaled(self.scale)
        if self.rounding == "quantum":
            kernel = kernel.multiplied_out()
        if self.operation == "convolution":
            kernel = kernel.flipped()
        elif self.operation == "flipud":
            kernel = kernel.flipud()
        kernel = kernel.with_bias(self.plan.bias if bias is None else bias)
        return kernel if self.factor == 1 else replace(kernel, bias=kernel.biases * self.factor)

    def late(self) -> tuple[bool, bool]:
        """Return for rows and columns whether the centre of the kernel as applied is k//2."""
        rows, columns = {"convolution": (True, True), "flipud": (True, False)}.get(self.operation, (False, False))
        return self.late_anchor != rows, self.late_anchor != columns

    @property
    def operation_text(self) -> str:
        """``cross-correlation``, or which axes of the kernel are reversed."""
        return {
            "correlation": "cross-correlation",
            "convolution": "true convolution (kernel flipped)",
            "flipud": "cross-correlation with the kernel's rows reversed",
        }[self.operation]

    @property
    def padding_text(self) -> str:
        """The padding as a user may type it."""
        if isinstance(self.padding, str):
            return self.padding
        same = len(set(self.padding)) == 1
        return f"padding {self.padding[0]}" if same else f"padding {','.join(map(str, self.padding))}"


@lru_cache(maxsize=64)
def resolve_plan(plan: FilterPlan, dtype: np.dtype) -> ResolvedPlan:
    """Decide every default for pixels of `dtype`.

    Raises
    ------
    UsageError
        Options that contradict each other, or that concern kernels where there is none.
    """
    _check_used(plan)
    rule = convention(plan.convention) if plan.convention else None
    padding: Padding = plan.padding if plan.padding is not None else (rule.padding if rule else "same")
    if plan.border is not None:
        border = plan.border
    elif rule:
        border = Border(rule.border)
    else:
        border = Border("replicate" if padding in ("same", "valid") else "zero")
    operation = rule.operation if rule else "correlation"
    if plan.flip is not None:
        operation = "convolution" if plan.flip else "correlation"
    result = _result_dtype(plan, rule, dtype)
    chosen = _range(plan, rule, result)
    scale = plan.scale
    if scale is None and rule and rule.normalise:
        scale = None if _sums_to_zero(plan.steps) else "sum"
    rounding = rule.rounding if rule and rule.rounding != "float" else "rint"
    factor = 257.0 if rounding == "quantum" and dtype == np.uint8 else 1.0
    if factor != 1 and border.value:
        border = Border(border.kind, border.value * factor)
    notes = (f"--as {plan.convention}: like {rule.call}" + (f"; {rule.note}" if rule.note else ""),) if rule else ()
    return ResolvedPlan(
        plan,
        operation,
        padding,
        border,
        late_anchor=bool(rule and rule.anchor == "late"),
        keras_same=bool(rule and rule.keras_same and padding == "same"),
        halved=bool(rule and rule.halved),
        copy_border=bool(rule and rule.copy_border and plan.border is None and padding == "same"),
        rounding=rounding,
        range=chosen,
        dtype=result,
        scale=scale,
        factor=factor,
        notes=notes + _kernel_notes(plan.steps) + _window_notes(plan.steps, padding, plan.dilation),
    )


@cache
def full_scale(dtype: np.dtype) -> float:
    """Return the value of white: 255, 65535, 1 for float32 images and 255 for float64 matrices."""
    if dtype.kind == "u":
        return float(np.iinfo(dtype).max)
    return 255.0 if dtype == np.float64 else 1.0


def middle(white: float) -> float:
    """Return mid gray for a full scale: 128, 32768 or 0.5."""
    return (white + 1) / 2 if white > 1 else 0.5


def _check_used(plan: FilterPlan) -> None:
    """Refuse options of kernels where no step is a kernel, and of windows where none has one."""
    steps = tuple(flattened(plan.steps))
    ranks = [step.name for step in steps if isinstance(step, RankStep)]
    if ranks and plan.convention not in (None, "scipy"):
        hint = "drop it; the others follow scipy.ndimage only"
        raise UsageError(
            f"{plan.convention} is reproduced for kernels, and {ranks[0]} is none", where="--as", hint=hint
        )
    wide = [step.name for step in steps if isinstance(step, WideStep)]
    if wide and plan.convention == "pillow":
        raise UsageError(f"Pillow's copied borders are for kernels up to 255 pixels, {wide[0]} is wider", where="--as")
    if any(isinstance(step, KernelStep | WideStep) for step in steps):
        return
    windows = {
        "--padding": plan.padding is not None,
        "--border": plan.border is not None,
        "--stride": plan.stride != (1, 1),
        "--dilation": plan.dilation != (1, 1),
    }
    given = {
        "--flip": plan.flip is not None,
        "--scale": plan.scale is not None,
        "--bias": plan.bias not in (0.0, (0.0,)),
        **({} if ranks else windows),
    }
    for option, is_given in given.items():
        if is_given:
            names = " and ".join(step.name for step in plan.steps)
            none = f"{names} is none" if names else "none is given"
            hint = "pools have their own: maxpool:3,s=2,p=1" if option in ("--padding", "--stride") else "drop it"
            raise UsageError(f"it is for kernels, and {none}", where=option, hint=hint)


def _result_dtype(plan: FilterPlan, rule: Convention | None, dtype: np.dtype) -> np.dtype:
    if plan.range not in RANGES:
        raise UsageError(f"unknown range '{plan.range}'", where="--range", hint=f"choose {', '.join(RANGES)}")
    if plan.dtype not in DTYPES:
        raise UsageError(f"unknown type '{plan.dtype}'", where="--dtype", hint=f"choose {', '.join(DTYPES)}")
    if plan.dtype != "same":
        if plan.range == "raw" and plan.dtype != "float32":
            raise UsageError(f"raw values do not fit {plan.dtype}", where="--range", hint="use --dtype float32")
        return np.dtype(plan.dtype)
    stays_float = plan.range == "raw" or (rule is not None and rule.rounding == "float" and plan.range == "auto")
    return np.dtype(np.float32) if stays_float and dtype.kind == "u" else dtype


def _range(plan: FilterPlan, rule: Convention | None, dtype: np.dtype) -> str:
    if plan.range != "auto":
        return plan.range
    if dtype.kind == "f":
        return "raw"
    return "abs" if rule is None and _signed_result(plan.steps) else "clip"


def _signed_result(steps: tuple[Step, ...]) -> bool:
    """Return whether values of both signs around 0 come out: decided by the last step that matters."""
    for step in reversed(steps):
        if isinstance(step, BankStep):
            return any(_signed_result((member,)) for member in step.members)
        if isinstance(step, KernelStep):
            return step.kernel.is_zero_sum
        if isinstance(step, PointStep) and step.kind not in ("round", "leaky_relu", "prelu"):
            return False
    return False


def _sums_to_zero(steps: tuple[Step, ...]) -> bool:
    return any(isinstance(step, KernelStep) and step.kernel.is_zero_sum for step in flattened(steps))


def _kernel_notes(steps: tuple[Step, ...]) -> tuple[str, ...]:
    return tuple(step.kernel.note for step in flattened(steps) if isinstance(step, KernelStep) and step.kernel.note)


def _window_notes(steps: tuple[Step, ...], padding: Padding, dilation: Pair) -> tuple[str, ...]:
    notes = []
    for step in flattened(steps):
        if isinstance(step, WideStep):
            height, width = step.column.size[0], step.row.size[1]
        elif isinstance(step, KernelStep | RankStep):
            height, width = step.kernel.size if isinstance(step, KernelStep) else step.size
        else:
            continue
        if padding == "same" and (height % 2 == 0 or width % 2 == 0):
            centre = f"row {(height + 1) // 2}, column {(width + 1) // 2}"
            notes.append(f"{step.name} is {height}x{width}: its centre is {centre} (counted from 1)")
        if not isinstance(padding, str) and (
            max(padding[:2]) > dilation[0] * (height - 1) or max(padding[2:]) > dilation[1] * (width - 1)
        ):
            notes.append(f"{step.name}: padding beyond k-1 makes windows that hold no pixel of the image")
    return tuple(notes)
