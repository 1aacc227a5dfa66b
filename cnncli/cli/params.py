"""`cnn params`: how many parameters a network has, layer by layer, and where each number comes from."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from cnncli.cli.options import (
    ShapeType,
    choose_format,
    format_option,
    hand_out,
    no_color_option,
    notation_option,
    output_option,
    quiet_option,
)
from cnncli.errors import MismatchError, UsageError
from cnncli.optim.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    from cnncli.model.network import Model
    from cnncli.reporting.params_answers import ParamsOptions


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="ARCH")
@click.argument("layers", metavar="[LAYER]...", nargs=-1)
@click.option("--input", "input_shape", type=ShapeType(), help="Input shape, in place of the file's.")
@click.option("--classes", type=click.IntRange(1, 1_000_000), help="Number of classes, in place of the file's.")
@click.option("--formula", is_flag=True, help="Show each count with its numbers: 5*5*3*8 + 8.")
@click.option("--columns", metavar="LIST|all", help="Columns, for instance layer,shape,params,macs.")
@click.option("--depth", type=click.IntRange(1, 32), help="Open blocks down to this depth; 1 opens none.  [2]")
@click.option("--per-repeat", is_flag=True, help="Show every repetition of a block.")
@click.option("--compare", metavar="dense,local", help="Each convolution against layers that share no weights.")
@click.option("--diff", "other", metavar="ARCH", help="Two networks side by side.")
@click.option("--batch", type=click.IntRange(1, 1_000_000), default=1, show_default=True, help="Images in memory.")
@click.option("--optimizer", type=click.Choice(list(OPTIMIZERS)), help="Show the memory of training with it.")
@click.option("--expect", "expected", metavar="KEY=VALUE", multiple=True, help="Exit with 4 unless it is so.")
@notation_option
@format_option
@output_option
@no_color_option
@quiet_option
def command(*, output: str | None, force: bool, format_name: str | None, as_json: bool, **options: Any) -> None:
    r"""Count the parameters of a network, layer by layer.

    \b
    Examples:
      cnn params lenet5                          a preset (see `cnn new --list`)
      cnn params my.yaml --formula               each count with its numbers
      cnn params resnet50 --columns all          kernels, MACs, memory, ...
      cnn params lecture --compare dense,local   what sharing weights saves
      cnn params vgg16 --diff vgg19              two networks side by side
      cnn params my.yaml --expect total=61706    exit code 4 if it differs
      cnn params lenet5 -o lenet5.svg            a picture of the network
      cnn params 6x6x3 conv:3 relu maxpool:2,s=1 flatten dense:32

    ARCH is an architecture file, a preset, a run, a checkpoint, - for standard input, or an input shape with layers
    behind it as in `cnn shape`.
    """
    from cnncli.reporting import params_answers as answers

    chosen = choose_format(format_name, as_json, output, picture=True)
    given = answers.ParamsOptions(format_name=chosen, **options)
    _refuse(given)
    try:
        model = answers.read_model(given.source, given.layers, given.input_shape, given.classes)
    except answers.LayerError as error:
        if error.done and chosen in ("table", "plain"):
            hand_out(answers.partial(error, chosen), None)
            sys.stdout.flush()
        raise
    hand_out(_answer(model, given), output, force=force, say=not given.quiet)
    _check(model, given.expected, answers.expected_values(model) if given.expected else {})


def _answer(model: Model, given: ParamsOptions) -> str:
    from cnncli.reporting import params_answers as answers

    if given.format_name == "svg":
        from cnncli.reporting.pictures.network import network_svg

        return network_svg(model, given.depth, collapsed=not given.per_repeat, notation=given.notation or "d@wxh")
    if given.compare:
        return answers.compared(model, given.compare, given)
    if given.other:
        return answers.differences(model, answers.read_model(given.other, (), given.input_shape, given.classes), given)
    if given.format_name in ("json", "jsonl"):
        body = answers.as_json(model, given)
        lines = [body] if given.format_name == "json" else body["layers"]
        return "".join(json.dumps(line) + "\n" for line in lines)
    text = answers.render(answers.params_view(model, given), given.format_name)
    if given.format_name in ("table", "plain") and not given.quiet:
        text += "".join(f"note: {note}\n" for note in answers.notes(model))
    return text


def _refuse(given: ParamsOptions) -> None:
    """Raise `UsageError` for an option that the answer would not use."""
    format_name = given.format_name
    is_json = format_name in ("json", "jsonl")
    wants = {
        "--compare": given.compare, "--diff": given.other, "--formula": given.formula, "--columns": given.columns,
        "--depth": given.depth, "--per-repeat": given.per_repeat, "--batch": given.batch > 1,
        "--optimizer": given.optimizer, "--notation": given.notation,
    }  # fmt: skip
    if format_name == "svg":
        what, used = "a picture", {"--depth", "--per-repeat", "--notation"}
    elif given.compare:
        what, used = "--compare", {"--compare", "--notation"}
    elif given.other:
        what, used = "--diff", {"--diff", "--notation"}
    else:
        what, used = "JSON" if format_name == "json" else format_name, set(wants)
    if is_json:
        # it holds every column, each formula and every repetition anyway, and shapes as lists
        used -= {"--notation"} | ({"--batch", "--optimizer"} if format_name == "jsonl" else set())
    elif format_name == "csv":
        # the line on memory stands below a table; CSV has rows alone
        used -= {"--optimizer"}
    for flag, wanted in wants.items():
        if wanted and flag not in used:
            where = "JSON" if is_json and flag == "--notation" else what
            raise UsageError(f"{flag} has no place in {where}", hint=f"leave out {flag}")


def _check(model: Model, expected: tuple[str, ...], values: dict[str, int | str]) -> None:
    for text in expected:
        key, equals, wanted = text.partition("=")
        key = key.strip()
        if not equals or key not in values:
            from cnncli.language.items import nearest

            raise UsageError(f"--expect {text[:60]!r} cannot be checked", hint=nearest(key, values))
        found = values[key]
        if str(found) != wanted.strip().replace(",", "").replace("_", "").lower():
            shown = f"{found:,}" if isinstance(found, int) else found
            hint = "see `cnn params ... --formula` for where it comes from"
            raise MismatchError(f"{key} is {shown}, expected {wanted.strip()}", where=model.name, hint=hint)
