"""What a checkpoint holds: for people as a table of tensors below some facts, for programs as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnncli import SCHEMA
from cnncli.errors import InvalidInputError, did_you_mean, printable
from cnncli.io.checkpoint import Checkpoint
from cnncli.io.drawing.grid import gray, grid, signed
from cnncli.model.network import Model
from cnncli.reporting.notation import format_bytes, format_shape
from cnncli.reporting.results.evaluation import percent
from cnncli.reporting.table import Column, Table
from cnncli.reporting.text_format import render

_NAMED = 12  # classes that a line names
MOST_TILES = 400  # kernels of a picture
_ELSEWHERE = {
    "versions",
    "data_sha256",
    "machine",
    "partial",
    "plateau",
    "dataset",
    "arch",
    "epoch",
    "val_acc",
    "val_loss",
}


@dataclass(frozen=True)
class Information:
    """A checkpoint with its network.

    Attributes
    ----------
    where : str
        Its file.
    size_bytes : int
        Of the file.
    checkpoint : Checkpoint
    model : Model
    history : sequence of mapping
        Finished epochs: of the checkpoint, or of the run directory that it lies in.
    """

    where: str
    size_bytes: int
    checkpoint: Checkpoint
    model: Model
    history: Sequence[Mapping[str, float | None]]

    @property
    def tensors(self) -> list[dict[str, Any]]:
        """Return name, shape, type and the spread of the numbers of every tensor."""
        groups = (("", self.checkpoint.parameters), ("optimizer:", self.checkpoint.optimizer))
        return [_tensor(f"{group}{name}", array) for group, arrays in groups for name, array in arrays.items()]

    def as_json(self) -> dict[str, Any]:
        """Return all of it as one JSON object."""
        checkpoint = self.checkpoint
        training = dict(checkpoint.training)
        return {
            "schema": SCHEMA,
            "file": self.where,
            "size_bytes": self.size_bytes,
            "arch": self.model.name,
            "architecture": checkpoint.architecture,
            "input": list(self.model.input_shape),
            "params": self.model.parameter_count,
            "classes": list(checkpoint.classes),
            "preprocessing": checkpoint.preprocessing.to_json(),
            "versions": training.pop("versions", None),
            "data_sha256": training.pop("data_sha256", None),
            "training": training,
            "history": [dict(row) for row in self.history],
            "tensors": self.tensors,
        }

    def as_text(self, style: str) -> str:
        """Return facts and tensors as ``table`` or ``plain`` text, JSON lines or another table of the tensors."""
        if style == "jsonl":
            return "".join(json.dumps({"schema": SCHEMA, **one}) + "\n" for one in self.tensors)
        table = _tensor_table(self.tensors, is_exact=style == "csv")
        if style not in ("table", "plain"):
            return render(table, style)
        width = max(len(name) for name, _ in self._facts())
        lines = [
            textwrap.fill(f"{name:<{width}}  {printable(text)}", 80, subsequent_indent=" " * (width + 2))
            for name, text in self._facts()
        ]
        return "\n".join(lines) + "\n\n" + render(table, style)

    def _facts(self) -> list[tuple[str, str]]:
        checkpoint, model = self.checkpoint, self.model
        facts = checkpoint.training
        classes = ", ".join(checkpoint.classes[:_NAMED]) + (", ..." if len(checkpoint.classes) > _NAMED else "")
        rows = [
            ("file", f"{self.where}, {format_bytes(self.size_bytes)}"),
            ("network", f"{model.name}: {format_shape(model.input_shape)}, {model.parameter_count:,} parameters"),
            ("classes", f"{len(checkpoint.classes)}: {classes}"),
            ("pictures", _pictures(checkpoint)),
        ]
        if facts.get("dataset"):
            digest = facts.get("data_sha256")
            rows.append(("data", f"{facts['dataset']}" + (f", SHA-256 {digest[:16]}..." if digest else "")))
        if facts.get("epoch") is not None:
            acc = f", validation accuracy {percent(facts['val_acc'])}" if facts.get("val_acc") is not None else ""
            rows.append(("epoch", f"{facts['epoch']}{acc}"))
        used = [
            f"{k} {_value(v)}" for k, v in facts.items() if k not in _ELSEWHERE and v not in (None, False, 0, "none")
        ]
        if used:
            rows.append(("training", ", ".join(used)))
        if isinstance(facts.get("versions"), Mapping):
            rows.append(("versions", ", ".join(f"{name} {value}" for name, value in facts["versions"].items())))
        if self.history:
            rows.append(("history", _history(self.history)))
        return rows


def kernel_picture(checkpoint: Checkpoint, layer: str | None, *, each: bool, where: str) -> tuple[Any, str]:
    """Return the learned kernels of a convolution as a labelled picture, and what it shows.

    Kernels over three channels of a colour image are colours themselves, mid-gray being 0. Otherwise every channel of
    every kernel is a tile: 0 is white, positive numbers are red, negative ones blue.

    Parameters
    ----------
    checkpoint : Checkpoint
    layer : str, optional
        Its name; by itself the first convolution with kernels larger than a pixel.
    each : bool
        Scale every tile by its own largest number, not by that of the layer.
    where : str
        Name of the checkpoint, for messages.

    Raises
    ------
    InvalidInputError
        A layer that does not exist or has no kernels.
    """
    arrays = checkpoint.parameters.items()
    found = {name.removesuffix("/weight"): array for name, array in arrays if name.endswith("/weight")}
    kernels = {name: array for name, array in found.items() if array.ndim == 4}
    if not kernels:
        raise InvalidInputError("has no convolution layer", where=where, hint="its layers are dense")
    if layer is not None and layer not in kernels:
        what = "has no kernels" if layer in found else "does not exist"
        hint = did_you_mean(layer, kernels, f"choose {', '.join(kernels)}")
        raise InvalidInputError(f"layer {layer} {what}", where=where, hint=hint)
    wide = [name for name, array in kernels.items() if array.shape[2:] != (1, 1)]
    name = layer or (wide or list(kernels))[0]
    weights = kernels[name].astype(np.float64)
    filters, channels, high, wide_px = weights.shape
    most = float(np.abs(weights).max()) or 1.0
    if channels == 3 and checkpoint.preprocessing.shape[0] == 3 and name == next(iter(kernels)):
        limits = [float(np.abs(one).max()) or 1.0 if each else most for one in weights]
        tiles = [
            np.stack([gray(plane, -limit, limit) for plane in one], axis=2)
            for one, limit in zip(weights, limits, strict=True)
        ]
        labels = [str(number) for number in range(filters)]
        columns = None
    else:
        flat = weights.reshape(-1, high, wide_px)[:MOST_TILES]
        tiles = [signed(one, None if each else most) for one in flat]
        labels = [str(n) if channels == 1 else f"{n // channels},{n % channels}" for n in range(len(flat))]
        columns = None if channels == 1 or channels > 32 else channels
    left = filters * (1 if len(tiles) == filters else channels) - len(tiles)
    rest = f", {left} more left out" if left else ""
    title = f"{name}: {filters} kernels {high}x{wide_px}x{channels}, largest {most:.3g}{rest}"
    return grid(tiles, labels, columns, title=title, where=where), title


def _tensor(name: str, array: Any) -> dict[str, Any]:
    values = np.asarray(array, np.float64)
    spread: dict[str, Any] = {"min": None, "max": None, "mean": None, "std": None}
    if values.size:
        numbers = (values.min(), values.max(), values.mean(), values.std())
        spread = {key: float(value) for key, value in zip(spread, numbers, strict=True)}
    return {"name": name, "shape": list(array.shape), "dtype": str(array.dtype), "numbers": int(values.size), **spread}


def _tensor_table(tensors: Sequence[Mapping[str, Any]], *, is_exact: bool) -> Table:
    titles = ("shape", "numbers", "mean", "std", "min", "max")
    columns = [Column("tensor"), *(Column(title, "right") for title in titles)]
    rows = []
    for one in tensors:
        spread = [one[key] for key in ("mean", "std", "min", "max")]
        texts = ["-" if value is None else repr(value) if is_exact else f"{value:.4g}" for value in spread]
        shape = "x".join(map(str, one["shape"])) or "1"
        rows.append([printable(one["name"]), shape, f"{one['numbers']:,}", *texts])
    return Table(columns, rows)


def _pictures(checkpoint: Checkpoint) -> str:
    """Return in words how a picture enters the network."""
    prepared = checkpoint.preprocessing
    mean, std = (" ".join(f"{value:.4g}" for value in values) for values in (prepared.mean, prepared.std))
    text = f"(pixel / 255 - {mean}) / {std}"
    if prepared.placement:
        text += f", light on dark, ink of {prepared.placement.box} px centred by {prepared.placement.centre}"
    else:
        text += f", others scaled to {format_shape(prepared.shape)} ({prepared.fit})"
    return text


def _history(history: Sequence[Mapping[str, float | None]]) -> str:
    last = history[-1]
    shown = [f"{key} {value:.4g}" for key, value in last.items() if key in ("loss", "val_loss") and value is not None]
    return f"{len(history)} epoch{'s' if len(history) > 1 else ''}; the last: {', '.join(shown)}"


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else "yes" if value is True else str(value)
