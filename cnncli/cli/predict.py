"""`cnn predict`: classify pictures with a trained network."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cnncli.errors import CnnError, PartialFailureError, UsageError, printable

if TYPE_CHECKING:
    from cnncli.engine.session import Session
    from cnncli.io.checkpoint import Checkpoint
    from cnncli.io.images.image import Image
    from cnncli.model.network import Model
    from cnncli.tasks.predict.predict import FailedPicture, Prediction

_SHOWN_NOTES = 5


@dataclass(frozen=True)
class PredictArguments:
    """What was typed: one field for each argument and option of the command, by its name there."""

    run: str
    images: tuple[str, ...]
    recursive: bool
    top_k: int
    probs: bool
    logits: bool
    threshold: float
    activations: str | None
    layers: str | None
    force: bool
    labels_from_dirs: bool
    batch_size: int
    invert: str
    no_exif: bool
    style: str | None
    as_json: bool
    quiet: bool
    threads: int | None


@click.command("predict")
@click.argument("run", metavar="RUN_OR_CKPT")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-r", "--recursive", is_flag=True, help="Search folders for pictures.")
@click.option("-t", "--top-k", type=click.IntRange(1, 1000), default=3, show_default=True, help="Classes per picture.")
@click.option("--probs", is_flag=True, help="The probability of every class.")
@click.option("--logits", is_flag=True, help="The values before the softmax or sigmoid.")
@click.option(
    "--threshold", type=click.FloatRange(0, 1), default=0.0, metavar="P", help="No label for less probable answers."
)
@click.option("--activations", metavar="DIR", help="Draw what every layer makes of each picture.")
@click.option("--layers", metavar="A,B", help="Only these layers, such as conv1,conv2  [all].")
@click.option("-f", "--force", is_flag=True, help="Replace pictures that are in that folder.")
@click.option("--labels-from-dirs", is_flag=True, help="Folders are named for classes: accuracy and confusion.")
@click.option(
    "-b", "--batch-size", type=click.IntRange(1, 65_536), default=64, show_default=True, help="Pictures at a time."
)
@click.option(
    "--invert",
    type=click.Choice(["auto", "yes", "no"]),
    default="auto",
    show_default=True,
    help="Turn dark ink on a light ground into light on dark.",
)
@click.option("--no-exif", is_flag=True, help="Do not apply the camera's orientation.")
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "plain", "jsonl", "json", "csv"]),
    help="[table on a terminal, jsonl in a pipe]",
)
@click.option("--json", "as_json", is_flag=True, help="Same as --format jsonl: one JSON object per picture.")
@click.option("-q", "--quiet", is_flag=True, help="No notes on stderr.")
@click.option("-j", "--threads", type=click.IntRange(1, 1024), envvar="CNN_THREADS", help="[all processors]")
def command(**options: Any) -> None:
    r"""Classify pictures with a trained network.

    \b
    Examples:
      cnn predict runs/lenet5-mnist-1 seven.png        the best weights of a run
      cnn predict m/last.safetensors *.png --format csv
      cnn predict m scans/ -r --format csv             pictures below a folder
      cat seven.png | cnn predict m - --json           a picture from a pipe
      cnn predict m photos/ -r --labels-from-dirs      folders named for classes
      cnn predict m 7.png --activations d --layers conv1,conv2

    IMAGE is a picture, a folder with -r, a pattern in quotes, or - for standard input.
    Size, colours and class names come from the checkpoint. For networks trained on digits, dark ink on a light
    ground is inverted and the digit is found, scaled and centred; each change is said on stderr.
    A picture that cannot be read, be it the only one, becomes a row with `error`, and the command ends with 7.
    """
    from cnncli import threads as thread_count
    from cnncli.io.checkpoint import BEST, read_checkpoint
    from cnncli.io.images.listing import expand_inputs
    from cnncli.reporting.results.predictions import RowOptions, agreement, write_predictions
    from cnncli.tasks.predict.predict import checkpoint_model, load_weights, make_engine_session, predict

    given = PredictArguments(**options)
    if given.images.count("-") > 1:
        raise UsageError("standard input is named twice", hint="name - once")
    if given.activations is not None and (not given.activations or "-" in given.images):
        what = "names no folder" if not given.activations else "cannot read standard input a second time"
        raise UsageError(f"--activations {what}", hint="name a folder, and pictures in files")
    for option, is_given in {"--layers": given.layers is not None, "--force": given.force}.items():
        if is_given and given.activations is None:
            raise UsageError(f"{option} is for the pictures of --activations", hint="add --activations DIR")
    if given.threshold != given.threshold:  # Click's range lets nan through
        raise UsageError("--threshold nan is not a number", hint="try 0.9")
    checkpoint = read_checkpoint(given.run)
    where = given.run if given.run.endswith(".safetensors") else f"{given.run}/{BEST}"
    model = checkpoint_model(checkpoint, where)
    _check_targets(checkpoint.training.get("targets", "classes"), where)
    # one argument at a time: a picture that is named twice has two rows
    paths = [source.path for name in given.images for source in expand_inputs([name], recursive=given.recursive)]
    truths = _truths(paths, checkpoint.classes) if given.labels_from_dirs else {}
    files = _activation_files(given, model, paths) if given.activations is not None and paths else []
    rows = RowOptions(given.top_k, given.probs, given.logits, given.threshold, truths)

    def start() -> Session:
        size = min(len(paths), given.batch_size)
        session = make_engine_session(model, checkpoint, batch_size=size, threads=thread_count.resolve(given.threads))
        load_weights(session, checkpoint)
        return session

    results = predict(checkpoint, start, paths, lambda path: _read(path, exif=not given.no_exif), invert=given.invert)
    summary = _NotesAndFailures(quiet=given.quiet, keep=bool(truths))
    form = given.style or ("table" if sys.stdout.isatty() else "jsonl")
    chosen = "jsonl" if given.as_json or form == "json" else form
    write_predictions(summary.collect(_counted(results, len(paths), given, chosen)), chosen, sys.stdout, rows)
    if files:
        _draw_activations(given, checkpoint, model, paths, files)
    if truths:
        click.echo(agreement(summary.results, rows), nl=False, err=True)
    summary.finish()


def _counted(
    results: Iterator[Prediction | FailedPicture], total: int, given: PredictArguments, style: str
) -> Iterator[Prediction | FailedPicture]:
    """Yield the results under a bar that is gone when all have come; rows that come one by one need none."""
    from cnncli.reporting.results.work_bar import WorkBar

    has_rows = style == "jsonl" and sys.stdout.isatty()
    is_shown = sys.stderr.isatty() and total > 1 and not given.quiet and not has_rows
    with WorkBar("pictures", total, sys.stderr, is_shown=is_shown) as bar:
        for done, result in enumerate(results, start=1):
            bar.show(done)
            yield result


def _activation_files(given: PredictArguments, model: Model, paths: list[str]) -> list[dict[str, Path]]:
    """Return the file of each layer, picture by picture, after checking that none would be replaced unasked."""
    from cnncli.io.atomic import make_directory
    from cnncli.tasks.predict.activations import activation_names, chosen_layers

    layers, folder = chosen_layers(model, given.layers), Path(given.activations or "")
    names = activation_names(paths, layers)
    files = [dict(zip(layers, (folder / name for name in row), strict=True)) for row in names]
    held = [path for row in files for path in row.values() if os.path.lexists(path)]
    if held and not given.force:
        more = f", and {len(held) - 1} more" if len(held) > 1 else ""
        raise CnnError(f"exists{more}", where=str(held[0]), hint="use -f to replace, or name another folder")
    make_directory(folder)
    return files


def _draw_activations(
    given: PredictArguments, checkpoint: Checkpoint, model: Model, paths: list[str], files: list[dict[str, Path]]
) -> None:
    """Write a picture for each layer and picture that can be read; the others have their rows already."""
    from cnncli import threads as thread_count
    from cnncli.io.atomic import write_atomically
    from cnncli.io.images.encode import encode_image
    from cnncli.io.images.image import Image
    from cnncli.reporting.pictures.activations import activation_picture
    from cnncli.tasks.predict.activations import activations

    written = 0
    found = activations(
        checkpoint, model, paths, lambda path: _read(path, exif=not given.no_exif), layers=list(files[0]),
        invert=given.invert, batch_size=given.batch_size, threads=thread_count.resolve(given.threads),
    )  # fmt: skip
    for one in found:
        content = bytes(encode_image(Image(activation_picture(one.layer, one.maps)), "PNG", level=6))
        write_atomically(str(files[one.picture][one.layer]), content, overwrite=given.force)
        written += 1
    if not given.quiet:
        what = "picture of a layer" if written == 1 else "pictures of layers"
        click.echo(f"wrote {written} {what} to {printable(given.activations or '')}", err=True)


def _truths(paths: list[str], classes: tuple[str, ...]) -> dict[str, str]:
    """Return the class of each picture: the name of the folder in which it lies."""
    from cnncli.errors import did_you_mean

    truths = {path: Path(path).absolute().parent.name for path in paths}
    for path, name in truths.items():
        if path == "-":
            raise UsageError("--labels-from-dirs: standard input lies in no folder", hint="name files or folders")
        if name not in classes:
            hint = did_you_mean(name, classes, f"the classes are {', '.join(classes[:8])}")
            raise UsageError(f"its folder {name!r} is no class of the network", where=path, hint=hint)
    return truths


def _check_targets(targets: object, where: str) -> None:
    """Refuse options that choose among classes where the network does not."""
    if targets == "classes":
        return
    for option in ("top_k", "probs", "logits", "threshold", "labels_from_dirs"):
        source = click.get_current_context().get_parameter_source(option)
        if source is not click.core.ParameterSource.DEFAULT:
            message = f"--{option.replace('_', '-')} is for classes, and this network answers with {targets}"
            raise UsageError(message, where=where, hint="leave it away")


def _read(path: str, *, exif: bool) -> Image:
    from cnncli.io.images.decode import decode_image
    from cnncli.io.images.image import MAX_FILE_BYTES
    from cnncli.io.images.read import read_image

    if path == "-":
        return decode_image(sys.stdin.buffer.read(MAX_FILE_BYTES + 1), "<stdin>", exif=exif)
    return read_image(path, exif=exif)


class _NotesAndFailures:
    """Writes the notes of the first pictures, counts the others, and raises at the end if some pictures failed."""

    def __init__(self, *, quiet: bool, keep: bool) -> None:
        self.quiet, self.keep = quiet, keep
        self.failures: list[FailedPicture] = []
        self.results: list[Prediction | FailedPicture] = []
        self.pictures = self.noted = 0

    def collect(self, results: Iterator[Prediction | FailedPicture]) -> Iterator[Prediction | FailedPicture]:
        from cnncli.reporting.encodable import write_line
        from cnncli.tasks.predict.predict import FailedPicture

        for result in results:
            self.pictures += 1
            if self.keep:
                self.results.append(result)
            if isinstance(result, FailedPicture):
                self.failures.append(result)
            elif result.notes:
                self.noted += 1
                if self.noted <= _SHOWN_NOTES and not self.quiet:
                    write_line(f"note: {printable(result.path)}: {'; '.join(result.notes)}", sys.stderr)
            yield result

    def finish(self) -> None:
        if self.noted > _SHOWN_NOTES and not self.quiet:
            click.echo(f"note: {self.noted - _SHOWN_NOTES} more pictures were changed to fit", err=True)
        if self.failures:
            first = self.failures[0]
            message = f"{len(self.failures)} of {self.pictures} pictures failed"
            hint = f"the first: {first.error.located(first.path)}"
            error: CnnError = PartialFailureError(message, hint=hint)
            raise error
