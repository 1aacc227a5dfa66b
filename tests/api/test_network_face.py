"""`cnncli.model` and `cnncli.load` answer as `cnn params` and `cnn predict`; programs pass mypy --strict."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import expect_error, run_cnn
from PIL import Image

import cnncli


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory):
    """A run of one epoch, and pictures it can be asked about: an upright one, a large dark one, one of colours."""
    folder = tmp_path_factory.mktemp("face")
    done = run_cnn("train", "--dataset", "digits", "--epochs", "1", "--run-dir", folder / "run", "--quiet")
    assert done.code == 0, done.err
    rng = np.random.default_rng(3)
    for name, size in (("small", (8, 8)), ("wide", (40, 61)), ("colour", (30, 20, 3))):
        Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(folder / f"{name}.png")
    return folder


def pictures(folder):
    return [str(folder / f"{name}.png") for name in ("small", "wide", "colour")]


@pytest.mark.parametrize(
    "arguments", [["lenet5"], ["resnet18"], ["28x28x1", "conv:5,out=8", "relu", "flatten", "dense:10"]]
)
def test_a_model_has_the_table_and_json_of_the_command(arguments):
    found = cnncli.model(*arguments)
    assert found.summary() == run_cnn("params", *arguments, "--format", "plain").out
    formula = run_cnn("params", *arguments, "--format", "plain", "--formula", "--columns", "layer,params").out
    assert found.summary(formula=True, columns="layer,params") == formula
    assert found.to_json() == run_cnn("params", *arguments, "--json").json
    assert found.parameters == found.to_json()["trainable"]
    assert list(found.input_shape) == found.to_json()["input"]


def test_input_shape_and_classes_in_place_of_the_files():
    found = cnncli.model("lenet5", input_shape=(32, 32, 3), classes=7)
    assert found.to_json() == run_cnn("params", "lenet5", "--input", "32x32x3", "--classes", "7", "--json").json
    assert (found.input_shape, found.output_shape) == ((32, 32, 3), (7,))


@pytest.mark.parametrize("arguments", [["lenet55"], ["28x28x1"], ["28x28x1", "konv:3"], ["lenet5", "relu"]], ids=str)
def test_a_wrong_model_has_the_text_of_the_command(arguments):
    with pytest.raises(cnncli.CnnError) as failure:
        cnncli.model(*arguments)
    expect_error(run_cnn("params", *arguments, "-q", "--format", "csv"), failure.value.exit_code, str(failure.value))


def test_importing_the_package_model_does_not_hide_the_function():
    program = (
        "import cnncli.model.sources, cnncli\n"
        "from cnncli.model import Model\n"
        "assert cnncli.model('lenet5').parameters == 61706\n"
        "assert cnncli.model('lenet5').name == 'lenet5'\n"
        "assert Model.__module__ == 'cnncli.model.network'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'fliter'"):
        _ = cnncli.fliter


def test_predict_answers_as_the_command(run_directory):
    network = cnncli.load(run_directory / "run")
    lines = run_cnn("predict", run_directory / "run", *pictures(run_directory), "--json", "--probs").out.splitlines()
    expected = [json.loads(line) for line in lines]
    by_path = network.predict(pictures(run_directory))
    arrays = [np.asarray(Image.open(path)) for path in pictures(run_directory)]
    by_array = network.predict(arrays)
    assert [p.label for p in by_path] == [row["label"] for row in expected]
    assert [p.index for p in by_path] == [row["index"] for row in expected]
    for answer, same, row in zip(by_path, by_array, expected, strict=True):
        assert answer.probs.tobytes() == same.probs.tobytes()
        assert list(row["probs"].values()) == pytest.approx(answer.probs.tolist(), abs=1e-6)
    assert network.classes == tuple("0123456789")
    assert by_path[0].probs.tobytes() == network.predict(Path(pictures(run_directory)[0]))[0].probs.tobytes()


def test_an_array_of_four_axes_is_many_pictures(run_directory):
    network = cnncli.load(run_directory / "run" / "best.safetensors")
    batch = np.random.default_rng(0).integers(0, 256, (70, 8, 8, 1), np.uint8)
    together = network.predict(batch)
    alone = [network.predict(batch[i])[0] for i in (0, 63, 64, 69)]
    assert len(together) == 70
    assert [together[i].probs.tobytes() for i in (0, 63, 64, 69)] == [one.probs.tobytes() for one in alone]
    assert network.predict([]) == []


def test_what_cannot_be_predicted_is_refused_by_name(run_directory):
    network = cnncli.load(run_directory / "run")
    with pytest.raises(cnncli.CnnError, match=r"^missing\.png: "):
        network.predict(["missing.png"])
    with pytest.raises(cnncli.InvalidInputError, match=r"^picture 1: "):
        network.predict([np.zeros((8, 8)), np.zeros(8)])
    with pytest.raises(cnncli.UsageError, match="--invert"):
        network.predict(np.zeros((8, 8)), invert="maybe")
    with pytest.raises(cnncli.InvalidInputError, match="no_run"):
        cnncli.load("no_run")


PROGRAM = """
from pathlib import Path

import numpy as np

import cnncli

edges = cnncli.filter(np.zeros((8, 8, 3), np.uint8), "gaussian:1.5", "sobel", border="reflect", stride=(1, 2))
rows, columns = edges.shape[:2]
network = cnncli.model("lenet5", classes=7)
table: str = network.summary(formula=True)
trained = cnncli.load(Path("runs/x"))
labels: list[str] = [answer.label for answer in trained.predict(["a.png", edges])]
for event in cnncli.train("lenet5", "mnist", epochs=3, shuffle=False):
    print(event)
try:
    cnncli.model("28x28x1", "conv:5")
except cnncli.CnnError as error:
    print(int(error.exit_code), error.where, error.hint)
"""
WRONG = {
    'cnncli.filter(image, "sobel", boarder="zero")': "call-arg",
    'cnncli.filter(image, "sobel", stride="2x2")': "arg-type",
    'cnncli.modell("lenet5")': "attr-defined",
    'cnncli.load("x").summry()': "attr-defined",
}


@pytest.mark.slow
def test_a_program_passes_mypy_in_strict_mode_and_slips_do_not(tmp_path):
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed (pip install '.[dev]')")
    (tmp_path / "good.py").write_text(PROGRAM)
    slips = "".join(f"{line}\n" for line in WRONG)
    (tmp_path / "wrong.py").write_text(f"import numpy as np\nimport cnncli\nimage = np.zeros((3, 3))\n{slips}")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "good.py", "wrong.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if " error: " in line]
    assert [line.rpartition("[")[2].rstrip("]") for line in lines] == list(WRONG.values()), done.stdout
    assert all(line.startswith("wrong.py") for line in lines)
