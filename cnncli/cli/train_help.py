"""The help of `cnn train`: options under headings, data sets, and the objects of `--json`."""

from __future__ import annotations

from dataclasses import fields

import click

from cnncli.io.datasets.catalogue import DATASETS
from cnncli.tasks.train.events import EVENTS

# heading -> first option below it
_HEADINGS = {"Data": "dataset", "Learning": "epochs", "Stopping": "patience", "Run": "run_dir", "Output": "quiet"}


class TrainCommand(click.Command):
    """A command with its options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, group by group."""
        groups: dict[str, list[tuple[str, str]]] = {}
        first = {name: heading for heading, name in _HEADINGS.items()}
        heading = "Network"
        for parameter in self.get_params(ctx):
            heading = first.get(parameter.name or "", "Output" if parameter.name == "help" else heading)
            record = parameter.get_help_record(ctx)
            if record is not None and not isinstance(parameter, click.Argument):
                groups.setdefault(heading, []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)
        with formatter.section("Data sets"):
            formatter.write_dl([(entry.name, entry.summary) for entry in DATASETS.values()])
        with formatter.section("Objects of --json, each with `schema` and `event`"):
            checks = {"overfit": "--overfit-batch", "gradient": "--gradcheck", "gradients_agree": "--gradcheck"}
            formatter.write_dl([(name, _fields(kind)) for name, kind in EVENTS.items()]
                               + [(name, f"figures of {option}") for name, option in checks.items()])  # fmt: skip


def _fields(kind: type) -> str:
    """Return the names of an event's values as JSON has them."""
    names = [one.name for one in fields(kind) if one.name != "history"]  # it is told epoch by epoch
    return ", ".join(names)
