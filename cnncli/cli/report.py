"""`cnn report`: curves, confusion matrix and a page of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cnncli.cli.eval import measure
from cnncli.cli.options import quiet_option
from cnncli.errors import InvalidInputError, UsageError, printable

if TYPE_CHECKING:
    from cnncli.io.checkpoint import Checkpoint
    from cnncli.model.network import Model
    from cnncli.tasks.evaluate.run_data import LabelledImages

_LARGEST_HISTORY = 256 << 20


@click.command("report")
@click.argument("run", metavar="RUN")
@click.option("--data-dir", metavar="DIR", envvar="CNN_DATA_DIR", help="Where the data set is [the user's cache].")
@click.option("-d", "--dataset", metavar="NAME|DIR|FILE", help="Another data set than that of the run.")
@click.option("-o", "--output", metavar="DIR", help="Write there instead of the run directory.")
@click.option("-j", "--threads", type=click.IntRange(1, 1024), envvar="CNN_THREADS", help="[all processors]")
@quiet_option
def command(
    run: str, data_dir: str | None, dataset: str | None, output: str | None, threads: int | None, quiet: bool
) -> None:
    r"""Write curves.png, confusion.png and report.html of a run.

    \b
    Examples:
      cnn report runs/lenet5-mnist-1            again, into the run directory
      cnn report runs/lenet5-mnist-1 -o page/   somewhere else

    report.html is one file that shows the curves, the confusion matrix, precision and recall of each class, the worst
    mistakes, the network and how it was trained. `cnn train` writes the three files at the end of a run; this command
    writes them again, for a run that was stopped, too.
    """
    from cnncli import threads as thread_count
    from cnncli.io.atomic import make_directory
    from cnncli.io.checkpoint import BEST, read_checkpoint
    from cnncli.tasks.evaluate.run_data import Wanted, images_of_run
    from cnncli.tasks.predict.predict import checkpoint_model

    for name, value in {"RUN": run, "--dataset": dataset, "--data-dir": data_dir, "--output": output}.items():
        if value == "":
            raise UsageError(f"{name} is empty", hint="name one, or leave it away")
    folder = Path(run)
    if not folder.is_dir():
        raise InvalidInputError("is no run directory", where=run, hint="name one that `cnn train` has written")
    checkpoint = read_checkpoint(run)
    where = str(folder / BEST)
    model = checkpoint_model(checkpoint, where)
    count = thread_count.resolve(threads)
    wanted = Wanted(dataset, None if data_dir is None else Path(data_dir), threads=count)
    chosen = images_of_run(checkpoint, where, wanted)
    if not quiet:
        for note in chosen.notes:
            click.echo(f"note: {printable(note)}", err=True)
    target = folder if output is None else Path(output)
    make_directory(target)
    write_report(folder, target, checkpoint, model, chosen, threads=count)
    if not quiet:
        click.echo(f"wrote {printable(str(target))}/report.html", err=True)


def write_report(
    folder: Path, target: Path, checkpoint: Checkpoint, model: Model, chosen: LabelledImages, *, threads: int
) -> None:
    """Measure the best weights of a run and write the files that show it."""
    from cnncli.io.atomic import read_regular_file, temporaries, write_atomically
    from cnncli.io.checkpoint import BEST
    from cnncli.reporting.results.evaluation import Measured
    from cnncli.reporting.results.page import RunPage
    from cnncli.reporting.results.run_report import read_history, report_files
    from cnncli.tasks.train.run_directory import COMMAND, HISTORY

    where = str(folder / BEST)
    evaluation = measure(checkpoint, model, chosen, where, batch_size=64, threads=threads)
    measured = Measured.of(evaluation, where, model, checkpoint, chosen)

    def text_of(name: str) -> str:
        path = folder / name
        return read_regular_file(str(path), _LARGEST_HISTORY).decode("utf-8", "replace") if path.is_file() else ""

    page = RunPage(
        measured, chosen.images.images, model, read_history(text_of(HISTORY)), checkpoint.training,
        text_of(COMMAND).strip(),
    )  # fmt: skip
    files = report_files(page)
    for leftover in temporaries(target):
        if leftover.target in files and leftover.is_abandoned():  # a report that was killed
            leftover.path.unlink(missing_ok=True)
    for name, content in files.items():
        write_atomically(str(target / name), content)
