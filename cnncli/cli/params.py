"""`cnn params`: how many parameters a network has, layer by layer, and where each number comes from."""

from __future__ import annotations

import json
import sys
from typing import Any

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
def command(source: str, layers: tuple[str, ...], **options: Any) -> None:
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

    output = options["output"]
    format_name = choose_format(options["format_name"], options["as_json"], output, picture=True)
    _refuse(options, format_name)
    notation = (options["notation"] or "").lower()
    try:
        model = answers.read_model(source, layers, options["input_shape"], options["classes"])
    except (answers.LayerError, answers.WrittenError) as error:
        if error.done and format_name in ("table", "plain"):
            hand_out(answers.partial(error, format_name), None)
            sys.stdout.flush()
        raise
    if format_name == "svg":
        from cnncli.reporting.pictures.network import network_svg

        open_blocks = options["per_repeat"]
        text = network_svg(model, options["depth"], collapsed=not open_blocks, notation=notation or "d@wxh")
    elif options["compare"]:
        text = answers.compared(model, options["compare"], format_name, notation)
    elif options["other"]:
        other = answers.read_model(options["other"], (), options["input_shape"], options["classes"])
        text = answers.differences(model, other, format_name, notation)
    elif format_name in ("json", "jsonl"):
        body = answers.as_json(model, options)
        lines = [body] if format_name == "json" else body["layers"]
        text = "".join(json.dumps(line) + "\n" for line in lines)
    else:
        text = answers.render(answers.params_view(model, options, format_name), format_name)
        if format_name in ("table", "plain") and not options["quiet"]:
            text += "".join(f"note: {note}\n" for note in answers.notes(model))
    hand_out(text, output, force=options["force"], say=not options["quiet"])
    _check(model, options["expected"], answers.expected_values(model) if options["expected"] else {})


def _refuse(options: dict[str, Any], format_name: str) -> None:
    """Raise `UsageError` for an option that the answer would not use."""
    is_json = format_name in ("json", "jsonl")
    wants = {
        "--compare": options["compare"], "--diff": options["other"], "--formula": options["formula"],
        "--columns": options["columns"], "--depth": options["depth"], "--per-repeat": options["per_repeat"],
        "--batch": options["batch"] > 1, "--optimizer": options["optimizer"], "--notation": options["notation"],
    }  # fmt: skip
    if format_name == "svg":
        what, used = "a picture", {"--depth", "--per-repeat", "--notation"}
    elif options["compare"]:
        what, used = "--compare", {"--compare", "--notation"}
    elif options["other"]:
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


def _check(model: Any, expected: tuple[str, ...], values: dict[str, int | str]) -> None:
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
