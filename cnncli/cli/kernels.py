"""`cnn kernels`: the named kernels, what each is for, and their numbers."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from cnncli import SCHEMA
from cnncli.cli.options import choose_format, format_option, hand_out, output_option
from cnncli.errors import UsageError

if TYPE_CHECKING:
    from cnncli.filters.kernel import Kernel


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--flip", is_flag=True, help="Print the kernel turned by 180 degrees, as true convolution applies it.")
@click.option("--scale", metavar="X|sum", help="Multiply by a number or fraction, or divide by the sum.")
@click.option("--no-color", is_flag=True, help="No colours; also NO_COLOR=1.")
@format_option
@output_option
def command(
    names: tuple[str, ...],
    flip: bool,
    scale: str | None,
    no_color: bool,
    format_name: str | None,
    as_json: bool,
    output: str | None,
    force: bool,
) -> None:
    """List the named kernels, or print the numbers of some.

    \b
    Examples:
      cnn kernels                       all names, sizes, sums and purposes
      cnn kernels sobel                 both matrices of a gradient
      cnn kernels gaussian:1.5          a kernel with its argument
      cnn kernels gaussian:sigma=2,size=5 --json
      cnn kernels "1/9 * 1 1 1; 1 1 1; 1 1 1"   a literal, checked and described
      cnn kernels @mine.txt             a kernel file
      cnn kernels "RUN:conv1[0]"        what a network has learned; [*] for all
      cnn kernels "gabor:0..150:30"     a bank of six
      cnn kernels sharpen -o k.json     a file for `cnn filter -k @k.json`
      cnn kernels sharpen --flip        as true convolution turns it

    Steps that are no kernels (relu, maxpool:2, gray ...) are listed below the table. Kernel files are .txt, .csv,
    .json, .npy or .mat (vips). Arrays of 3 and 4 axes are (C, KH, KW) and (F, C, KH, KW); `cnn filter --as keras` reads
    (KH, KW, C) and (KH, KW, C, F).
    """  # noqa: D301
    from cnncli.reporting import kernel_report

    if no_color:
        os.environ["NO_COLOR"] = "1"
    form = choose_format(format_name, as_json, output)
    if not names:
        if flip or scale:
            raise UsageError("--flip and --scale need the name of a kernel", hint="for instance `cnn kernels sobel`")
        if form in ("json", "jsonl"):
            entries = kernel_report.catalogue_json()
            text = _json(form, {"schema": SCHEMA, "kernels": entries}, entries)
        else:
            text = kernel_report.catalogue(form)
        hand_out(text, output, force=force, say=True)
        return
    kernels = _read_kernels(names, scale, flip=flip)
    if form in ("json", "jsonl"):
        bodies = [kernel_report.kernel_json(kernel) for kernel in kernels]
        whole = bodies[0] if len(bodies) == 1 else {"kernels": bodies}
        text = _json(form, {"schema": SCHEMA, **whole}, bodies)
    else:
        text = kernel_report.numbers(kernels, form)
    hand_out(text, output, force=force, say=True)


def _read_kernels(names: tuple[str, ...], scale: str | None, *, flip: bool) -> list[Kernel]:
    """Return the named kernels, scaled and flipped."""
    from cnncli.filters.formulas import LIMIT
    from cnncli.filters.geometry import parse_scale
    from cnncli.filters.steps import KernelStep, WideStep, flattened
    from cnncli.tasks.filter.read_steps import parse_steps

    kernels = []
    for step in flattened(parse_steps(names)):
        if isinstance(step, WideStep):
            side = step.row.size[1]
            message = f"{step.name} has {side}x{side} numbers, the limit is {LIMIT}x{LIMIT}"
            raise UsageError(message, hint="`cnn filter` applies it along columns and rows in turn")
        if not isinstance(step, KernelStep):
            raise UsageError(f"{step.name} is a step without a kernel", hint="`cnn kernels` lists the kernels")
        kernel = step.kernel
        if scale is not None:
            factor = parse_scale(scale)
            if factor == "sum" and (kernel.is_zero_sum or not kernel.total):
                raise UsageError(f"the numbers of {kernel.name} add up to 0", where="--scale", hint="drop --scale sum")
            kernel = kernel.normalised() if factor == "sum" else kernel.scaled(factor)
        kernels.append(kernel.flipped() if flip else kernel)
    return kernels


def _json(form: str, whole: object, lines: list[dict[str, object]]) -> str:
    bodies = [whole] if form == "json" else lines
    return "".join(json.dumps(body, allow_nan=False) + "\n" for body in bodies)
