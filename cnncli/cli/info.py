"""`cnn info`: what a checkpoint holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cnncli.cli.options import choose_format, format_option, hand_out, no_color_option, output_option, quiet_option
from cnncli.errors import UsageError, printable

if TYPE_CHECKING:
    from cnncli.io.checkpoint import Checkpoint
    from cnncli.reporting.results.information import Information

_LARGEST_HISTORY = 256 << 20


@dataclass(frozen=True)
class InfoArguments:
    """What was typed: one field for each argument and option of the command, by its name there."""

    run: str
    kernels: str | None
    layer: str | None
    scale: str | None
    format_name: str | None
    as_json: bool
    output: str | None
    force: bool
    quiet: bool


@click.command("info")
@click.argument("run", metavar="RUN|FILE")
@click.option("--kernels", metavar="FILE", help="Draw the learned kernels of a convolution.")
@click.option("--layer", metavar="NAME", help="Of this layer [the first one].")
@click.option("--scale", type=click.Choice(["common", "each"]), help="One for all, or one for each [common].")
@format_option
@output_option
@no_color_option
@quiet_option
def command(**options: Any) -> None:
    r"""Say what a checkpoint holds: network, classes, preparation of pictures, training, history and tensors.

    \b
    Examples:
      cnn info runs/lenet5-mnist-1                 the best weights of a run
      cnn info m/last.safetensors --json           all of it, for a program
      cnn info m --kernels k.png                   learned kernels as a picture
      cnn info m --kernels k.png --layer conv2 -f  of another layer

    Every bit is checked against the file's SHA-256. --format csv, md, latex and jsonl hold the table of tensors.
    """
    given = InfoArguments(**options)
    if given.kernels is None:
        for flag, value in {"--layer": given.layer, "--scale": given.scale}.items():
            if value is not None:
                raise UsageError(f"{flag} is for the picture of --kernels", hint="add --kernels FILE.png")
        style = choose_format(given.format_name, given.as_json, given.output)
        found = _read(given.run)
        text = json.dumps(found.as_json()) + "\n" if style == "json" else found.as_text(style)
        hand_out(text, given.output, force=given.force, say=not given.quiet)
        return
    for flag, wanted in {
        "--format": given.format_name,
        "--json": given.as_json,
        "--output": given.output,
    }.items():
        if wanted:
            raise UsageError(f"{flag} has no place beside --kernels, which names its file", hint=f"leave out {flag}")
    _draw_kernels(given, given.kernels)


def _read(run: str) -> Information:
    from cnncli.io.atomic import read_regular_file
    from cnncli.io.checkpoint import BEST, read_checkpoint
    from cnncli.reporting.results.information import Information
    from cnncli.reporting.results.run_report import read_history
    from cnncli.tasks.predict.predict import checkpoint_model

    checkpoint = read_checkpoint(run)
    path = Path(run) / BEST if Path(run).is_dir() else Path(run)
    where = run if run.endswith(".safetensors") else f"{run}/{BEST}"
    model = checkpoint_model(checkpoint, where)
    history = _columns(checkpoint)
    table = path.parent / "history.csv"
    if not history and table.is_file():
        history = read_history(read_regular_file(str(table), _LARGEST_HISTORY).decode("utf-8", "replace"))
    return Information(where, path.stat().st_size, checkpoint, model, history)


def _columns(checkpoint: Checkpoint) -> list[dict[str, float | None]]:
    """Return the history that a checkpoint holds, row by row."""
    names = list(checkpoint.history)
    columns = [checkpoint.history[name].tolist() for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _draw_kernels(given: InfoArguments, path: str) -> None:
    from cnncli.io.atomic import write_atomically
    from cnncli.io.checkpoint import read_checkpoint
    from cnncli.io.images.encode import encode_image
    from cnncli.io.images.formats import format_of
    from cnncli.io.images.image import Image
    from cnncli.reporting.results.information import kernel_picture

    form = format_of(path)
    if form == "TEXT":
        raise UsageError("is a file of numbers, not a picture", where=path, hint="use .png")
    checkpoint = read_checkpoint(given.run)
    picture, title = kernel_picture(checkpoint, given.layer, each=given.scale == "each", where=given.run)
    write_atomically(path, bytes(encode_image(Image(picture), form, where=path)), overwrite=given.force)
    if not given.quiet:
        click.echo(f"wrote {printable(path)}: {printable(title)}", err=True)
