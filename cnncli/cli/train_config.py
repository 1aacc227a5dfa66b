"""`cnn train --config`: the options of a training from the file that a run or `--print-config` has written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cnncli.errors import InvalidInputError, did_you_mean

if TYPE_CHECKING:
    from cnncli.io.datasets.dataset import Dataset
    from cnncli.language.tree import Mark, TreeNode
    from cnncli.model.sources import Source

_HELD = "cnncli.config"  # in the context
# keys that are no option of their own
_SAID = ("network", "arch", "source", "dataset_as_typed", "targets", "data_sha256", "versions", "overrides",
         "target_mean", "target_std")  # fmt: skip
_HINT = "give RUN/config.yaml, or what --print-config wrote"


@dataclass(frozen=True)
class Config:
    """What the file says.

    Attributes
    ----------
    where : str
        Its name.
    network, name : str or None
        A preset or the path of an architecture file; how the network is called.
    facts : mapping
        All values by key.
    """

    where: str
    network: str | None
    name: str | None
    facts: dict[str, Any] = field(default_factory=dict)

    def source(self) -> Source | None:
        """Return the network, None where the file names none."""
        from cnncli.model.sources import Source, read_source

        if self.network is None:
            return None
        found = read_source(self.network)
        return Source(found.text, self.name or found.where)

    def notes(self, data: Dataset) -> list[str]:
        """Return what keeps a training on these data from being the one that the file is of."""
        notes, known = [], self.facts.get("data_sha256")
        if isinstance(known, str) and known != data.sha256:
            notes.append(f"these are not the images of {self.where}: SHA-256 {data.sha256[:12]}, then {known[:12]}")
        if self.facts.get("overrides"):
            notes.append(f"options of {self.where} were changed during its run: here the last ones hold throughout")
        return notes


def config_of(context: click.Context) -> Config | None:
    """Return what `--config` named on the command line of a context."""
    found = context.meta.get(_HELD)
    return found if isinstance(found, Config) else None


def take_config(context: click.Context, _: click.Parameter, path: str | None) -> str | None:
    """Let the values of a file stand in for options that are neither typed nor in the environment.

    Raises
    ------
    InvalidInputError
        With the line: no such option, or a value that it does not take.
    """
    if not path or context.resilient_parsing:
        return path
    from cnncli.io.atomic import read_regular_file
    from cnncli.language.tree import MAX_BYTES, MapNode, decode, read_tree

    tree = read_tree(decode(read_regular_file(path, MAX_BYTES), path), path)
    if not isinstance(tree, MapNode):
        raise InvalidInputError("holds no options", where=path, hint=_HINT)
    entries = {str(key.value): (key.mark, _plain(node)) for key, node in tree.entries}
    facts = {name: value for name, (_, value) in entries.items()}
    options = {**_options(context, entries), **_dataset(facts)}
    context.default_map = {**(context.default_map or {}), **options}
    network = _network(facts, Path(path).parent)
    context.meta[_HELD] = Config(path, network, facts.get("arch"), facts)
    return path


def _options(context: click.Context, entries: dict[str, tuple[Mark, Any]]) -> dict[str, Any]:
    """Return the values that options take, each checked by its option."""
    from cnncli.tasks.data.choice import join_classes
    from cnncli.tasks.train.options import TrainingOptions

    known = [name for name in TrainingOptions.__dataclass_fields__ if name not in ("arch", "dataset")]
    parameters = {parameter.name: parameter for parameter in context.command.params}
    targets, found = entries.get("targets", (None, None))[1], {}
    for name, (mark, given) in entries.items():
        if name in _SAID or name == "dataset":
            continue
        if name not in known:
            hint = did_you_mean(name, (*known, *_SAID, "dataset"), _HINT)
            raise InvalidInputError(f"no option {name!r} of a training", where=str(mark), hint=hint)
        value = given
        if name == "loss":
            # the loss that was resolved follows from the targets again, where these are classes
            value = None if targets == "classes" else str(given).replace("_", "-")
        if isinstance(given, list):
            value = join_classes([str(one) for one in given]) if name == "classes" else "x".join(map(str, given))
        if value is None:
            continue
        try:
            parameters[name].type_cast_value(context, value)
        except click.BadParameter as error:
            raise InvalidInputError(f"{name}: {error.message}", where=str(mark), hint="see `cnn train -h`") from None
        found[name] = value
    return found


def _dataset(facts: dict[str, Any]) -> dict[str, str]:
    """Return the data set: as it was typed where that still is the same place."""
    source, typed = facts.get("source", facts.get("dataset")), facts.get("dataset_as_typed")
    if not isinstance(source, str):
        return {}
    is_same = isinstance(typed, str) and str(Path(typed).absolute()) == source
    return {"dataset": str(typed) if is_same else source}


def _network(facts: dict[str, Any], folder: Path) -> str | None:
    """Return the preset or the path of the architecture; runs of older versions have it beside the file."""
    network = facts.get("network")
    if network is None and (folder / "model.yaml").is_file():
        network = "model.yaml"
    if network is None:
        network = facts.get("arch")
    if not isinstance(network, str):
        return None
    return str(folder / network) if network.endswith((".yaml", ".yml")) else network


def _plain(node: TreeNode) -> Any:
    from cnncli.language.tree import ListNode, MapNode

    if isinstance(node, MapNode):
        return {str(key.value): _plain(value) for key, value in node.entries}
    return [_plain(item) for item in node.items] if isinstance(node, ListNode) else node.value
