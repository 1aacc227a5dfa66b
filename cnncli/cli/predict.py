"""`cnn predict`: classify pictures with a trained network."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from cnncli.errors import CnnError, PartialFailureError, UsageError

if TYPE_CHECKING:
    from cnncli.engine.session import Session
    from cnncli.io.images.image import Image
    from cnncli.tasks.predict.predict import FailedPicture, Prediction

_SHOWN_NOTES = 5


@click.command("predict")
@click.argument("run", metavar="RUN_OR_CKPT")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-r", "--recursive", is_flag=True, help="Search folders for pictures.")
@click.option("-t", "--top-k", type=click.IntRange(1, 1000), default=3, show_default=True, help="Classes per picture.")
@click.option("--probs", is_flag=True, help="The probability of every class.")
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
def command(
    run: str,
    images: tuple[str, ...],
    recursive: bool,
    top_k: int,
    probs: bool,
    invert: str,
    no_exif: bool,
    style: str | None,
    as_json: bool,
    quiet: bool,
    threads: int | None,
) -> None:
    r"""Classify pictures with a trained network.

    \b
    Examples:
      cnn predict runs/lenet5-mnist-1 seven.png        the best weights of a run
      cnn predict m/last.safetensors *.png --format csv
      cnn predict m scans/ -r --format csv             pictures below a folder
      cat seven.png | cnn predict m - --json           a picture from a pipe

    IMAGE is a picture, a folder with -r, a pattern in quotes, or - for standard input.
    Size, colours and class names come from the checkpoint. For networks trained on digits, dark ink on a light
    ground is inverted and the digit is found, scaled and centred; each change is said on stderr.
    A picture that cannot be read, be it the only one, becomes a row with `error`, and the command ends with 7.
    """
    from cnncli import threads as thread_count
    from cnncli.io.checkpoint import BEST, read_checkpoint
    from cnncli.io.images.listing import expand_inputs
    from cnncli.reporting.results.predictions import write_predictions
    from cnncli.tasks.predict.predict import checkpoint_model, load_weights, make_engine_session, predict

    if images.count("-") > 1:
        raise UsageError("standard input is named twice", hint="name - once")
    checkpoint = read_checkpoint(run)
    where = run if run.endswith(".safetensors") else f"{run}/{BEST}"
    model = checkpoint_model(checkpoint, where)
    _check_targets(checkpoint.training.get("targets", "classes"), where)
    # one argument at a time: a picture that is named twice has two rows
    paths = [source.path for name in images for source in expand_inputs([name], recursive=recursive)]

    def start() -> Session:
        session = make_engine_session(
            model, checkpoint, batch_size=min(len(paths), 64), threads=thread_count.resolve(threads)
        )
        load_weights(session, checkpoint)
        return session

    results = predict(checkpoint, start, paths, lambda path: _read(path, exif=not no_exif), invert=invert)
    summary = _NotesAndFailures(quiet=quiet)
    chosen = "jsonl" if as_json or style == "json" else style or ("table" if sys.stdout.isatty() else "jsonl")
    write_predictions(summary.collect(results), chosen, sys.stdout, top=top_k, with_probs=probs)
    summary.finish()


def _check_targets(targets: object, where: str) -> None:
    """Refuse options that choose among classes where the network does not."""
    if targets == "classes":
        return
    for option in ("top_k", "probs"):
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

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.failures: list[FailedPicture] = []
        self.pictures = self.noted = 0

    def collect(self, results: Iterator[Prediction | FailedPicture]) -> Iterator[Prediction | FailedPicture]:
        from cnncli.errors import printable
        from cnncli.reporting.encodable import write_line
        from cnncli.tasks.predict.predict import FailedPicture

        for result in results:
            self.pictures += 1
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
