"""`cnn filter`: kernels on images and matrices, one or a hundred thousand."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from cnncli.cli.filter_options import (
    FilterArguments,
    FilterCommand,
    check_encoding,
    check_together,
    file_options,
    filter_options,
    filter_plan,
    label,
    parse_shard,
)
from cnncli.errors import PartialFailureError, UsageError

if TYPE_CHECKING:
    from cnncli.filtering.plan import FilterPlan
    from cnncli.filters.steps import Step
    from cnncli.io.images.listing import InputFile
    from cnncli.tasks.filter.events import Event
    from cnncli.tasks.filter.names import Job
    from cnncli.tasks.filter.options import FileOptions

_MATRICES = (".txt", ".csv", ".tsv", ".npy")


@click.command("filter", cls=FilterCommand)
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@filter_options
def command(**options: Any) -> int:
    """Apply kernels to images and matrices.

    \b
    Examples:
      cnn filter img.png -k sobel                      writes ./img-sobel.png
      cnn filter img.png -k gaussian:1.5 -k sharpen    a chain, from left to right
      cnn filter img.png -k "0 -1 0; -1 5 -1; 0 -1 0"  a kernel of your own
      cnn filter img.png -k median:5                   the middle of each window
      cnn filter img.png -k "gabor:0..150:30" --grid g.png   a bank of six
      cnn filter m.txt -k sharpen -p 1                 a matrix; prints numbers
      cnn filter scans/ -r -k sharpen -o out/          every image below a folder
      cnn filter img.png -k sobel --as opencv          exactly as OpenCV answers
      cat a.png | cnn filter - -k edge8 -o - > b.png   in a pipe

    INPUT is an image (PNG, JPEG, TIFF, BMP, WebP, GIF, PGM/PPM, npy), a matrix (.txt, .csv), a folder with -r, a
    pattern in quotes, or - for standard input. `cnn kernels` lists the names; RUN:conv1[0] is a kernel of a trained
    network. Members of a bank stand in one -k, "sobel-x | sobel-y", and give a channel each. Kernel arrays in @FILE
    are (F, C, KH, KW), with --as keras (KH, KW, C, F). A file name that begins with - comes after --.
    """  # noqa: D301
    given = FilterArguments(**options)
    check_together(given)
    return _filter(given if given.grid is None else replace(given, output=given.grid))


def _filter(given: FilterArguments) -> int:
    # NumPy's linear algebra starts its threads at import, which takes longer than a small filter, and is not used here
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from cnncli import threads
    from cnncli.tasks.filter.names import Job, plan_jobs, remove_abandoned
    from cnncli.tasks.filter.one_file import check_target, is_text_matrix
    from cnncli.tasks.filter.target import default_extension

    sources = _sources(given)
    standard_input = sys.stdin.buffer.read() if any(s.path == "-" for s in sources) else None
    matrices = [
        is_text_matrix(standard_input or b"") if s.path == "-" else s.path.lower().endswith(_MATRICES) for s in sources
    ]
    printing = given.print_ or (given.output is None and not given.compare and all(matrices))
    plan = filter_plan(given, printing=printing)
    settings = file_options(
        given, threads=threads.resolve(given.threads), printing=printing, align=printing and sys.stdout.isatty()
    )
    if given.split_channels and (printing or given.output == "-"):
        raise UsageError("--split-channels writes several files", hint="name one with -o, such as -o out.png")
    if printing:
        jobs = [Job(source.path, None) for source in sources]
    else:
        extension, split = default_extension(plan), given.split_channels
        output = "{stem}-{kernel}{ext}" if given.output is None and settings.all_frames else given.output
        jobs = plan_jobs(sources, output, label(given), default_extension=extension, split_channels=split)
    check_encoding(given, [job.target for job in jobs])
    if given.shard:  # of jobs that were checked together: the shards of a batch may run at the same time
        part, parts = parse_shard(given.shard)
        jobs = jobs[part - 1 :: parts]
        if not jobs and not given.quiet:
            click.echo(f"nothing to do: shard {part}/{parts} holds none of {len(sources)} files", err=True)
    if given.dry_run:
        for job in jobs:
            click.echo(f"{job.source} -> {job.target or 'standard output'}")
        return 0
    if not given.skip_existing:
        for job in jobs:
            check_target(job, settings)
    if not jobs:
        return 0
    remove_abandoned(jobs)
    return _run(jobs, plan, settings, given, standard_input)


def _sources(given: FilterArguments) -> list[InputFile]:
    from cnncli.io.images.listing import expand_inputs, read_list
    from cnncli.tasks.filter.names import output_folder

    names = list(given.inputs)
    if given.files_from:
        listed = given.files_from
        names += read_list("stdin", sys.stdin.buffer.read()) if listed == "-" else read_list(listed)
    if not names:
        raise UsageError("no input is given", hint="name an image, or - for standard input; see `cnn filter --help`")
    if names.count("-") > 1 or ("-" in names and given.files_from == "-"):
        raise UsageError("standard input can be read only once", hint="name - once")
    return expand_inputs(names, recursive=given.recursive, leave_out=output_folder(given.output))


def _run(
    jobs: Sequence[Job], plan: FilterPlan, settings: FileOptions, given: FilterArguments, standard_input: bytes | None
) -> int:
    from cnncli.reporting.filter_report import FilterReport

    report = FilterReport(
        " + ".join(_in_words(step) for step in plan.steps) or "no kernel",
        len(jobs),
        sys.stdout,
        sys.stderr,
        quiet=given.quiet,
        verbose=given.verbose,
        as_json=given.as_json,
        terminal=sys.stderr.isatty(),
    )
    if given.no_color:
        os.environ["NO_COLOR"] = "1"
    if len(jobs) == 1 and not given.manifest and not given.skip_existing:
        from cnncli.tasks.filter.batch import filter_one_file

        report.show(filter_one_file(jobs[0], plan, settings, standard_input))
        return 0
    _run_batch(jobs, plan, settings, given, standard_input, report)
    report.finish("" if given.output in (None, "-") else given.output)
    if report.failures:
        first = report.failures[0].error()
        if len(jobs) == 1:
            raise first
        hint = "" if given.manifest else "use --manifest FILE to keep a list"
        place = f"; see {given.manifest}" if given.manifest else ""
        count = len(report.failures)
        raise PartialFailureError(f"{count} of {len(jobs)} files failed (first: {first}){place}", hint=hint)
    return 0


def _run_batch(
    jobs: Sequence[Job],
    plan: FilterPlan,
    settings: FileOptions,
    given: FilterArguments,
    standard_input: bytes | None,
    report: Any,
) -> None:
    from cnncli.tasks.filter.batch import filter_files, sync_folders
    from cnncli.tasks.filter.fingerprint import describe, fingerprint
    from cnncli.tasks.filter.manifest import Manifest
    from cnncli.tasks.filter.workers import run_jobs

    # Pillow would give the memory of each picture back to the system and fetch it again, page by page
    os.environ.setdefault("PILLOW_BLOCKS_MAX", "8")
    manifest = Manifest(given.manifest, fingerprint(plan, settings), describe(plan, settings))
    try:
        with report:
            processes = min(settings.workers, len(jobs))
            share = replace(settings, threads=max(settings.threads // processes, 1), sync_folders=False)

            def work(numbers: Iterable[int]) -> Iterator[Event]:
                return filter_files(jobs, numbers, plan, share, manifest, standard_input)

            for outcome in run_jobs(jobs, work, processes, manifest.add):
                report.show(outcome)
            sync_folders(jobs)
    finally:
        manifest.close()


def _in_words(step: Step) -> str:
    """Return a step with the size of its kernel: ``sobel |(x,y)| 3x3``."""
    members = getattr(step, "members", None)
    if members is not None:
        return f"bank of {len(members)}: {step.name}"
    kernel = getattr(step, "kernel", None)
    if kernel is None:
        return step.name
    gradient = " |(x,y)|" if kernel.combine == "magnitude" else ""
    bank = f"{kernel.filters} filters " if kernel.combine == "stack" and kernel.filters > 1 else ""
    depth = "" if kernel.per_channel else f"{kernel.channels}x"
    return f"{step.name}{gradient} {bank}{depth}{kernel.size[0]}x{kernel.size[1]}"
