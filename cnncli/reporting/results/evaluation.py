"""An evaluation as tables for people and as JSON for programs."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from cnncli import SCHEMA
from cnncli.errors import printable
from cnncli.reporting.table import Column, Table
from cnncli.reporting.text_format import render
from cnncli.tasks.evaluate.evaluate import Evaluation, Mistake
from cnncli.tasks.evaluate.figures import class_rows, figures_of

if TYPE_CHECKING:
    from cnncli.io.checkpoint import Checkpoint
    from cnncli.model import Model
    from cnncli.tasks.evaluate.run_data import LabelledImages

_MOST_COLUMNS = 12  # classes up to which the confusion matrix is a table of text
_LONGEST_NAME = 8  # characters of a class name above a column of it
_CONFUSED = 2  # other classes that a row names


@dataclass(frozen=True)
class Measured:
    """An evaluation, and what was measured.

    Attributes
    ----------
    evaluation : Evaluation
    checkpoint, arch : str
        Its file; the name of the network.
    epoch : int or None
        Of the training.
    dataset, part : str
    names : tuple of str
        Of the images, where they are files.
    """

    evaluation: Evaluation
    checkpoint: str
    arch: str
    epoch: int | None
    dataset: str
    part: str
    names: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, evaluation: Evaluation, where: str, model: Model, checkpoint: Checkpoint, chosen: LabelledImages
    ) -> Measured:
        """Return the evaluation of a checkpoint, whose file is `where`, on labelled images."""
        epoch = checkpoint.training.get("epoch")
        return cls(evaluation, where, model.name, epoch, chosen.dataset, chosen.part, chosen.images.names)

    @property
    def facts(self) -> dict[str, Any]:
        """Return what stands in front of all figures."""
        return {name: getattr(self, name) for name in ("checkpoint", "arch", "epoch", "dataset", "part")}

    def image(self, number: int) -> dict[str, Any]:
        """Return how an image is called: by its place, and by its path where it is a file."""
        return {"image": number, **({"path": self.names[number]} if self.names else {})}

    def called(self, mistakes: Sequence[Mistake]) -> tuple[str, list[str]]:
        """Return the folder that the pictures of mistakes share and their names in it; without files, their places."""
        if not self.names:
            return "", [str(one.image) for one in mistakes]
        paths = [PurePath(self.names[one.image]) for one in mistakes]
        folder = os.path.commonpath([path.parent for path in paths])
        return folder, [str(path.relative_to(folder)) for path in paths]


def as_json(measured: Measured, top_k: int | None, worst: int) -> dict[str, Any]:
    """Return the evaluation as one JSON object."""
    evaluation, facts = measured.evaluation, measured.facts
    confusion = evaluation.confusion
    body = {"schema": SCHEMA, **facts, **figures_of(evaluation, top_k), "kind": evaluation.kind}
    if evaluation.kind != "numbers":
        body |= {"classes": list(evaluation.classes), "per_class": class_rows(evaluation)}
    if confusion is not None:
        body["confusion"] = confusion.tolist()
        body["worst"] = [_mistake_json(measured, one) for one in evaluation.worst(worst)]
    return body


def image_lines(measured: Measured) -> str:
    """Return one JSON object per image, in order."""
    lines, evaluation = [], measured.evaluation
    for image in range(evaluation.images):
        row: dict[str, Any] = {"schema": SCHEMA, "dataset": measured.dataset, "part": measured.part}
        row |= measured.image(image)
        if evaluation.kind == "classes":
            answer, truth = int(evaluation.answered[image]), int(evaluation.truth[image])
            row |= {
                "label": evaluation.classes[answer],
                "index": answer,
                "prob": _rounded(evaluation.probs[image, answer]),
                "truth": evaluation.classes[truth],
                "truth_prob": _rounded(evaluation.probs[image, truth]),
                "correct": bool(evaluation.hits[image]),
            }
        else:
            answers, wanted = evaluation.answers[image], evaluation.labels.reshape(evaluation.answers.shape)[image]
            row["answers"] = dict(zip(evaluation.classes, map(_rounded, answers), strict=True))
            row["targets"] = dict(zip(evaluation.classes, map(float, wanted), strict=True))
        lines.append(json.dumps(row | {"loss": float(evaluation.losses[image])}))
    return "".join(line + "\n" for line in lines)


def as_text(measured: Measured, style: str, top_k: int | None, worst: int) -> str:
    """Return the evaluation as ``table`` or ``plain`` text; in the other forms its table of classes alone."""
    evaluation = measured.evaluation
    if style == "csv":
        return _csv(evaluation, top_k)
    classes = _class_table(evaluation, top_k)
    if style not in ("table", "plain"):
        return render(classes, style)
    blocks = [_head(measured) + "\n", _figures(evaluation, top_k), render(classes, style)]
    if evaluation.confusion is not None and len(evaluation.classes) <= _MOST_COLUMNS:
        blocks.append("classes in rows, answers in columns\n" + render(_confusion_table(evaluation), style))
    mistakes = evaluation.worst(worst)
    if mistakes:
        count = evaluation.images - int(evaluation.hits.sum())
        title = "mistake" if count == 1 else f"worst of {count:,} mistakes" if count > len(mistakes) else "mistakes"
        folder, table = _mistake_table(measured, mistakes)
        blocks.append(f"{title}{printable(f', in {folder}' if folder else '')}\n" + render(table, style))
    return "\n".join(blocks)


def _csv(evaluation: Evaluation, top_k: int | None) -> str:
    """Return the table of classes with shares as numbers."""
    is_numbers = evaluation.kind == "numbers"
    rows = figures_of(evaluation, top_k)["per_target"] if is_numbers else class_rows(evaluation)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows(["" if cell is None else printable(str(cell)) for cell in row.values()] for row in rows)
    return text.getvalue()


def percent(share: float | None) -> str:
    """Return a share with two digits after the point; nothing that is below 1 is written as 100 %.

    Examples
    --------
    >>> percent(0.99999), percent(1.0), percent(0.5), percent(None)
    ('99.99 %', '100.00 %', '50.00 %', '-')
    """
    if share is None:
        return "-"
    shown = round(share, 4)
    shown = 0.9999 if shown == 1 and share < 1 else 0.0001 if shown == 0 and share > 0 else shown
    return f"{shown:.2%}".replace("%", " %")


def _head(measured: Measured) -> str:
    epoch = f" · epoch {measured.epoch}" if measured.epoch else ""
    return printable(f"{measured.checkpoint} · {measured.arch}{epoch} · {measured.part} images of {measured.dataset}")


def _figures(evaluation: Evaluation, top_k: int | None) -> str:
    figures = figures_of(evaluation, top_k)
    rows = [("images", f"{evaluation.images:,}")]
    if evaluation.kind != "numbers":
        low, high = map(percent, figures["acc_interval"])
        right = "all labels right" if evaluation.kind == "labels" else f"{figures['correct']:,} right"
        rows.append(("accuracy", f"{percent(figures['acc'])}   {right}; 95 % interval {low} to {high}"))
    if evaluation.kind == "labels":
        rows.append(("per label", percent(figures["label_acc"])))
    rows.append(("loss", f"{figures['loss']:.6g}   {evaluation.loss_name.replace('_', '-')}"))
    if "top_k" in figures:
        rows.append((f"top-{figures['top_k']}", percent(figures["top_k_acc"])))
    if "auc" in figures:
        rows.append(("AUC", "-" if figures["auc"] is None else f"{figures['auc']:.4f}"))
    if evaluation.kind == "numbers":
        rows += [("RMSE", f"{figures['rmse']:.6g}"), ("MAE", f"{figures['mae']:.6g}")]
    else:
        rows.append(("macro F1", percent(figures["macro_f1"])))
    return "".join(f"{name:<10} {text}\n" for name, text in rows)


def _class_table(evaluation: Evaluation, top_k: int | None) -> Table:
    if evaluation.kind == "numbers":
        columns = [Column("target"), *(Column(title, "right") for title in ("RMSE", "MAE", "R2"))]
        targets = figures_of(evaluation, top_k)["per_target"]
        numbers = (["-" if one[key] is None else f"{one[key]:.6g}" for key in ("rmse", "mae", "r2")] for one in targets)
        rows = [[printable(one["target"]), *texts] for one, texts in zip(targets, numbers, strict=True)]
        return Table(columns, rows)
    columns = [Column("class"), *(Column(title, "right") for title in ("images", "precision", "recall", "F1"))]
    rows = [
        [printable(one.name), f"{one.images:,}", percent(one.precision), percent(one.recall), percent(one.f1)]
        for one in evaluation.per_class
    ]
    if evaluation.confusion is not None:
        columns.append(Column("taken for"))
        rows = [[*row, _taken_for(evaluation, number)] for number, row in enumerate(rows)]
    return Table(columns, rows)


def _taken_for(evaluation: Evaluation, number: int) -> str:
    """Return the wrong answers that images of a class got most often."""
    row = [] if evaluation.confusion is None else evaluation.confusion[number].tolist()
    wrong = sorted(((count, other) for other, count in enumerate(row) if count and other != number), reverse=True)
    named = [f"{_short(evaluation.classes[other])} ({count:,})" for count, other in wrong[:_CONFUSED]]
    return ", ".join(named)


def _confusion_table(evaluation: Evaluation) -> Table:
    counts = [] if evaluation.confusion is None else evaluation.confusion.tolist()
    columns = [Column(""), *(Column(_short(name), "right") for name in evaluation.classes)]
    # zeros as points: the eye finds what is there
    rows = [
        [_short(name), *(f"{count:,}" if count else "." for count in row)]
        for name, row in zip(evaluation.classes, counts, strict=True)
    ]
    return Table(columns, rows)


def _mistake_table(measured: Measured, mistakes: Sequence[Mistake]) -> tuple[str, Table]:
    """Return the folder that the pictures share, empty where they are told by numbers, and the table."""
    classes = measured.evaluation.classes
    folder, called = measured.called(mistakes)
    columns = [Column("image", "left" if measured.names else "right"), Column("class"), Column("answer")]
    columns += [Column(title, "right") for title in ("prob", "of class", "loss")]
    rows = [
        [
            printable(name),
            printable(classes[one.truth]),
            printable(classes[one.answered]),
            percent(one.prob),
            percent(one.truth_prob),
            f"{one.loss:.4g}",
        ]
        for name, one in zip(called, mistakes, strict=True)
    ]
    return folder, Table(columns, rows)


def _mistake_json(measured: Measured, one: Mistake) -> dict[str, Any]:
    classes = measured.evaluation.classes
    return measured.image(one.image) | {
        "truth": classes[one.truth],
        "label": classes[one.answered],
        "prob": _rounded(one.prob),
        "truth_prob": _rounded(one.truth_prob),
        "loss": one.loss,
    }


def _short(name: str) -> str:
    shown = printable(name)
    return shown if len(shown) <= _LONGEST_NAME else shown[: _LONGEST_NAME - 1] + "…"


def _rounded(prob: float) -> float:
    return round(float(prob), 6)
