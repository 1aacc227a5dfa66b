"""`cnn shape`: what shape a layer, a chain of layers or a network gives, with the formula."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from cnncli.cli.options import (
    choose_format,
    format_option,
    hand_out,
    no_color_option,
    notation_option,
    output_option,
    quiet_option,
)
from cnncli.errors import MismatchError, UsageError

if TYPE_CHECKING:
    from cnncli.model.network import Model
    from cnncli.reporting.shape_answers import ShapeOptions

UNKNOWNS = ("padding", "stride", "kernel", "input")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="INPUT|ARCH", required=False)
@click.argument("layers", metavar="[LAYER]...", nargs=-1)
@click.option("-k", "--kernel", metavar="K", help="Kernel of one convolution: 5 or 5x3 (rows x columns).")
@click.option("-p", "--padding", metavar="P", help="A number, same, valid, full or top/bottom/left/right.")
@click.option("-s", "--stride", metavar="S", help="Stride: 2 or 2x1.")
@click.option("--filters", metavar="N", help="Number of filters, the channels of the output.")
@click.option("--dilation", metavar="D", help="Distance of the kernel's taps.")
@click.option("--groups", metavar="G", help="Channel groups.")
@click.option("--round", "rounding", type=click.Choice(("floor", "ceil", "strict")), default="floor", show_default=True,
              help="Round output lengths down, up, or refuse what does not divide.")  # fmt: skip
@click.option("--solve", type=click.Choice(UNKNOWNS), help="Find this, so that the output is --want.")
@click.option("--want", metavar="SHAPE|same", help="The output for --solve.")
@click.option("--expect", metavar="SHAPE", help="Exit with 4 unless the output has this shape.")
@click.option("--rf", "with_field", is_flag=True, help="Add receptive field, jump and start.")
@click.option(
    "--coverage", "with_coverage", is_flag=True, help="Print how often each pixel is read; -o x.svg draws it."
)
@click.option("--input", "input_text", metavar="SHAPE", help="Input of an architecture file, in place of its own.")
@click.option("--classes", type=click.IntRange(1, 1_000_000), help="Classes of an architecture file.")
@notation_option
@format_option
@output_option
@no_color_option
@quiet_option
def command(*, output: str | None, force: bool, format_name: str | None, as_json: bool, **options: Any) -> None:
    r"""Say what shape a layer, a chain or a network gives.

    \b
    Examples:
      cnn shape 28x28x3 -k 5 -p 1                     a convolution, with formula
      cnn shape 5x5 maxpool:2                         a pool; what is never read
      cnn shape 64x64x3 conv:3,out=8 conv:5,s=2,out=16 conv:7,s=2,out=32
      cnn shape 256x256x3 -k 7 --filters 8 --solve padding --want same
      cnn shape 5x5 -k 3 -p 1 --coverage              how often each pixel is read
      cnn shape resnet18 --rf                         a network, receptive fields

    INPUT is 28x28x3 (height x width x channels), 3@28x28 (depth @ width x height) or 28;
    a number before a dense layer is a vector. ARCH is an architecture
    file, a preset, a run or - for standard input. LAYER is conv:5,p=1,s=2,out=8 · depthwise:3 · maxpool:2 ·
    avgpool:3,s=2 · globalavgpool · flatten · dense:10 · relu · ...
    """
    from cnncli.reporting import shape_answers as answers

    chosen = choose_format(format_name, as_json, output, picture=True)
    given = answers.ShapeOptions(format_name=chosen, **options)
    if given.source is None and given.solve != "input":
        raise UsageError("nothing to compute", hint="see `cnn shape --help`; for instance `cnn shape 28x28x3 -k 5`")
    _refuse(given)
    if given.solve:
        answer = answers.solved(given)
        model = answer.model
        if chosen == "json":
            text = answers.json_text(answers.solved_json(answer, given.solve), chosen)
        else:
            text = answers.solved_text(answer, given)
    else:
        try:
            model = answers.read_model(given)
        except answers.LayerError as error:
            if error.done and chosen in ("table", "plain"):
                hand_out(answers.partial(error, given.notation or "hwc", chosen), None)
                sys.stdout.flush()
            raise
        text = _answer(model, given)
    hand_out(text, output, force=force, say=not given.quiet)
    if given.expect:
        _check(given.expect, answers.expected_shape(given.expect), model.output_shape)


def _answer(model: Model, given: ShapeOptions) -> str:
    """Return the text of a question without an unknown."""
    from cnncli.reporting import shape_answers as answers

    if given.with_coverage:
        return answers.covered(model, given.format_name)
    if given.format_name == "svg":
        from cnncli.reporting.pictures.network import network_svg

        return network_svg(model, notation=given.notation or "d@wxh")
    if given.format_name in ("json", "jsonl"):
        return answers.json_text(answers.as_json(model, with_field=given.with_field), given.format_name)
    return answers.as_text(model, given)


def _refuse(given: ShapeOptions) -> None:
    """Raise `UsageError` for an option that the answer would not use."""
    format_name = given.format_name
    if given.want and not given.solve:
        raise UsageError("--want belongs to --solve", hint="add --solve padding")
    if given.notation and format_name in ("json", "jsonl"):
        raise UsageError("--notation is for texts and pictures", hint="JSON has [height, width, channels]")
    asked = "--solve" if given.solve else "--coverage" if given.with_coverage else ""
    if asked and given.with_field:
        raise UsageError(f"--rf and {asked} exclude each other", hint="ask for one of them")
    if format_name == "svg" and given.with_field:
        raise UsageError("a picture has no receptive fields", hint="leave out --rf")
    if not given.solve:
        return
    for value, flag in (
        (given.with_coverage, "--coverage"),
        (given.input_text, "--input"),
        (given.classes, "--classes"),
    ):
        if value:
            raise UsageError(f"{flag} and --solve exclude each other", hint="ask again with the answer of --solve")
    if format_name not in ("table", "plain", "json"):
        raise UsageError(f"--solve has no answer as {format_name}", hint="use --json or plain text")


def _check(written: str, wanted: tuple[int, ...], found: tuple[int, ...]) -> None:
    from cnncli.shapes import format_hwc

    if wanted != found:
        raise MismatchError(
            f"the output is {format_hwc(found)}, expected {format_hwc(wanted)}", where=f"--expect {written}",
            hint="check kernel, stride and padding",
        )  # fmt: skip
