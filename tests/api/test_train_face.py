"""`cnncli.train` yields the events of `cnn train` and writes the same run directory."""

import json
from dataclasses import asdict

import pytest
from command_line import run_cnn

import cnncli

QUICK = ["--dataset", "digits", "--epochs", "2", "--limit", "300", "--seed", "7"]
OPTIONS = {"dataset": "digits", "epochs": 2, "limit": 300, "seed": 7}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    done = run_cnn("train", "digits", *QUICK, "--run-dir", folder / "command", "--json")
    assert done.code == 0, done.err
    events = list(cnncli.train("digits", run_dir=folder / "python", **OPTIONS))
    return folder, [json.loads(line) for line in done.out.splitlines()], events


def test_the_run_is_the_same_to_the_last_bit(both):
    folder, _, _ = both
    names = sorted(path.name for path in (folder / "command").iterdir() if path.is_file())
    assert sorted(path.name for path in (folder / "python").iterdir() if path.is_file()) == names
    for name in ("best.safetensors", "model.yaml"):
        assert (folder / "command" / name).read_bytes() == (folder / "python" / name).read_bytes()


def test_the_command_that_does_the_same_is_kept(both):
    folder, _, _ = both
    if (folder / "command" / "command.txt").exists():
        said = (folder / "python" / "command.txt").read_text()
        assert said.startswith("cnn train --arch digits --dataset=digits")
        assert "--epochs=2" in said


def test_the_events_are_those_of_the_command(both):
    folder, lines, events = both
    kinds = [type(event).__name__ for event in events if type(event).__name__ not in ("Progress", "Evaluating")]
    assert kinds[0] == "Prepared"
    assert kinds.count("EpochDone") == 2
    assert "Finished" in kinds
    epochs = [event for event in events if type(event).__name__ == "EpochDone"]
    written = [line for line in lines if "val_loss" in line and "epoch" in line and "lr" in line]
    assert [(e.epoch, e.loss, e.val_loss) for e in epochs] == [(w["epoch"], w["loss"], w["val_loss"]) for w in written]
    finished = next(asdict(event) for event in events if type(event).__name__ == "Finished")
    assert finished["run_dir"] == folder / "python"
    assert len(cnncli.load(finished["run_dir"]).classes) == 10


def test_leaving_the_loop_gives_the_run_back_and_resume_goes_on(both, tmp_path):
    folder, _, _ = both
    for event in cnncli.train("digits", run_dir=tmp_path / "run", **OPTIONS):
        if type(event).__name__ == "EpochDone":
            break
    events = list(cnncli.train(resume=tmp_path / "run"))
    assert [event.epoch for event in events if type(event).__name__ == "EpochDone"] == [2]
    best = (folder / "command" / "best.safetensors").read_bytes()
    assert (tmp_path / "run" / "best.safetensors").read_bytes() == best


def test_a_dry_run_writes_nothing(tmp_path):
    events = list(cnncli.train(None, "digits", dry_run=True, run_dir=tmp_path / "run", shuffle=False))
    assert events[0].is_dry_run
    assert any("suits images of 8x8" in getattr(event, "text", "") for event in events)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epochs": -1}, ["--epochs=-1"]),
        ({"lr": "fast"}, ["--lr=fast"]),
        ({"optimizer": "adamm"}, ["--optimizer=adamm"]),
        ({"optimizer": "adam", "momentum": 0.9}, ["--optimizer=adam", "--momentum=0.9"]),
        ({"override": True}, ["--override"]),
        ({"arch": "lenet55"}, ["--arch=lenet55"]),
        ({"lr": float("nan")}, ["--lr=nan"]),
        ({"resume": "no-such-run"}, ["--resume=no-such-run"]),
    ],
    ids=str,
)
def test_errors_have_the_text_of_the_command(options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = {} if "resume" in options else {"dataset": "digits"}
    done = run_cnn("train", *words, *(["--dataset", "digits"] if data else []))
    with pytest.raises(cnncli.CnnError) as failure:
        list(cnncli.train(**data, **options))
    assert f"cnn: error: {failure.value}" == done.err.splitlines()[-1]
    assert failure.value.exit_code == done.code


def test_options_are_checked_at_once():
    for options, said in (
        ({"epoch": 3}, "did you mean epochs"),
        ({"json": True}, "no option 'json'"),
        ({"force": 1}, "True or False"),
        ({}, "--dataset"),
    ):
        with pytest.raises(cnncli.UsageError, match=said):
            cnncli.train("digits", **{"dataset": "digits", **options} if options else {})
