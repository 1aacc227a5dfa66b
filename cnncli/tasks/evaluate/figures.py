"""An evaluation as named figures, and conditions on them such as ``acc>=0.98``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnncli.errors import MismatchError, UsageError, did_you_mean
from cnncli.tasks.evaluate import scores
from cnncli.tasks.evaluate.evaluate import Evaluation

_CONDITION = re.compile(r"\s*(.+?)\s*(>=|<=|=|>|<)\s*([^<>=]+?)\s*")
_HOLDS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "=": operator.eq
}  # fmt: skip


def figures_of(evaluation: Evaluation, top_k: int | None) -> dict[str, Any]:
    """Return the figures of all images together, as JSON values; what is not defined for them is None.

    Parameters
    ----------
    evaluation : Evaluation
    top_k : int, optional
        How many answers of an image count; None: no such figure.
    """
    per_class, kind = evaluation.per_class, evaluation.kind
    hits, count = int(evaluation.hits.sum()), evaluation.images
    figures: dict[str, Any] = {"images": count, "loss": evaluation.loss, "loss_name": evaluation.loss_name}
    if kind == "numbers":
        return figures | _of_numbers(evaluation)
    figures |= {
        "acc": evaluation.acc,
        "correct": hits,
        "acc_interval": list(scores.interval(hits, count)),
        "macro_precision": scores.macro([one.precision for one in per_class]),
        "macro_recall": scores.macro([one.recall for one in per_class]),
        "macro_f1": scores.macro([one.f1 for one in per_class]),
    }
    if kind == "labels":
        right = (evaluation.labels > 0.5) == (evaluation.logits > 0)
        figures["label_acc"] = int(right.sum()) / right.size
    elif top_k is not None:
        figures |= {"top_k": top_k, "top_k_acc": evaluation.top_k_acc(top_k)}
    if kind == "classes" and len(evaluation.classes) == 2:
        margin = evaluation.logits[:, -1].astype(np.float64) - (
            evaluation.logits[:, 0] if evaluation.logits.shape[1] == 2 else 0
        )
        figures["auc"] = scores.area_under_roc(margin, evaluation.truth == 1)
    return figures


def _of_numbers(evaluation: Evaluation) -> dict[str, Any]:
    """Return the errors of numbers: all together, and by target."""
    wanted = np.asarray(evaluation.labels, np.float64).reshape(evaluation.answers.shape)
    errors = evaluation.answers.astype(np.float64) - wanted
    targets = []
    for number, name in enumerate(evaluation.classes):
        one, spread = errors[:, number], wanted[:, number] - wanted[:, number].mean()
        squares, total = math.fsum(one**2), math.fsum(spread**2)
        targets.append(
            {
                "target": name,
                "rmse": math.sqrt(squares / len(one)),
                "mae": math.fsum(np.abs(one)) / len(one),
                "r2": 1 - squares / total if total else None,
            }
        )
    flat = np.abs(errors).ravel()
    mae = math.fsum(flat) / flat.size
    return {"acc": None, "rmse": math.sqrt(evaluation.loss), "mae": mae, "per_target": targets}


def class_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return the figures of each class or label as JSON values."""
    return [
        {
            "class": one.name,
            "images": one.images,
            "correct": one.correct,
            "answered": one.answered,
            "precision": one.precision,
            "recall": one.recall,
            "f1": one.f1,
        }
        for one in evaluation.per_class
    ]


@dataclass(frozen=True)
class Condition:
    """A condition on a figure: ``acc>=0.98``, ``loss<0.1``, ``recall.cat>90%``.

    Attributes
    ----------
    key : str
        Name of a figure, or ``precision``, ``recall`` or ``f1`` with a point and the name of a class.
    sign : str
        ``>=``, ``<=``, ``>``, ``<`` or ``=``.
    wanted : float
    text : str
        As the user typed it.
    """

    key: str
    sign: str
    wanted: float
    text: str

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read a condition.

        Raises
        ------
        UsageError
            It is none.
        """
        match = _CONDITION.fullmatch(text)
        wanted = _number(match.group(3)) if match else None
        if match is None or wanted is None:
            raise UsageError(f"--expect {text[:60]!r} is not understood", hint="write it as 'acc>=0.9'")
        return cls(match.group(1), match.group(2), wanted, text)


def check_names(conditions: Sequence[Condition], known: Mapping[str, float]) -> None:
    """Refuse a condition on a figure that there is not.

    Raises
    ------
    UsageError
        With the nearest name.
    """
    for one in conditions:
        if one.key not in known:
            names = f"one of {', '.join(name for name in known if '.' not in name)}"
            raise UsageError(f"--expect {one.text[:60]!r}: no such figure", hint=did_you_mean(one.key, known, names))


def check_conditions(conditions: Sequence[Condition], known: Mapping[str, float], where: str) -> None:
    """Check that all conditions hold.

    Raises
    ------
    MismatchError
        The first one that does not, with the value that was found.
    """
    for one in conditions:
        found = known[one.key]
        if not _HOLDS[one.sign](found, one.wanted):
            message = f"{one.key} is {found:.10g}, expected {one.sign} {one.wanted:.10g}"
            raise MismatchError(message, where=where, hint="train it further, or lower what you expect")


def named_figures(evaluation: Evaluation, figures: Mapping[str, Any]) -> dict[str, float]:
    """Return every figure that is a number, by the name that a condition uses."""
    known = {name: value for name, value in figures.items() if isinstance(value, int | float)}
    for row in class_rows(evaluation):
        of_class = {f"{name}.{row['class']}": row[name] for name in ("precision", "recall", "f1")}
        known |= {name: value for name, value in of_class.items() if value is not None}
    return known


def _number(text: str) -> float | None:
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
