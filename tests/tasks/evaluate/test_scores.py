"""Figures of merit against definitions written out by hand, one image at a time."""

import math

import numpy as np
import pytest

from cnncli.errors import MismatchError, UsageError
from cnncli.tasks.evaluate.evaluate import Evaluation
from cnncli.tasks.evaluate.figures import (
    Condition,
    check_conditions,
    check_names,
    class_rows,
    figures_of,
    named_figures,
)
from cnncli.tasks.evaluate.scores import area_under_roc, interval, top_k_hits

RANDOM = np.random.default_rng(11)


def softmax(z):
    powers = np.exp(z - z.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def of_classes(logits, truth, names):
    probs = softmax(logits)
    losses = -np.log(probs[np.arange(len(truth)), truth])
    hits = (logits.argmax(1) == truth).astype(np.int64)
    return Evaluation(tuple(names), "cross_entropy", truth, losses, hits, probs, logits)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_figures_of_classes_by_counting(classes):
    names = [f"n{k}" for k in range(classes)]
    logits, truth = RANDOM.normal(size=(200, classes)), RANDOM.integers(0, classes - 1, 200)  # the last has no image
    found = of_classes(logits, truth, names)
    answers = [max(range(classes), key=lambda k: row[k]) for row in logits]
    pairs = list(zip(truth.tolist(), answers, strict=True))
    expected = []
    for k in range(classes):
        images, said = sum(t == k for t, _ in pairs), sum(a == k for _, a in pairs)
        both = sum(t == a == k for t, a in pairs)
        precision, recall = both / said if said else None, both / images if images else None
        f1 = None if not images + said else 2 * precision * recall / (precision + recall) if both else 0.0
        expected.append((f"n{k}", images, both, said, precision, recall, f1))
    assert [tuple(row.values())[:6] for row in class_rows(found)] == [row[:6] for row in expected]
    assert [row["f1"] for row in class_rows(found)] == pytest.approx([row[6] for row in expected], rel=1e-14)
    assert found.confusion.tolist() == [[pairs.count((t, a)) for a in range(classes)] for t in range(classes)]
    figures = figures_of(found, None)
    assert figures["acc"] == sum(t == a for t, a in pairs) / 200 == found.confusion.trace() / 200
    assert figures["loss"] == pytest.approx(found.losses.mean(), rel=1e-14)
    known = [row[5] for row in expected if row[5] is not None]
    assert figures["macro_recall"] == pytest.approx(sum(known) / len(known), rel=1e-14)


def test_a_class_without_images_and_answers_has_no_figures():
    found = of_classes(np.array([[2.0, 1.0, 0.0]]), np.array([0]), "abc")
    assert [(row["precision"], row["recall"], row["f1"]) for row in class_rows(found)] == [
        (1.0, 1.0, 1.0),
        (None, None, None),
        (None, None, None),
    ]
    assert figures_of(found, 2)["macro_f1"] == 1.0


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_top_k_counts_as_a_stable_sort_does(k):
    logits = RANDOM.integers(0, 3, (300, 5)).astype(np.float32)  # many ties
    truth = RANDOM.integers(0, 5, 300)
    order = np.argsort(-logits, axis=1, kind="stable")
    assert top_k_hits(logits, truth, k) == sum(t in row[:k] for t, row in zip(truth, order, strict=True))


def test_top_1_is_the_accuracy_even_with_equal_logits():
    logits, truth = RANDOM.integers(0, 2, (300, 4)).astype(np.float32), RANDOM.integers(0, 4, 300)
    found = of_classes(logits, truth, "abcd")
    assert found.top_k_acc(1) == found.acc


def test_the_worst_mistakes_are_those_with_the_largest_losses():
    logits, truth = RANDOM.normal(size=(50, 3)), RANDOM.integers(0, 3, 50)
    found = of_classes(logits, truth, "abc")
    worst = found.worst(4)
    wrong = sorted((i for i in range(50) if logits[i].argmax() != truth[i]), key=lambda i: -found.losses[i])
    assert [one.image for one in worst] == wrong[:4]
    for one in worst:
        assert (one.truth, one.answered) == (truth[one.image], logits[one.image].argmax())
        assert one.prob == found.probs[one.image, one.answered] > one.truth_prob
    assert len(found.worst(1000)) == len(wrong)


def test_one_unit_tells_two_classes_apart():
    logits, truth = RANDOM.normal(size=(90, 1)), RANDOM.integers(0, 2, 90)
    probs = 1 / (1 + np.exp(-logits))
    hits = ((logits[:, 0] > 0) == truth).astype(np.int64)
    found = Evaluation(("no", "yes"), "binary_cross_entropy", truth, np.ones(90), hits, probs, logits)
    assert found.kind == "classes"
    assert found.acc == hits.mean() == found.confusion.trace() / 90
    assert found.confusion[1, 0] == sum(1 for z, t in zip(logits[:, 0], truth, strict=True) if t == 1 and z <= 0)
    assert np.allclose(found.probs.sum(1), 1)
    pairs = [(a > b) + (a == b) / 2 for a in logits[truth == 1, 0] for b in logits[truth == 0, 0]]
    assert figures_of(found, None)["auc"] == pytest.approx(sum(pairs) / len(pairs), rel=1e-12)


def test_the_area_under_the_curve_with_ties_and_without_one_kind():
    scores, truth = RANDOM.integers(0, 4, 80).astype(float), RANDOM.integers(0, 2, 80).astype(bool)
    pairs = [(a > b) + (a == b) / 2 for a in scores[truth] for b in scores[~truth]]
    assert area_under_roc(scores, truth) == pytest.approx(sum(pairs) / len(pairs), rel=1e-12)
    assert area_under_roc(scores, np.ones(80, bool)) is None


def test_several_labels_are_counted_one_by_one():
    truth, logits = RANDOM.integers(0, 2, (60, 3)).astype(float), RANDOM.normal(size=(60, 3))
    hits = ((logits > 0) == (truth > 0.5)).all(1).astype(np.int64)
    found = Evaluation(
        tuple("abc"), "binary_cross_entropy", truth, np.ones(60), hits, 1 / (1 + np.exp(-logits)), logits
    )
    assert found.kind == "labels"
    assert found.confusion is None
    assert found.worst(3) == []
    figures = figures_of(found, 2)
    assert figures["acc"] == hits.mean()
    assert figures["label_acc"] == ((logits > 0) == (truth > 0.5)).mean()
    assert "top_k" not in figures
    row = class_rows(found)[1]
    both = int(((logits[:, 1] > 0) & (truth[:, 1] > 0)).sum())
    assert (row["images"], row["answered"], row["correct"]) == (truth[:, 1].sum(), (logits[:, 1] > 0).sum(), both)


def test_numbers_have_errors_and_no_accuracy():
    wanted, answers = RANDOM.normal(size=(40, 2)), RANDOM.normal(size=(40, 2))
    losses = ((answers - wanted) ** 2).mean(1)
    found = Evaluation(("x", "y"), "mse", wanted, losses, np.zeros(40, np.int64), answers, answers)
    figures = figures_of(found, 5)
    assert (found.kind, figures["acc"], class_rows(found)) == ("numbers", None, [])
    assert figures["rmse"] == pytest.approx(math.sqrt(((answers - wanted) ** 2).mean()), rel=1e-12)
    assert figures["mae"] == pytest.approx(np.abs(answers - wanted).mean(), rel=1e-12)
    second = figures["per_target"][1]
    left = ((answers[:, 1] - wanted[:, 1]) ** 2).sum() / ((wanted[:, 1] - wanted[:, 1].mean()) ** 2).sum()
    assert second["r2"] == pytest.approx(1 - left, rel=1e-12)


@pytest.mark.parametrize(("hits", "count"), [(0, 7), (7, 7), (95, 100), (9891, 10_000)])
def test_the_interval_holds_the_shares_that_the_counts_do_not_reject(hits, count):
    # Wilson's interval is the set of p with |hits - n p| <= z sqrt(n p (1 - p))
    low, high = interval(hits, count)
    for bound in (low, high):
        if 0 < bound < 1:
            distance = abs(hits - count * bound) / math.sqrt(count * bound * (1 - bound))
            assert distance == pytest.approx(1.959963984540054, rel=1e-9)
    assert low <= hits / count <= high


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("acc>=0.5", True),
        ("acc > 50%", False),
        ("acc=0.5", True),
        ("acc<0.5", False),
        ("loss<=10", True),
        ("recall.a b>=1", True),
        ("images=2", True),
    ],
)
def test_conditions(text, holds):
    found = of_classes(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]), ["a b", "c"])
    known = named_figures(found, figures_of(found, None))
    condition = Condition.parse(text)
    check_names([condition], known)
    if holds:
        check_conditions([condition], known, "m")
    else:
        with pytest.raises(MismatchError, match=r"acc is 0.5, expected"):
            check_conditions([condition], known, "m")


@pytest.mark.parametrize("text", ["acc", "acc>", ">1", "acc>=x", "acc>=nan", ""])
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(UsageError, match="is not understood"):
        Condition.parse(text)


def test_an_unknown_figure_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match=r"no such figure; did you mean acc\?"):
        check_names([Condition.parse("ac>1")], {"acc": 1.0, "loss": 2.0})
