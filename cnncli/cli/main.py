"""The `cnn` command: a lazy table of subcommands, and every error turned into one line and one exit code."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import click

from cnncli import SCHEMA, __version__
from cnncli.cli.options import ARGUMENTS
from cnncli.compute import notices
from cnncli.errors import (
    CnnError,
    ExitCode,
    InterruptedRunError,
    PartialFailureError,
    UsageError,
    did_you_mean,
    printable,
)
from cnncli.io import standard_output as streams
from cnncli.tasks.stop_request import SIGNALS, ignore_signals, is_stopping

# name -> (module that defines it, one line of help): `cnn --help` imports none of them.
COMMANDS = {
    "filter": ("cnncli.cli.filter", "Apply kernels to images and matrices."),
    "kernels": ("cnncli.cli.kernels", "List the named kernels and print their numbers."),
    "shape": ("cnncli.cli.shape", "Say what shape a layer, a chain or a network gives."),
    "params": ("cnncli.cli.params", "Count the parameters of a network, layer by layer."),
    "new": ("cnncli.cli.new", "Write a commented architecture file to start from."),
    "train": ("cnncli.cli.train", "Train a network on images."),
    "eval": ("cnncli.cli.eval", "Measure a trained network on labelled images."),
    "report": ("cnncli.cli.report", "Write curves, confusion matrix and a page of a run."),
    "info": ("cnncli.cli.info", "Say what a checkpoint holds."),
    "predict": ("cnncli.cli.predict", "Classify images with a trained network."),
    "data": ("cnncli.cli.data", "List, fetch, check and describe data sets."),
    "bench": ("cnncli.cli.bench", "Measure how fast a network runs, or print its plan."),
}

_COMPLETES = "_CNN_COMPLETE"  # set by a shell that asks for completions

EPILOG = """\b
Examples:
  cnn train --dataset digits            train on the bundled digits, offline
  cnn predict runs/digits-1 seven.png   classify an image with the run
  cnn filter img.png --kernel sobel     find edges
  cnn params lenet5                     count parameters, layer by layer
  cnn shape 28x28x3 -k 5 -p 1           one convolution, with the formula
"""


class LazyGroup(click.Group):
    """A group that imports a command only when it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        _prepare(cmd_name, command)
        if _COMPLETES in os.environ:
            from cnncli.cli.completion import add_completion

            add_completion(cmd_name, command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the nearest one."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            raise UsageError(f"no such command {name!r}", hint=did_you_mean(name, COMMANDS, "see `cnn --help`"))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _prepare(name: str, command: click.Command) -> None:
    """Mark the lines of the help to keep, and complete each option, in commands of a group too."""
    command.help = (command.help or "").replace("\\b", "\b")  # Click's mark, as a raw docstring spells it
    for option in command.params:
        if isinstance(option, click.Option) and option.envvar is None:
            longest = max(option.opts, key=len).removeprefix("--").replace("-", "_")
            option.envvar = f"CNN_{name}_{longest}".upper()
        if isinstance(option, click.Option) and option.name == "quiet":
            option.callback = _without_progress
    for inner_name, inner in getattr(command, "commands", {}).items():
        _prepare(f"{name}_{inner_name}", inner)


def _without_progress(_context: click.Context, _option: click.Parameter, is_quiet: bool) -> bool:
    """Let --quiet leave out the line about compiling, too."""
    if is_quiet:
        notices.on_compile.clear()
    return is_quiet


@click.command(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="cnn")
def cnn() -> None:
    """Filter images, count what a network holds, train it and use it."""


def main(argv: list[str] | None = None) -> NoReturn:
    """Run `cnn` and leave the process with the exit code of errors.ExitCode.

    SIGTERM and SIGHUP end like Ctrl-C, so that tasks can save; a closed pipe ends quietly with 141. A standard stream
    that is closed from the start does not stop a command that can do its work without it.
    """
    arguments = sys.argv[1:] if argv is None else argv
    streams.replace_closed_streams()
    notices.on_compile.append(_say_once("compiling kernels for this processor (a few seconds)"))
    notices.on_wait.append(lambda line: click.echo(f"note: {line}", err=True))
    notices.on_refuse.append(lambda reason: click.echo(f"cnn: warning: {one_line(reason)}", err=True))
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, _terminate)
    try:
        code = run(arguments)
        sys.stdout.flush()
        if code == ExitCode.OK and streams.output_was_lost():
            code = _fail(arguments, streams.output_error("it is closed"))
    except (KeyboardInterrupt, InterruptedRunError) as error:  # a signal while an error was being reported
        code = 128 + (error.signal_number if isinstance(error, InterruptedRunError) else signal.SIGINT)
    except BrokenPipeError:
        code = 141
    except OSError as error:
        code = _fail(arguments, streams.output_error(error.strerror or str(error)))
    streams.drop_unwritten()
    ignore_signals()
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # the end of the interpreter takes other handlers away
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; errors are printed. `main` adds signal handlers and closed streams."""
    try:
        if _COMPLETES in os.environ:
            cnn.main(args=arguments, prog_name="cnn")  # a shell asks for completions; this ends the process
        # not cnn.main: it answers Ctrl-C with an empty line and a closed pipe with exit code 1
        with cnn.make_context("cnn", list(arguments)) as context:
            context.meta[ARGUMENTS] = list(arguments)
            result = cnn.invoke(context)
        return result if isinstance(result, int) else ExitCode.OK
    except click.exceptions.Exit as done:
        return done.exit_code
    except CnnError as error:
        return _fail(arguments, error)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return ExitCode.USAGE
    except click.UsageError as error:
        return _fail(arguments, usage_error(error))
    except click.ClickException as error:
        return _fail(arguments, CnnError(error.format_message()))
    except (KeyboardInterrupt, click.exceptions.Abort):
        return _fail(arguments, InterruptedRunError("interrupted", hint="nothing half-written was left"))
    except MemoryError as error:
        return _fail(arguments, CnnError(f"out of memory ({error})", hint="use a smaller image or batch"))
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is None and error.errno in streams.OUTPUT_ERRORS:
            return _fail(arguments, streams.output_error(error.strerror or str(error)))
        name = os.fspath(error.filename) if isinstance(error.filename, str) else ""
        return _fail(arguments, CnnError(error.strerror or str(error), where=name))
    except Exception as error:
        if os.environ.get("CNN_DEBUG"):
            raise
        hint = "this is a fault of cnn; set CNN_DEBUG=1 to see where, and report it"
        return _fail(arguments, CnnError(f"unexpected {type(error).__name__}: {error}", hint=hint))


def _say_once(line: str) -> Callable[[str], None]:
    said: list[str] = []

    def listener(name: str) -> None:
        if not said:
            click.echo(line, err=True)
        said.append(name)

    return listener


def _terminate(number: int, _frame: Any) -> None:
    """Raise once: a signal that follows must not interrupt the answer to this one."""
    if number != signal.SIGINT and is_stopping():
        return  # part of the first request, come after the work had put the handlers back
    ignore_signals()
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise InterruptedRunError("stopped", hint="run the command again", signal_number=number)


def usage_error(error: click.UsageError) -> CnnError:
    """Return what Click found wrong with a command line as an error of ours, with where to look."""
    path = error.ctx.command_path if error.ctx else "cnn"
    message = error.format_message().rstrip(".")
    return UsageError(message[:1].lower() + message[1:], hint=f"see `{path} --help`")


def _fail(arguments: list[str], error: CnnError) -> int:
    """Print `error` as one escaped line (and as JSON on request); return the exit code of the process."""
    code = 128 + error.signal_number if isinstance(error, InterruptedRunError) else int(error.exit_code)
    # what cannot be written is dropped: the exit code is all that is left
    with contextlib.suppress(OSError):
        click.echo(f"cnn: error: {one_line(str(error))}", err=True)
    # after a batch every failed file has its own row
    if _wants_json(arguments) and not isinstance(error, PartialFailureError):
        body = {"code": code, "file": error.where, "message": error.message, "hint": error.hint}
        with contextlib.suppress(OSError):
            click.echo(json.dumps({"schema": SCHEMA, "error": body}))
    if os.environ.get("CNN_DEBUG"):
        import traceback

        traceback.print_exception(error)
    return code


def _wants_json(arguments: list[str]) -> bool:
    """Whether ``--json`` or a ``--format`` of JSON is among the options."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    forms = ["--json", *(f"--format={form}" for form in ("json", "jsonl"))]
    following = [after for word, after in itertools.pairwise(options) if word == "--format"]
    return any(word in forms for word in options) or any(form in ("json", "jsonl") for form in following)


def one_line(text: str) -> str:
    """Return `text` as one line that standard error can encode."""
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    return printable(text).encode(encoding, "backslashreplace").decode(encoding)
