"""The training task on a slow engine: files, events, and how it stops."""

import csv
import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from faults.installed import CNN
from tasks.train.fake_session import FakeSession

from cnncli.engine.session import Examined
from cnncli.errors import CnnError, InterruptedRunError, NumericError
from cnncli.io.checkpoint import LAST, read_checkpoint
from cnncli.io.datasets import load_dataset
from cnncli.io.datasets.dataset import Split
from cnncli.model import load_model
from cnncli.model.sources import Source
from cnncli.tasks.free_memory import free_memory
from cnncli.tasks.train.events import EpochDone, Finished, Note
from cnncli.tasks.train.loop import make_engine_session, train
from cnncli.tasks.train.options import TrainingOptions
from cnncli.tasks.train.plan import check_memory, forecast_memory, plan_training
from cnncli.tasks.train.run_directory import RunDirectory, default_run_directory

ARCH = "{name: linear, input: [8, 8, 1], classes: 10, layers: [flatten, dense: {units: classes, bias: false}, softmax]}"


def run_training(path, make=FakeSession, force=False, **changes):
    options = TrainingOptions(arch="linear", dataset="digits", **{"epochs": 3, "lr": 0.1} | changes)
    plan = plan_training(options, Source(ARCH, "linear.yaml"), load_dataset("digits"))
    with RunDirectory(path, force=force) as run:
        return list(train(plan, run, make))


def test_row72_a_loss_that_explodes_and_stays_finite_is_said_once(tmp_path):
    def notes(path, lr):
        events = run_training(path, make_engine_session, optimizer="sgd", lr=lr, schedule="constant")
        return [event.text for event in events if isinstance(event, Note) and "that of the first step" in event.text]

    assert notes(tmp_path / "a", 0.1) == []
    (said,) = notes(tmp_path / "b", 1e9)
    assert "the loss of epoch 1 is" in said
    assert "--lr 0.1 or --clip-norm 1" in said


def test_a_run_writes_every_file_and_learns(tmp_path):
    events = run_training(tmp_path / "run", epochs=5)
    rows = [event for event in events if isinstance(event, EpochDone)]
    done = events[-1]
    assert isinstance(done, Finished)
    assert [row.epoch for row in rows] == [1, 2, 3, 4, 5]
    assert rows[-1].loss < rows[0].loss / 2
    assert done.test_acc > 0.85
    assert sorted(os.listdir(tmp_path / "run")) == [
        "best.safetensors", "config.yaml", "history.csv", "last-1.safetensors", "last-2.safetensors",
        "last.safetensors", "model.yaml", "result.json",
    ]  # fmt: skip
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result["test_acc"] == done.test_acc
    assert result["params"] == 640
    assert result["best_epoch"] == done.best_epoch
    assert {"test_loss", "seed", "threads"} <= set(result)
    with (tmp_path / "run/history.csv").open() as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["epoch", "loss", "acc", "val_loss", "val_acc", "lr", "images_per_s", "elapsed_s"]
    assert float(table[-1]["val_acc"]) == pytest.approx(rows[-1].val_acc, rel=1e-5)
    assert (tmp_path / "run/model.yaml").read_text() == ARCH


def test_best_weights_are_byte_identical_and_ignore_the_thread_count(tmp_path):
    run_training(tmp_path / "a", threads=1)
    run_training(tmp_path / "b", threads=2)
    run_training(tmp_path / "c", seed=1)
    first, second, other = (tmp_path / f"{name}/best.safetensors" for name in "abc")
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes() != other.read_bytes()


def test_best_is_the_highest_validation_accuracy_then_the_lowest_loss(tmp_path):
    rows = [e for e in run_training(tmp_path / "run", epochs=6) if isinstance(e, EpochDone)]
    best = max(rows, key=lambda row: (row.val_acc, -row.val_loss))
    assert read_checkpoint(tmp_path / "run").training["epoch"] == best.epoch


def test_row71_nan_stops_with_place_and_remedy_and_keeps_the_good_checkpoint(tmp_path):
    with pytest.raises(NumericError) as caught:
        run_training(tmp_path / "run", lambda plan: FakeSession(plan, poison_at=(2, 3)), lr=0.5)
    text = str(caught.value)
    assert "loss became nan at epoch 2 step 4 (lr 0." in text
    assert "try --lr 0.05" in text
    assert "best.safetensors holds the weights of epoch 1" in text
    assert read_checkpoint(tmp_path / "run/best.safetensors").training["epoch"] == 1
    assert read_checkpoint(tmp_path / "run/last.safetensors").training["epoch"] == 1
    assert not (tmp_path / "run/result.json").exists()


def test_row71_a_running_statistic_that_is_not_finite_stops_as_a_weight_does(tmp_path):
    class Normalised(FakeSession):
        def named(self):
            return super().named() | {"bn1/variance": np.full(4, np.inf if self.steps > 21 else 1, np.float32)}

    with pytest.raises(NumericError, match="bn1/variance is not finite at epoch 2"):
        run_training(tmp_path / "run", Normalised)
    assert read_checkpoint(tmp_path / "run/last.safetensors").parameters["bn1/variance"].tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 2), (signal.SIGTERM, 15)])
def test_a_signal_ends_after_the_batch_and_saves_everything(tmp_path, number, code):
    def stop_at(key):
        if key == (2, 5):
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(InterruptedRunError) as caught:
        run_training(tmp_path / "run", lambda plan: FakeSession(plan, on_step=stop_at))
    assert caught.value.signal_number == code
    assert signal.getsignal(number) is before
    last = read_checkpoint(tmp_path / "run/last.safetensors")
    assert (last.training["epoch"], last.training["step"]) == (1, 6)
    assert last.training["partial"]["seen"] == 6 * 64
    assert last.optimizer["step"][0] == 21 + 6
    assert len((tmp_path / "run/history.csv").read_text().splitlines()) == 2


def test_the_plateau_follows_the_validation_loss_and_is_saved(tmp_path):
    class Stuck(FakeSession):
        def examine(self, images, labels):
            rows = np.zeros((len(labels), 10))
            return Examined(np.ones(len(labels)), np.zeros(len(labels), np.int64), rows, rows)

    events = run_training(tmp_path / "run", Stuck, epochs=10, schedule="plateau", lr=0.1)
    rates = [event.lr for event in events if isinstance(event, EpochDone)]
    assert rates == pytest.approx([0.1] * 5 + [0.01] * 4 + [0.001])
    state = read_checkpoint(tmp_path / "run/last.safetensors").training["plateau"]
    assert state == {"factor": pytest.approx(0.01), "best": 1.0, "waited": 1}


def test_no_shuffle_takes_the_images_in_order(tmp_path):
    class Watched(FakeSession):
        def train_batch(self, images, labels, indices, lr, key):
            seen.append(indices.tolist())
            return super().train_batch(images, labels, indices, lr, key)

    seen = []
    run_training(tmp_path / "run", Watched, epochs=2, limit=100, val_split=0.0, shuffle=False)
    assert seen == [list(range(64)), list(range(64, 100))] * 2


def test_no_epochs_write_the_first_weights_and_stop(tmp_path):
    events = run_training(tmp_path / "run", epochs=0)
    assert [event.text for event in events] == [
        f"{tmp_path}/run/last.safetensors holds the first weights: no epoch was asked for"
    ]
    assert sorted(os.listdir(tmp_path / "run")) == ["config.yaml", "last.safetensors", "model.yaml"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nesterov": True}, "--nesterov is not used by --optimizer adam"),
        ({"nesterov": True, "optimizer": "momentum", "momentum": 0.0}, "--nesterov is not used by --momentum 0"),
        ({"momentum": 0.9, "optimizer": "sgd"}, "--momentum 0.9 is not used by --optimizer sgd"),
        ({"decay_all": True}, "--decay-all without --weight-decay decays nothing"),
        ({"schedule": "plateau", "val_split": 0.0}, "--schedule plateau compares validation results"),
        ({"loss": "binary_cross_entropy"}, "ends in softmax, which belongs to the loss cross_entropy"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path, changes, message):
    with pytest.raises(CnnError, match=message):
        run_training(tmp_path / "run", **changes)


def test_row116_a_second_signal_leaves_at_once(tmp_path):
    def stop_at(key):
        if key == (1, 2):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_training(tmp_path / "run", lambda plan: FakeSession(plan, on_step=stop_at))
    assert read_checkpoint(tmp_path / "run/last.safetensors").training["epoch"] == 0


def test_patience_stops_early(tmp_path):
    events = run_training(tmp_path / "run", epochs=50, patience=1, lr=2.0)
    assert events[-1].stopped_early
    assert events[-1].epochs < 50


def test_without_validation_the_latest_epoch_is_the_best(tmp_path):
    events = run_training(tmp_path / "run", val_split=0.0)
    assert events[-1].best_epoch == 3
    assert events[-1].val_acc is None
    assert (tmp_path / "run/history.csv").read_text().splitlines()[1].split(",")[3:5] == ["", ""]


def test_limit_takes_the_first_images():
    options = TrainingOptions(arch="linear", dataset="digits", limit=100)
    plan = plan_training(options, Source(ARCH, "linear.yaml"), load_dataset("digits"))
    assert len(plan.order) + len(plan.validation) == 100
    assert len(plan.test) == 100


def test_another_input_shape_is_taken_from_the_data_and_said():
    text = ARCH.replace("[8, 8, 1]", "[9, 9, 3]").replace("classes: 10", "classes: 4")
    options = TrainingOptions(arch="linear", dataset="digits")
    plan = plan_training(options, Source(text, "linear.yaml"), load_dataset("digits"))
    assert plan.model.input_shape == (1, 8, 8)
    assert plan.model.parameter_count == 640
    assert "input 8x8x1 of digits in place of 9x9x3" in plan.notes[0]


def test_outputs_that_are_not_the_classes_are_refused():
    text = ARCH.replace("units: classes", "units: 7")
    with pytest.raises(CnnError, match="linear has 7 outputs, digits has 10 classes"):
        plan_training(TrainingOptions("linear", "digits"), Source(text, "linear.yaml"), load_dataset("digits"))


def test_a_directory_with_a_run_is_refused_without_force(tmp_path):
    run_training(tmp_path / "run", epochs=1)
    with pytest.raises(CnnError, match="holds a run already"):
        RunDirectory(tmp_path / "run")
    with RunDirectory(tmp_path / "run", force=True) as run:
        assert "best.safetensors" in os.listdir(tmp_path / "run")
        run.begin()
        assert os.listdir(tmp_path / "run") == [".lock"]


def test_a_replacement_that_cannot_start_leaves_the_old_run(tmp_path):
    run_training(tmp_path / "run", epochs=1)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}

    def broken(plan):
        raise MemoryError("no memory")

    with pytest.raises(MemoryError):
        run_training(tmp_path / "run", broken, force=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_row91_two_runs_cannot_share_a_directory(tmp_path):
    with (
        RunDirectory(tmp_path / "run"),
        pytest.raises(CnnError, match=rf"in use by pid {os.getpid()} on "),
    ):
        RunDirectory(tmp_path / "run")
    with RunDirectory(tmp_path / "run"):
        pass
    assert not (tmp_path / "run").exists()


def test_a_run_that_saved_nothing_leaves_nothing(tmp_path):
    def broken(plan):
        raise MemoryError("no memory")

    with pytest.raises(MemoryError):
        run_training(tmp_path / "deep/run", broken)
    assert os.listdir(tmp_path) == []


def test_run_directories_are_numbered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(default_run_directory("lenet5", "mnist")) == "runs/lenet5-mnist-1"
    (tmp_path / "runs/lenet5-mnist-1").mkdir(parents=True)
    assert str(default_run_directory("lenet5", "mnist")) == "runs/lenet5-mnist-2"
    assert str(default_run_directory("a b/../c", "mnist")) == "runs/a-b-..-c-mnist-1"
    assert str(default_run_directory("digits", "digits")) == "runs/digits-1"


def test_the_last_checkpoint_does_not_grow_with_the_epochs(tmp_path):
    run_training(tmp_path / "a", epochs=1)
    run_training(tmp_path / "b", epochs=60)
    first, second = (len(json.dumps(read_checkpoint(tmp_path / n / LAST).training)) for n in "ab")
    assert abs(first - second) < 40
    assert len((tmp_path / "b/history.csv").read_text().splitlines()) == 61


def test_a_file_system_without_locks_is_said_and_used(tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", refuse)
    with RunDirectory(tmp_path / "run") as run:
        assert (
            run.note == f"{tmp_path}/run/.lock cannot be locked (Function not implemented): start no second run there"
        )


def test_row93_a_full_disk_at_the_lock_names_the_file_and_leaves_nothing(tmp_path):
    """`ulimit -f 0`: no file may grow."""
    command = f"ulimit -f 0; exec {CNN} train -d digits --epochs 1 --run-dir deep/run"
    result = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert result.returncode == 1
    assert result.stderr.startswith("cnn: error: deep/run/.lock: larger than the allowed file size (needs ")
    assert os.listdir(tmp_path) == []


def test_equal_labels_are_said():
    data = load_dataset("digits")
    alike = replace(data, train=Split(data.train.images, np.full(len(data.train), 3)))
    plan = plan_training(TrainingOptions("linear", "digits"), Source(ARCH, "linear.yaml"), alike)
    assert "all 1294 training images are of class '3': there is nothing to tell apart" in plan.notes


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/meminfo": "MemTotal: 900 kB\nMemAvailable:     800 kB\n"}, 800 << 10),
        ({"sys/fs/cgroup/memory.max": "5000\n", "sys/fs/cgroup/memory.current": "2000\n"}, 3000),
        ({"sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "2000\n"}, 1 << 62),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/memory.max": "5000\n",
                "sys/fs/cgroup/a/memory.current": "4000\n",
                "sys/fs/cgroup/a/memory.stat": "anon 3500\ninactive_file 300\n",
                "sys/fs/cgroup/a/b/memory.max": "4000\n",
                "sys/fs/cgroup/a/b/memory.current": "100\n",
            },
            1300,
        ),
        ({"sys/fs/cgroup/memory.max": "5\n", "sys/fs/cgroup/memory.current": "9\n"}, 0),
    ],
)
def test_free_memory_is_what_machine_and_control_groups_leave(files, expected, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert free_memory(tmp_path) == expected


def test_checkpoint_holds_what_prediction_needs(tmp_path):
    run_training(tmp_path / "run")
    checkpoint = read_checkpoint(tmp_path / "run")
    data = load_dataset("digits")
    assert checkpoint.classes == data.classes
    assert checkpoint.preprocessing.mean == data.mean
    assert checkpoint.preprocessing.placement == data.placement
    assert checkpoint.architecture == ARCH
    assert checkpoint.optimizer == {}
    assert np.isfinite(checkpoint.parameters["fc1/weight"]).all()


@pytest.mark.parametrize(("arch", "batch"), [("lenet5", 64), ("lenet5", 256), ("lecture", 64), ("digits", 64)])
def test_the_memory_forecast_is_near_what_the_engine_takes(arch, batch):
    from cnncli.engine.session import Session

    model = load_model(arch)
    options = TrainingOptions(arch, "digits", batch_size=batch, threads=2)
    session = Session(model, batch_size=batch, threads=2, optimizer="adam")
    best = sum(array.nbytes for array in session.named().values())
    assert forecast_memory(model, options) == session.memory_bytes + best


@pytest.mark.slow
def test_the_forecast_is_what_the_process_grows_by():
    """The second session of a process: code and libraries are in memory by then."""
    program = (
        "import numpy as np\nfrom cnncli.engine.session import Session\nfrom cnncli.model import load_model\n"
        "def rss():\n    return int(open('/proc/self/statm').read().split()[1]) * 4096\n"
        "def work(batch):\n"
        "    session = Session(load_model('alexnet'), batch_size=batch, threads=1, optimizer='adam')\n"
        "    images = np.zeros((batch, *session.model.input_shape[1:], 3), np.uint8)\n"
        "    labels = np.zeros(batch, np.int64)\n"
        "    session.train_batch(images, labels, np.arange(batch), 0.0, (1, 0))\n"
        "    session.evaluate(images, labels)\n    session.predict(images)\n    return session\n"
        "work(2)\nbefore = rss()\nsession = work(32)\nprint((rss() - before) / session.memory_bytes)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 0.9 < float(done.stdout) < 1.1


def test_row102_more_memory_than_there_is_is_refused_before_anything_is_allocated():
    with pytest.raises(CnnError, match=r"training needs 1048576\.0 GiB, .* GiB are free; use a smaller --batch-size"):
        check_memory(2**50)
