"""What ends a run early and what makes it save."""

import time

import pytest
from tasks.train.continued import assert_same, begin, go_on, outcome
from tasks.train.fake_session import FakeSession

from cnncli.errors import UsageError
from cnncli.tasks.train.events import EpochDone, Finished, Note
from cnncli.tasks.train.limits import SaveEvery, Target, parse_duration, parse_save_every, parse_target


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("30 min", 1800),
        ("1h30m", 5400),
        ("1.5 hours", 5400),
        ("2d", 172_800),
        ("1H 5S", 3605),
    ],
)
def test_a_duration_is_understood(text, seconds):
    assert parse_duration(text, "--max-time") == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "-3m", "0s", "1h30", "3 weeks", "٣m", "1e3s", "99999999d"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(UsageError, match=r"--max-time .* is no length of time; such as 90s"):
        parse_duration(text, "--max-time")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("epoch", SaveEvery()),
        ("500steps", SaveEvery(steps=500)),
        ("1 step", SaveEvery(steps=1)),
        ("20", SaveEvery(steps=20)),
        ("10min", SaveEvery(seconds=600)),
        ("90 s", SaveEvery(seconds=90)),
    ],
)
def test_an_interval_is_understood(text, expected):
    assert parse_save_every(text) == expected


@pytest.mark.parametrize("text", ["", "0", "0steps", "steps", "never", "-5steps", "5epochs", "0min"])
def test_what_is_no_interval_is_refused(text):
    with pytest.raises(UsageError, match="--save-every"):
        parse_save_every(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.99", Target("val_acc", 0.99)),
        ("99%", Target("val_acc", 0.99)),
        ("val_acc>=0.5", Target("val_acc", 0.5)),
        ("val_loss=0.05", Target("val_loss", 0.05)),
        ("acc = 1", Target("acc", 1.0)),
    ],
)
def test_a_target_is_understood(text, expected):
    assert parse_target(text, has_validation=True) == expected


@pytest.mark.parametrize("text", ["", "1.2", "0", "val_f1=0.5", "nan", "-1", "val_acc=", "120%"])
def test_what_is_no_target_is_refused(text):
    with pytest.raises(UsageError, match="--target"):
        parse_target(text, has_validation=True)


def test_the_run_ends_at_the_first_epoch_that_reaches_the_target(tmp_path):
    rows = [event for event in begin(tmp_path / "whole", epochs=6) if isinstance(event, EpochDone)]
    wanted = rows[2].val_loss
    events = begin(tmp_path / "run", epochs=6, target=f"val_loss={wanted:.9f}")
    first = next(row.epoch for row in rows if row.val_loss <= float(f"{wanted:.9f}"))
    assert events[-1].epochs == first < 6
    assert outcome(tmp_path / "run")["result"]["stopped_by"] == f"--target val_loss={wanted:.9f}"
    assert go_on(tmp_path / "run") == []
    assert go_on(tmp_path / "run", target="val_loss=0.0000001")[-1].epochs == 6


class Slow(FakeSession):
    def train_batch(self, *arguments):
        time.sleep(0.02)
        return super().train_batch(*arguments)


def test_parts_of_a_limited_time_add_up_to_the_same_run(tmp_path):
    begin(tmp_path / "whole")
    events = begin(tmp_path / "run", Slow, max_time="0.05s")
    assert isinstance(events[-1], Note)  # no epoch was done: nothing to test
    assert "--max-time 0.05s is over at epoch 1 step " in events[-1].text
    parts = 1
    while not isinstance(events[-1], Finished) or events[-1].stopped_by:
        events = go_on(tmp_path / "run", Slow)
        parts += 1
    assert parts > 2
    assert_same(tmp_path / "run", tmp_path / "whole")
    assert events[-1].elapsed_s > 15 * 0.02  # of all parts together


def test_checkpoints_by_the_clock(tmp_path, monkeypatch):
    from cnncli.tasks.train.run_record import RunRecord

    saved = []
    write = RunRecord.save_last
    monkeypatch.setattr(RunRecord, "save_last", lambda self, *a, **k: (saved.append(k["step"]), write(self, *a, **k)))
    begin(tmp_path / "run", Slow, save_every="0.01s", epochs=1)
    assert saved == [0, 1, 2, 3, 4, 5, 0]
