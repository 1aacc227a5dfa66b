"""Continuing a run: the same bytes as without the interruption, or one line that says why not."""

import csv
import itertools
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tasks.train.continued import assert_same, begin, go_on, history, outcome
from tasks.train.fake_session import FakeSession

from cnncli.engine.session import Examined
from cnncli.errors import CnnError, InterruptedRunError, InvalidInputError, UsageError
from cnncli.io.checkpoint import read_checkpoint
from cnncli.io.datasets import load_dataset
from cnncli.io.datasets.dataset import Split
from cnncli.tasks.train.events import Finished, Note
from cnncli.tasks.train.loop import make_engine_session
from cnncli.tasks.train.run_directory import RunDirectory, last_checkpoints


def stopping_at(*keys):
    """Return a maker of sessions that ask to stop within the steps with these (epoch, step)."""

    def stop(key):
        if key in keys:
            os.kill(os.getpid(), signal.SIGINT)

    return lambda plan: FakeSession(plan, on_step=stop)


def stopped(path, *keys, **changes):
    with pytest.raises(InterruptedRunError) as caught:
        begin(path, stopping_at(*keys), **changes)
    return caught.value


def notes(events):
    return [event.text for event in events if isinstance(event, Note)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    begin(path)
    return path


@pytest.mark.parametrize("epoch", [1, 2, 3])
@pytest.mark.parametrize("step", [0, 1, 4])
def test_row115_a_run_stopped_at_any_step_ends_with_the_same_bytes(epoch, step, whole, tmp_path):
    error = stopped(tmp_path / "run", (epoch, step))
    where = f"epoch {epoch} step {step + 1}"
    assert f"stopped at {where}; `cnn train --resume {tmp_path}/run` continues" in str(error)
    events = go_on(tmp_path / "run")
    assert isinstance(events[-1], Finished)
    assert len(events[-1].history) == 3
    assert_same(tmp_path / "run", whole)


def test_row115_a_run_stopped_again_and_again_ends_with_the_same_bytes(whole, tmp_path):
    stopped(tmp_path / "run", (1, 0))
    for key in ((1, 1), (1, 2), (2, 0), (2, 4), (3, 3)):
        with pytest.raises(InterruptedRunError):
            go_on(tmp_path / "run", stopping_at(key))
    assert "continues" in notes(go_on(tmp_path / "run"))[0]
    assert_same(tmp_path / "run", whole)


def test_row115_a_run_stopped_in_the_validation_or_the_test_ends_with_the_same_bytes(whole, tmp_path):
    def stopping_after(count):
        class Stopping(FakeSession):
            evaluations = 0

            def examine(self, images, labels):
                Stopping.evaluations += 1
                if Stopping.evaluations == count:
                    os.kill(os.getpid(), signal.SIGINT)
                return super().examine(images, labels)

        return Stopping

    counts = 3 + 2  # of each epoch, of the test images in slices of 80
    for count in range(1, counts + 1):
        path = tmp_path / str(count)
        with pytest.raises(InterruptedRunError):
            begin(path, stopping_after(count))
        go_on(path)
        assert_same(path, whole)


def test_a_checkpoint_of_no_step_holds_no_state_of_the_optimizer(whole, tmp_path):
    begin(tmp_path / "run", epochs=0)
    assert read_checkpoint(tmp_path / "run/last.safetensors").optimizer == {}
    go_on(tmp_path / "run", epochs=3)
    assert_same(tmp_path / "run", whole)


SMALL_NET = """{name: small, input: [8, 8, 1], classes: 10, layers: [
  conv: {filters: 4, kernel: 3, bias: false}, batchnorm, relu, flatten, dropout: 0.3, dense: classes, softmax]}"""


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "adam"},
        {"optimizer": "momentum", "nesterov": True, "clip_norm": 1.0, "weight_decay": 0.01},
        {"optimizer": "rmsprop", "momentum": 0.5, "schedule": "one-cycle", "val_split": 0.0},
        {"optimizer": "adamw", "schedule": "plateau", "label_smoothing": 0.1, "class_weights": "balanced"},
    ],
)
def test_the_real_engine_goes_on_with_the_same_bits(options, tmp_path):
    """Batch normalisation, dropout, every optimizer: stopped in the middle and at the end of an epoch."""

    class Stopping:
        def __init__(self, session, at):
            self.session, self.at, self.steps = session, at, 0

        def __getattr__(self, name):
            return getattr(self.session, name)

        def train_batch(self, *arguments):
            self.steps += 1
            if self.steps == self.at:
                os.kill(os.getpid(), signal.SIGTERM)
            return self.session.train_batch(*arguments)

    begin(tmp_path / "whole", make_engine_session, SMALL_NET, lr=0.01, **options)
    for at in (3, 5, 8):
        path = tmp_path / str(at)
        with pytest.raises(InterruptedRunError):
            begin(path, lambda plan, at=at: Stopping(make_engine_session(plan), at), SMALL_NET, lr=0.01, **options)
        go_on(path, make_engine_session)
        assert_same(path, tmp_path / "whole")


def test_a_forgotten_momentum_is_noticed(whole, tmp_path):
    """The comparison itself is tested: an engine that forgets a part of its state must not pass it."""

    class Forgetful(FakeSession):
        def load_optimizer_state(self, state):
            super().load_optimizer_state(state | {"velocity": np.zeros_like(self.velocity)})

    stopped(tmp_path / "run", (2, 1))
    go_on(tmp_path / "run", Forgetful)
    with pytest.raises(AssertionError, match="best"):
        assert_same(tmp_path / "run", whole)


def test_patience_and_plateau_go_on_counting(tmp_path):
    class Stuck(FakeSession):
        def examine(self, images, labels):
            rows = np.zeros((len(labels), 10))
            return Examined(np.ones(len(labels)), np.zeros(len(labels), np.int64), rows, rows)

    options = {"epochs": 20, "schedule": "plateau", "patience": 8}
    begin(tmp_path / "whole", Stuck, **options)
    for key in ((3, 0), (6, 2)):
        path = tmp_path / str(key[0])

        class Stopping(Stuck):
            def train_batch(self, *arguments, key=key):
                if arguments[-1] == key:
                    os.kill(os.getpid(), signal.SIGINT)
                return super().train_batch(*arguments)

        with pytest.raises(InterruptedRunError):
            begin(path, Stopping, **options)
        go_on(path, Stuck)
        assert_same(path, tmp_path / "whole")
    assert outcome(tmp_path / "whole")["result"]["stopped_by"] == "--patience 8"
    assert len(history(tmp_path / "whole")) == 9


def test_more_epochs_extend_a_finished_run(tmp_path):
    """With a constant learning rate, extending is the same as having asked for more from the beginning."""
    begin(tmp_path / "long", epochs=5, schedule="constant")
    begin(tmp_path / "short", epochs=2, schedule="constant")
    assert go_on(tmp_path / "short") == []
    events = go_on(tmp_path / "short", epochs=5)
    assert notes(events) == [f"continues {tmp_path}/short at epoch 3, step 1 of 5"]
    assert_same(tmp_path / "short", tmp_path / "long")


def test_a_schedule_is_planned_anew_and_it_is_said(tmp_path):
    begin(tmp_path / "run", epochs=2)
    with RunDirectory(tmp_path / "run", is_continued=True):
        from cnncli.tasks.train.resume import read_saved_run, with_changes

        saved = with_changes(read_saved_run(tmp_path / "run"), {"epochs": 4}, override=False)
    assert saved.notes == ("the learning rate follows cosine over 4 epochs now, not 2",)
    go_on(tmp_path / "run", epochs=4)
    assert [float(row["lr"]) for row in history(tmp_path / "run")] == pytest.approx(
        [0.1, 0.05, 0.05, 0.0146447], rel=1e-4
    )


def test_a_kill_right_after_an_extension_does_not_forget_it(tmp_path):
    begin(tmp_path / "run", epochs=1)

    class Killed(FakeSession):
        def train_batch(self, *arguments):
            raise SystemExit  # nothing is saved

    with pytest.raises(SystemExit):
        go_on(tmp_path / "run", Killed, epochs=3)
    assert go_on(tmp_path / "run")[-1].epochs == 3


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ({"lr": 0.2}, "continued with other options: --lr 0.2 (the run: --lr 0.1); leave it away, or add --override"),
        (
            {"seed": 7, "lr": 0.2},
            "--seed 7 (the run: --seed 0), --lr 0.2 (the run: --lr 0.1); leave them away, or begin",
        ),
        (
            {"val_split": 0.5},
            "--val-split 0.5 (the run: --val-split 0.1); leave it away, or begin a new run with --init",
        ),
        ({"shuffle": False}, "--no-shuffle (the run: --shuffle)"),
        (
            {"clip_norm": 2.0, "nesterov": True},
            "--clip-norm 2.0 (the run: no --clip-norm), --nesterov (the run: --no-nest",
        ),
        ({"dataset": "mnist"}, "--dataset mnist (the run: --dataset digits)"),
        ({"epochs": 1}, "--epochs 1: epoch 2 has begun already; --epochs is the total"),
    ],
)
def test_row84_changed_options_are_listed_and_refused(typed, message, tmp_path):
    stopped(tmp_path / "run", (2, 1))
    before = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    with pytest.raises(UsageError if "epochs" in typed else InvalidInputError) as caught:
        go_on(tmp_path / "run", **typed)
    assert message in str(caught.value)
    assert {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()} == before


def test_options_of_the_run_itself_are_no_change(whole, tmp_path):
    stopped(tmp_path / "run", (2, 1))
    go_on(tmp_path / "run", lr=0.1, seed=0, dataset="digits", epochs=3, threads=1, keep=5)
    assert_same(tmp_path / "run", whole)


def test_an_override_takes_effect_is_said_and_is_kept(whole, tmp_path):
    stopped(tmp_path / "run", (2, 1))
    go_on(tmp_path / "run", override=True, lr=0.01)
    rows = history(tmp_path / "run")
    assert rows[0] == history(whole)[0]
    assert [float(row["lr"]) for row in rows] == pytest.approx([0.1, 0.0075, 0.0025], rel=1e-4)
    expected = [{"epoch": 1, "step": 2, "lr": [0.1, 0.01]}]
    assert read_checkpoint(tmp_path / "run/last.safetensors").training["overrides"] == expected
    go_on(tmp_path / "run", epochs=4)
    assert read_checkpoint(tmp_path / "run/last.safetensors").training["overrides"] == expected
    with pytest.raises(InvalidInputError, match="--seed 3"):
        go_on(tmp_path / "run", override=True, seed=3)


def damaged(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 16
    path.write_bytes(data)


def test_row86_a_broken_checkpoint_gives_way_to_the_one_before(whole, tmp_path):
    run = tmp_path / "run"
    stopped(run, (3, 1))
    damaged(run / "last.safetensors")
    told = []
    with RunDirectory(run, is_continued=True):
        from cnncli.tasks.train.resume import read_saved_run

        told = read_saved_run(run).notes
    assert "last.safetensors: damaged: the SHA-256 of the file is not the one inside" in told[0] or "SHA-256" in told[0]
    assert told[1] == f"continuing from {run}/last-1.safetensors, the checkpoint before: epoch 2 step 0"
    go_on(run)
    assert_same(run, whole)
    assert (run / "last.safetensors.broken").exists()


def test_row86_without_any_usable_checkpoint_nothing_is_changed(tmp_path):
    stopped(tmp_path / "run", (1, 1))
    for file in (tmp_path / "run").glob("last*"):
        damaged(file)
    before = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    with pytest.raises(InvalidInputError, match=r"last\.safetensors: .*SHA-256.*nor is an older one usable"):
        go_on(tmp_path / "run")
    assert {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()} == before


def test_row113_neither_the_clock_nor_the_times_of_files_decide_anything(whole, tmp_path, monkeypatch):
    """The clock goes back by an hour with every look at it, and the oldest checkpoint is the youngest file."""
    now = itertools.count(time.time(), -3600)
    monkeypatch.setattr(time, "time", lambda: next(now))
    run = tmp_path / "run"
    stopped(run, (3, 1))
    checkpoints = last_checkpoints(run)
    assert len(checkpoints) > 1
    for age, file in enumerate(checkpoints):
        os.utime(file, (2**32 + age * 10**6,) * 2)
    told = notes(go_on(run))
    assert not [note for note in told if "checkpoint before" in note]
    assert_same(run, whole)
    with (run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(float(row["images_per_s"]) > 0 for row in rows)
    elapsed = [float(row["elapsed_s"]) for row in rows]
    assert elapsed == sorted(elapsed)
    assert elapsed[0] >= 0


def test_a_missing_history_is_written_again_and_missing_best_weights_are_said(whole, tmp_path):
    stopped(tmp_path / "run", (3, 1))
    (tmp_path / "run/history.csv").unlink()
    go_on(tmp_path / "run")
    assert_same(tmp_path / "run", whole)
    stopped(tmp_path / "other", (3, 1))
    damaged(tmp_path / "other/best.safetensors")
    told = notes(go_on(tmp_path / "other"))
    assert "best.safetensors" in told[0]
    assert told[0].endswith("the best epoch is chosen anew from epoch 3 on")
    assert read_checkpoint(tmp_path / "other").training["epoch"] == 3


def test_row84_other_data_are_refused(tmp_path):
    stopped(tmp_path / "run", (2, 1))
    data = load_dataset("digits")
    images = data.train.images.copy()
    images[0, 0, 0, 0] += 1
    with pytest.raises(InvalidInputError, match="the images of digits are not those of the run: SHA-256 "):
        go_on(tmp_path / "run", data=replace(data, train=Split(images, data.train.labels)))
    with pytest.raises(InvalidInputError, match="the run has 10 classes, digits has 11: new 'ten'"):
        go_on(tmp_path / "run", data=replace(data, classes=(*data.classes, "ten")))


def test_another_library_is_said(tmp_path, monkeypatch):
    stopped(tmp_path / "run", (2, 1))
    from cnncli.tasks.train import plan

    used = plan.versions()
    monkeypatch.setattr(plan, "versions", lambda: used | {"numpy": "9.9"})
    told = notes(go_on(tmp_path / "run"))
    assert any(f"the last digits may differ from an uninterrupted run: numpy {used['numpy']} -> 9.9" in n for n in told)


@pytest.mark.parametrize(("keep", "names"), [(1, []), (2, ["last-1"]), (4, ["last-1", "last-2", "last-3"])])
def test_as_many_checkpoints_stay_as_asked(keep, names, tmp_path):
    begin(tmp_path / "run", keep=keep, epochs=5, lr=0.01, val_split=0.0)
    assert sorted(file.stem for file in (tmp_path / "run").glob("last-*")) == names
    epochs = [read_checkpoint(tmp_path / f"run/{name}.safetensors").training["epoch"] for name in ("last", *names)]
    assert epochs == [5, 4, 3, 2][:keep]
    begin(tmp_path / "other", keep=4, epochs=2)
    go_on(tmp_path / "other", keep=2, epochs=3)
    assert sorted(file.stem for file in (tmp_path / "other").glob("last-*")) == ["last-1"]


@pytest.mark.parametrize(
    ("every", "saves"),
    [
        ("epoch", [(0, 0), (1, 0), (2, 0), (3, 0)]),
        ("2steps", [(0, 0), (0, 2), (0, 4), (1, 0), (1, 1), (1, 3), (1, 5), (2, 0), (2, 2), (2, 4), (3, 0)]),
        ("100 steps", [(0, 0), (1, 0), (2, 0), (3, 0)]),  # with new best weights
        ("1h", [(0, 0), (1, 0), (2, 0), (3, 0)]),
    ],
)
def test_checkpoints_are_written_when_asked(every, saves, tmp_path, monkeypatch):
    from cnncli.tasks.train.run_record import RunRecord

    found = []
    write = RunRecord.save_last

    def watched(self, session, *, epoch, step, partial=None):
        found.append((epoch, step))
        write(self, session, epoch=epoch, step=step, partial=partial)

    monkeypatch.setattr(RunRecord, "save_last", watched)
    begin(tmp_path / "run", save_every=every, val_split=0.0)
    assert found == saves


def test_row91_two_processes_cannot_continue_one_run(tmp_path):
    stopped(tmp_path / "run", (2, 1))
    with (
        RunDirectory(tmp_path / "run", is_continued=True),
        pytest.raises(CnnError, match=rf"in use by pid {os.getpid()} on "),
    ):
        go_on(tmp_path / "run")


def test_only_a_run_can_be_continued(tmp_path):
    (tmp_path / "empty").mkdir()
    for name, message in {
        "none": "no such run directory",
        "empty": "holds no last.safetensors to continue from",
    }.items():
        with pytest.raises(InvalidInputError, match=message):
            go_on(tmp_path / name)
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInputError, match="is a file"):
        go_on(tmp_path / "file")
    assert sorted(os.listdir(tmp_path)) == ["empty", "file"]
    assert os.listdir(tmp_path / "empty") == []
