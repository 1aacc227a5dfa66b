"""Every file in samples/ is used: run, read, or drawn again; a file that nobody runs fails this test."""

import fnmatch
import gzip
import importlib.util
import json
import shutil
import struct
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "samples"
CNN = Path(sys.executable).with_name("cnn")
ALL = sorted(path.relative_to(SAMPLES).as_posix() for path in SAMPLES.rglob("*") if path.is_file())
ALL = [name for name in ALL if "__pycache__" not in name]

# pattern -> how the files are run; {file} is the sample. The first pattern that fits counts.
COMMANDS = {
    "*.yaml": ["params", "{file}"],
    "*.png": ["filter", "{file}", "-k", "sobel", "-o", "out.png"],
    "*matrix*.txt": ["filter", "{file}", "-k", "sharpen", "-p", "1", "--print"],
    "*kernels/*.json": ["filter", str(SAMPLES / "matrix-cs231n.txt"), "-k", "@{file}", "-p", "1", "-s", "2", "--print"],
    "*kernel*": ["filter", str(SAMPLES / "img.png"), "-k", "@{file}", "-o", "out.png"],
}
SCRIPTS = {"export_digits.py", "draw_img.py", "from-python.ipynb"}  # tests below


def rule(name: str) -> str | None:
    return next((pattern for pattern in COMMANDS if fnmatch.fnmatch(name, pattern)), None)


def cnn(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([CNN, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=600)


def test_every_sample_is_used():
    assert [name for name in ALL if name not in SCRIPTS and rule(name) is None] == []


@pytest.mark.parametrize("name", [name for name in ALL if name not in SCRIPTS])
def test_sample_runs(name, tmp_path):
    arguments = [word.replace("{file}", str(SAMPLES / name)) for word in COMMANDS[rule(name)]]
    done = cnn(arguments, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "out.png" not in arguments or (tmp_path / "out.png").stat().st_size > 0


def script(name: str):
    spec = importlib.util.spec_from_file_location(Path(name).stem, SAMPLES / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_export_digits_writes_the_format_of_the_bundled_files():
    images = gzip.decompress((files("cnncli") / "data" / "digits-images-idx3-ubyte.gz").read_bytes())
    array = np.frombuffer(images, np.uint8, offset=16).reshape(1797, 8, 8)
    assert struct.unpack(">BBBBIII", images[:16]) == (0, 0, 8, 3, 1797, 8, 8)
    assert script("export_digits.py").idx_bytes(array) == images


@pytest.mark.peers
def test_export_digits_gives_the_bundled_bytes(tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn ships the originals")
    script("export_digits.py").main(tmp_path)
    for part in ("images-idx3", "labels-idx1"):
        name = f"digits-{part}-ubyte.gz"
        assert (tmp_path / name).read_bytes() == (files("cnncli") / "data" / name).read_bytes()


def test_the_picture_is_what_its_script_draws():
    drawn = np.asarray(script("draw_img.py").draw_picture())
    kept = np.asarray(Image.open(SAMPLES / "img.png"))
    assert drawn.shape == kept.shape
    # fonts may differ between machines, the rest must not
    assert np.mean(drawn != kept) < 0.05


def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    notebook = json.loads((SAMPLES / "from-python.ipynb").read_text())
    monkeypatch.chdir(tmp_path)
    shutil.copy(SAMPLES / "img.png", tmp_path)
    names: dict = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    said = capsys.readouterr().out
    assert "total 61,706" in said
    assert "did you mean sobel?" in said
    assert names["edges"].shape == (512, 512)
    assert names["responses"].shape == (512, 512, 6)
    assert len(names["losses"]) == 3
    assert names["losses"][2] < names["losses"][0]
    assert names["answer"].label in names["network"].classes
    # nothing of a run is kept in the file
    assert all(not cell.get("outputs") for cell in notebook["cells"])
