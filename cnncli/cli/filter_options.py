"""The options of `cnn filter`, in groups, and what they become."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cnncli.errors import UsageError

if TYPE_CHECKING:
    from cnncli.filtering.plan import FilterPlan
    from cnncli.tasks.filter.options import FileOptions

_PRINTED_DECIMALS = 4
ALL_FRAMES = -1  # of --frame all


class FrameType(click.ParamType[int]):
    """A number from 0 on, or ``all`` as ALL_FRAMES."""

    name = "frame"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number; fail where there is none."""
        if str(value).strip().lower() == "all":
            return ALL_FRAMES
        return click.IntRange(0).convert(value, param, ctx)


_OPTIONS = (
    click.option(
        "-k",
        "--kernel",
        "kernels",
        multiple=True,
        metavar="SPEC",
        help="Name, numbers, @FILE or step; repeat it.",
    ),
    click.option("--flip/--no-flip", default=None, help="True convolution, or cross-correlation [no-flip]."),
    click.option("-p", "--padding", metavar="P", help="same, valid, full, N or T,B,L,R; numbers mean zeros [same]."),
    click.option("--border", metavar="RULE", help="zero constant:V replicate reflect mirror wrap [replicate]."),
    click.option("-s", "--stride", default="1", metavar="N[,M]", help="Rows and columns [1]."),
    click.option("--dilation", default="1", metavar="N[,M]", help="Gap between taps [1]."),
    click.option("--scale", metavar="X|sum", help="Multiply kernels, or divide by their sum [1]."),
    click.option("--normalize", is_flag=True, help="The same as --scale sum."),
    click.option("--bias", default="0", metavar="B[,B...]", help="Added to each response; one per filter [0]."),
    click.option("--range", "range_", default="auto", metavar="HOW", help="auto clip abs minmax shift raw equalize."),
    click.option("--dtype", default="same", metavar="TYPE", help="same uint8 uint16 float32 [same]."),
    click.option("--depth", type=click.Choice(["8", "16", "float"]), help="The same as --dtype, in bits."),
    click.option("--gray", metavar="[METHOD]", help="bt601, bt709 or mean first; alone it means bt601."),
    click.option("--channels", metavar="R,G|0,1", help="Only these channels."),
    click.option("--alpha", type=click.Choice(["keep", "filter", "drop"]), default="keep", help="Transparency [keep]."),
    click.option("--as", "tool", metavar="TOOL", help="Like torch keras opencv scipy imagemagick pillow vips lecture."),
    click.option("--no-exif", is_flag=True, help="Leave pictures as stored, not turned upright."),
    click.option("--frame", type=FrameType(), metavar="N|all", help="Picture N of an animation or stack [0]; or all."),
    click.option("--nan-to", type=float, metavar="X", help="Replace samples that are not finite."),
    click.option(
        "--max-pixels",
        type=click.IntRange(1),
        default=100_000_000,
        metavar="N",
        help="Refuse larger ones [10^8].",
    ),
    click.option("-o", "--output", metavar="PATH|-", help="File, folder/, pattern or - [./{stem}-{kernel}.png]."),
    click.option("-f", "--force", is_flag=True, help="Replace outputs that exist."),
    click.option("--to", "stream_format", metavar="EXT", help="Format on standard output [png]."),
    click.option("--compress", type=click.IntRange(0, 9), metavar="0-9", help="PNG and TIFF: fast to small [1]."),
    click.option("--quality", type=click.IntRange(1, 100), metavar="1-100", help="JPEG and WebP [92]."),
    click.option("--compare", is_flag=True, help="Write input, response and equalised response side by side."),
    click.option("--grid", metavar="PATH", help="Write all channels as labelled tiles, instead of -o."),
    click.option("--split-channels", is_flag=True, help="Write each channel of the result to its own file."),
    click.option("--print", "print_", is_flag=True, help="Print the numbers instead of writing an image."),
    click.option(
        "--precision",
        type=click.IntRange(0, 17),
        metavar="N",
        help="Decimals [4; in files and JSON all].",
    ),
    click.option("-r", "--recursive", is_flag=True, help="Search folders, but not that of the results."),
    click.option("--files-from", metavar="F|-", help="More inputs, one per line."),
    click.option("--shard", metavar="I/N", help="Only every N-th file, from the I-th."),
    click.option("--skip-existing", is_flag=True, help="Leave out what is finished."),
    click.option("--resume", "skip_existing", is_flag=True, hidden=True),
    click.option("--manifest", metavar="F.jsonl", help="Append one JSON line per file."),
    click.option("--fail-fast", is_flag=True, help="Stop at the first file that fails."),
    click.option("--workers", type=click.IntRange(1, 64), metavar="N", help="Files in work at a time [threads + 1]."),
    click.option(
        "-j", "--threads", type=click.IntRange(1, 1024), envvar="CNN_THREADS", metavar="N", help="[all processors]"
    ),
    click.option("-n", "--dry-run", is_flag=True, help="Print which file would become which."),
    click.option("-q", "--quiet", is_flag=True, help="Only errors."),
    click.option("-v", "--verbose", is_flag=True, help="A summary for each file of a batch."),
    click.option("--no-color", is_flag=True, help="No colours (also NO_COLOR=1)."),
    click.option("--json", "as_json", is_flag=True, help="One JSON object per file on standard output."),
)


@dataclass(frozen=True)
class FilterArguments:
    """What was typed: one field for each argument and option of the command, by its name there."""

    inputs: tuple[str, ...]
    kernels: tuple[str, ...]
    flip: bool | None
    padding: str | None
    border: str | None
    stride: str
    dilation: str
    scale: str | None
    normalize: bool
    bias: str
    range_: str
    dtype: str
    depth: str | None
    gray: str | None
    channels: str | None
    alpha: str
    tool: str | None
    no_exif: bool
    frame: int | None
    nan_to: float | None
    max_pixels: int
    output: str | None
    force: bool
    stream_format: str | None
    compress: int | None
    quality: int | None
    compare: bool
    grid: str | None
    split_channels: bool
    print_: bool
    precision: int | None
    recursive: bool
    files_from: str | None
    shard: str | None
    skip_existing: bool
    manifest: str | None
    fail_fast: bool
    workers: int | None
    threads: int | None
    dry_run: bool
    quiet: bool
    verbose: bool
    no_color: bool
    as_json: bool


# heading -> first option below it, in the order of _OPTIONS
_HEADINGS = {"Arithmetic": "kernels", "Input": "no_exif", "Output": "output", "Batches": "recursive", "Run": "threads"}


class FilterCommand(click.Command):
    """A command with its options under headings, whose `--gray` may stand alone.

    Click would take the input file after it for its value.
    """

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, group by group."""
        groups: dict[str, list[tuple[str, str]]] = {}
        first = {name: heading for heading, name in _HEADINGS.items()}
        heading = ""
        for parameter in (p for p in self.get_params(ctx) if isinstance(p, click.Option)):
            heading = first.get(parameter.name or "", heading)
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(heading, []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give a lone `--gray` its method."""
        given: list[str] = []
        for number, word in enumerate(args):
            given.append(word)
            following = args[number + 1 : number + 2]
            if word == "--gray" and not (following and following[0].lower() in _grays()):
                if following and following[0].isalnum() and not Path(following[0]).exists():
                    from cnncli.tasks.filter.plan_words import parse_gray

                    parse_gray(following[0])
                given.append(_grays()[0])
        return super().parse_args(ctx, given)


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a function with every option."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def filter_plan(given: FilterArguments, *, printing: bool) -> FilterPlan:
    """Return the arithmetic that the options ask for.

    Printed numbers are not fitted to pixels unless `--range` or `--dtype` says so.

    Raises
    ------
    UsageError, InvalidInputError
        An option or a kernel that is not understood.
    """
    from cnncli.tasks.filter.plan_words import PlanWords

    if not given.kernels and not _without_kernels(given):
        raise UsageError("no kernel is given", where="-k", hint="try -k sobel; `cnn kernels` lists the names")
    scale = "sum" if given.normalize else given.scale
    if given.normalize and given.scale:
        raise UsageError("--normalize and --scale exclude each other", hint="give one of them")
    dtype = {"8": "uint8", "16": "uint16", "float": "float32"}.get(given.depth or "", given.dtype)
    range_ = given.range_
    if printing and range_ == "auto" and dtype == "same" and not given.tool:
        range_ = "raw"
    words = PlanWords(
        flip=given.flip,
        padding=given.padding,
        border=given.border,
        stride=given.stride,
        dilation=given.dilation,
        scale=scale,
        bias=given.bias,
        range=range_,
        dtype=dtype,
        gray=given.gray,
        channels=given.channels,
        tool=given.tool,
    )
    return words.plan(words.steps(given.kernels))


def label(given: FilterArguments) -> str:
    """Return what is done as a part of file names: the kernels, or the options that need none."""
    from cnncli.tasks.filter.names import kernel_label

    ending = "-compare" if given.compare else "-grid" if given.grid is not None else ""
    return kernel_label(given.kernels or _without_kernels(given)) + ending


def _without_kernels(given: FilterArguments) -> list[str]:
    """Return words for the options that change a picture without any kernel."""
    dtype = {"8": "uint8", "16": "uint16", "float": "float32"}.get(given.depth or "", given.dtype)
    words = ["gray" if given.gray else "", (given.channels or "").lower(), given.range_, dtype]
    words.append("opaque" if given.alpha == "drop" else "")
    return [word for word in words if word not in ("", "auto", "same")]


def check_together(given: FilterArguments) -> None:
    """Refuse options that contradict each other or would be ignored.

    Raises
    ------
    UsageError
        Which two, and which of them to drop.
    """
    if given.depth and given.dtype != "same":
        raise UsageError("--depth and --dtype exclude each other", hint="give one of them")
    if given.stream_format and given.output != "-":
        hint = "give -o - as well, or let the extension of -o FILE say it"
        raise UsageError("names the format on standard output, and nothing is written there", where="--to", hint=hint)
    if given.as_json and given.output == "-":
        raise UsageError("-o - and --json would share standard output", hint="write to a file: -o FILE")
    if given.quiet and given.verbose:
        raise UsageError("-q and -v exclude each other", hint="give one of them")
    if given.frame == ALL_FRAMES:
        for option, is_given in (("--print", given.print_), ("--split-channels", given.split_channels)):
            if is_given:
                raise UsageError(f"--frame all writes one file of all pictures, {option} does not apply")
    if given.grid is not None:
        others = {"-o": given.output is not None, "--compare": given.compare, "--split-channels": given.split_channels}
        for option, is_given in others.items():
            if is_given:
                raise UsageError(f"--grid and {option} exclude each other", hint="give one of them")
    if not given.print_:
        return
    for option, is_given in (
        ("--grid", given.grid is not None),
        ("-o", given.output is not None),
        ("--compare", given.compare),
    ):
        if is_given:
            hint = f"drop {option}, or write the numbers with -o FILE.txt or FILE.csv"
            raise UsageError(f"--print writes numbers to standard output, {option} does not apply", hint=hint)


def check_encoding(given: FilterArguments, targets: Sequence[str | None]) -> None:
    """Refuse options of formats that none of the outputs has.

    Raises
    ------
    UsageError
        ``--quality``, ``--compress`` or ``--precision`` would be ignored.
    """
    from cnncli.io.images.formats import FORMATS, format_of

    stream = f"stdout.{_stream_extension(given)}"
    kinds = {"numbers" if target is None else format_of(stream if target == "-" else target) for target in targets}
    if not kinds:
        return
    for option, value, using in (
        ("--quality", given.quality, {name for name, format in FORMATS.items() if "quality" in format.settings}),
        ("--compress", given.compress, {name for name, format in FORMATS.items() if "level" in format.settings}),
        ("--precision", given.precision, {"numbers", "TEXT"}),
    ):
        if value is not None and not kinds & using:
            names = "printed numbers, .txt and .csv" if option == "--precision" else " and ".join(sorted(using))
            written = "numbers" if kinds == {"numbers"} else ", ".join(sorted(kinds))
            raise UsageError(f"is for {names}, the output is {written}", where=option, hint=f"drop {option}")


def _stream_extension(given: FilterArguments) -> str:
    return (given.stream_format or "png").removeprefix(".").lower()


def file_options(given: FilterArguments, *, threads: int, printing: bool, align: bool) -> FileOptions:
    """Return how files are read and written; `printing` numbers for people shortens them."""
    from cnncli.io.images.encode import PNG_LEVEL, QUALITY
    from cnncli.tasks.filter.options import FileOptions

    output: str = given.output or ""
    shortened = _PRINTED_DECIMALS if printing and not given.as_json else None
    return FileOptions(
        exif=not given.no_exif,
        frame=None if given.frame == ALL_FRAMES else given.frame,
        all_frames=given.frame == ALL_FRAMES,
        max_pixels=given.max_pixels,
        alpha=given.alpha,
        nan_to=given.nan_to,
        overwrite=given.force or given.skip_existing,
        make_folders=bool(output) and ("{" in output or output.endswith("/") or Path(output).is_dir()),
        skip_existing=given.skip_existing,
        level=PNG_LEVEL if given.compress is None else given.compress,
        quality=QUALITY if given.quality is None else given.quality,
        stream_name=f"stdout.{_stream_extension(given)}",
        compare=given.compare,
        grid=given.grid is not None,
        split_channels=given.split_channels,
        precision=shortened if given.precision is None else given.precision,
        align=align and not given.as_json,
        threads=threads,
        workers=given.workers or threads + 1,  # one waits for the disk
        fail_fast=given.fail_fast,
    )


def parse_shard(text: str) -> tuple[int, int]:
    """Return (I, N) of ``I/N``, with 1 <= I <= N.

    Examples
    --------
    >>> parse_shard("3/64")
    (3, 64)
    """
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text.strip(), re.ASCII)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"'{text}' is not I/N with 1 <= I <= N", where="--shard", hint="use --shard 3/64")
    return int(match[1]), int(match[2])


def _grays() -> tuple[str, ...]:
    from cnncli.filters.steps import GRAY_WEIGHTS

    return tuple(GRAY_WEIGHTS)
