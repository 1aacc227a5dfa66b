"""Shell completion of file names, kernels, presets, data sets and option values.

Nothing of this is imported before a shell asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

Completer = Callable[[click.Context, str], list[CompletionItem]]


def complete_files(_ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """Let the shell complete file names."""
    return [CompletionItem(incomplete, type="file")]


def _among(names: Callable[[], Iterable[str]], *, files: bool = False) -> Completer:
    """Return a completer of `names`; with `files` the shell's where none of them begins like the word."""

    def complete(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = [CompletionItem(name) for name in names() if name.startswith(incomplete)]
        return found or (complete_files(ctx, incomplete) if files else [])

    return complete


def _complete_kernels(_ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """Complete kernels and steps by name, kernel files after ``@``."""
    from cnncli.filters import CATALOGUE
    from cnncli.filters.steps import STEP_NAMES

    if incomplete.startswith("@"):
        typed = incomplete[1:]
        folder = Path(typed if typed.endswith("/") else typed.rpartition("/")[0] or ".").expanduser()
        lead = typed[: len(typed) - len(typed.rpartition("/")[2])]
        try:
            entries = sorted(folder.iterdir())
        except OSError:
            return []
        names = [f"@{lead}{entry.name}{'/' if entry.is_dir() else ''}" for entry in entries]
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return [CompletionItem(name) for name in (*CATALOGUE, *STEP_NAMES) if name.startswith(incomplete)]


def _presets() -> Iterable[str]:
    from cnncli.model.sources import preset_names

    return preset_names()


def _data_sets() -> Iterable[str]:
    from cnncli.io.datasets.catalogue import DATASETS

    return DATASETS


def _borders() -> Iterable[str]:
    from cnncli.filters.borders import KINDS

    return KINDS


def _grays() -> Iterable[str]:
    from cnncli.filters.steps import GRAY_WEIGHTS

    return GRAY_WEIGHTS


def _tools() -> Iterable[str]:
    from cnncli.filters.conventions import CONVENTIONS

    return CONVENTIONS


def _ranges() -> Iterable[str]:
    from cnncli.filtering.plan import RANGES

    return RANGES


def _dtypes() -> Iterable[str]:
    from cnncli.filtering.plan import DTYPES

    return DTYPES


_BY_COMMAND: dict[str, dict[str, Completer]] = {
    "filter": {
        "inputs": complete_files, "kernels": _complete_kernels, "border": _among(_borders), "range_": _among(_ranges),
        "dtype": _among(_dtypes), "tool": _among(_tools), "files_from": complete_files, "manifest": complete_files,
        "padding": _among(lambda: ("same", "valid", "full")), "gray": _among(_grays),
    },
    "kernels": {"names": _complete_kernels},
    "shape": {"source": _among(_presets, files=True)},
    "params": {"source": _among(_presets, files=True), "other": _among(_presets, files=True)},
    "new": {"preset": _among(_presets)},
    "train": {
        "arch": _among(_presets, files=True), "arch_option": _among(_presets, files=True),
        "dataset": _among(_data_sets, files=True),
    },
    "data get": {"names": _among(_data_sets)},
    "data path": {"name": _among(_data_sets)},
    "data verify": {"sources": _among(_data_sets, files=True)},
    "data stats": {"source": _among(_data_sets, files=True)},
    "predict": {"run": complete_files, "images": complete_files},
}  # fmt: skip


def add_completion(name: str, command: click.Command) -> None:
    """Give the parameters of the command called `name` what they complete; ``-o`` completes files everywhere."""
    for inner_name, inner in getattr(command, "commands", {}).items():
        add_completion(f"{name} {inner_name}", inner)
    completers = {"output": complete_files, **_BY_COMMAND.get(name, {})}
    for parameter in command.params:
        if parameter.name in completers:
            parameter.shell_complete = completers[parameter.name]  # type: ignore[assignment,method-assign]
