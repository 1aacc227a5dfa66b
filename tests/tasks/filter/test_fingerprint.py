"""What a batch takes for finished: the same numbers and options, and outputs as they were written."""

import json
import os
import subprocess
from dataclasses import fields, replace
from fractions import Fraction

import numpy as np
import pytest
from faults.installed import CNN
from PIL import Image as Pillow

from cnncli.filtering.plan import FilterPlan
from cnncli.filters.borders import Border
from cnncli.filters.steps import GrayStep, PointStep, PoolStep, parse_steps
from cnncli.io.checkpoint import read_checkpoint
from cnncli.tasks.filter import fingerprint as fingerprinting
from cnncli.tasks.filter.fingerprint import describe, fingerprint
from cnncli.tasks.filter.options import KEEPS_RESULT, FileOptions

PLAN = FilterPlan(parse_steps(["0 1 0; 1 2 1; 0 1 0"]))
# another value for every option
OTHER_FILES = {
    "exif": False,
    "frame": 1,
    "all_frames": True,
    "max_pixels": 7,
    "alpha": "drop",
    "nan_to": 0.0,
    "overwrite": True,
    "make_folders": True,
    "skip_existing": True,
    "level": 9,
    "quality": 50,
    "stream_name": "stdout.tif",
    "compare": True,
    "split_channels": True,
    "grid": True,
    "precision": 2,
    "align": True,
    "threads": 3,
    "workers": 2,
    "sync_folders": False,
    "fail_fast": True,
}
OTHER_PLANS = {
    "steps": parse_steps(["sobel"]),
    "flip": True,
    "padding": (1, 0, 0, 0),
    "border": Border("constant", 3.0),
    "stride": (1, 2),
    "dilation": (2, 1),
    "scale": Fraction(1, 3),
    "bias": (1.0,),
    "range": "minmax",
    "dtype": "uint16",
    "gray": "mean",
    "channels": (0,),
    "convention": "opencv",
}


@pytest.mark.parametrize("name", [field.name for field in fields(FileOptions)])
def test_a_file_option_counts_unless_it_is_marked(name):
    marked = next(field for field in fields(FileOptions) if field.name == name).metadata.get(KEEPS_RESULT, False)
    changed = replace(FileOptions(), **{name: OTHER_FILES[name]})
    assert changed != FileOptions()
    assert (fingerprint(PLAN, changed) == fingerprint(PLAN, FileOptions())) is marked
    assert (name in describe(PLAN, changed)) is not marked


def test_only_these_options_are_marked():
    """Each was looked at: the bytes of a result do not depend on it. Standard output is never taken for finished."""
    marked = {field.name for field in fields(FileOptions) if field.metadata.get(KEEPS_RESULT)}
    assert marked == {
        *("max_pixels", "overwrite", "make_folders", "skip_existing", "stream_name", "align"),
        *("threads", "workers", "sync_folders", "fail_fast"),
    }


@pytest.mark.parametrize("name", [field.name for field in fields(FilterPlan)])
def test_every_option_of_the_plan_counts(name):
    changed = replace(PLAN, **{name: OTHER_PLANS[name]})
    assert fingerprint(changed, FileOptions()) != fingerprint(PLAN, FileOptions())
    json.dumps(describe(changed, FileOptions()))


def test_steps_of_every_kind_count():
    steps = [(PointStep("clip", (0.0, np.inf)),), (PoolStep("maxpool", (2, 2), (2, 2)),), (GrayStep("mean"),), ()]
    steps += [(parse_steps(["sobel"])[0], *tail) for tail in steps]
    names = {fingerprint(FilterPlan(tuple(chain)), FileOptions()) for chain in steps}
    assert len(names) == len(steps)


def test_one_number_of_a_kernel_counts():
    texts = ["0 1 0; 1 2 1; 0 1 0", "0 1 0; 1 2 1; 0 1 1e-9", "1/7 * 0 1 0; 1 2 1; 0 1 0", "0 1 0 1 2 1 0 1 0"]
    names = {fingerprint(FilterPlan(parse_steps([text])), FileOptions()) for text in texts}
    assert len(names) == len(texts)
    assert fingerprint(FilterPlan(parse_steps(texts[:1])), FileOptions()) == fingerprint(PLAN, FileOptions())


def test_a_manifest_tells_people_what_is_not_at_its_default():
    assert describe(replace(PLAN, bias=(0.0,)), FileOptions()) == {"kernel": ["literal"]}
    told = describe(replace(PLAN, padding=(1, 0, 0, 0), border=Border("constant", 3.0)), FileOptions(exif=False))
    assert told == {"kernel": ["literal"], "padding": "1,0,0,0", "border": "constant:3", "exif": False}


def test_defaults_that_depend_on_the_pixels_count(monkeypatch):
    """A default that changes from one version of the program to the next is seen."""
    before = fingerprint(PLAN, FileOptions())
    assert fingerprint(PLAN, FileOptions()) == before

    def later(plan, dtype, real=fingerprinting.resolve_plan):
        resolved = real(plan, dtype)
        return replace(resolved, rounding="half_up") if dtype == np.uint16 else resolved

    monkeypatch.setattr(fingerprinting, "resolve_plan", later)
    assert fingerprint(PLAN, FileOptions()) != before


# the installed program


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        pixels = np.random.default_rng(ord(name)).integers(0, 256, (9, 8), np.uint8)
        Pillow.fromarray(pixels).save(f"{name}.png")
    return tmp_path


def again(*kernel):
    command = [CNN, "filter", "a.png", "b.png", "-k", *kernel, "-o", "o/{stem}.png"]
    done = subprocess.run(
        [*command, "--manifest", "m.jsonl", "--skip-existing"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_kernel_file_that_changed_is_filtered_again(folder):
    (folder / "k.txt").write_text("0 0 0\n0 1 0\n0 0 0\n")
    again("@k.txt")
    assert "2 skipped" in again("@k.txt")
    before = (folder / "o/a.png").read_bytes()
    (folder / "k.txt").write_text("0 0 0\n0 0 1\n0 0 0\n")
    assert "skipped" not in again("@k.txt")
    assert (folder / "o/a.png").read_bytes() != before


def test_a_checkpoint_that_changed_is_filtered_again(folder):
    subprocess.run([CNN, "train", "-d", "digits", "-e", "1", "--limit", "64", "-q", "--run-dir", "m"], check=True)
    layer = next(name for name, array in read_checkpoint("m").parameters.items() if array.ndim == 4)
    kernel = f"m:{layer.removesuffix('/weight')}[0]"
    again(kernel)
    assert "2 skipped" in again(kernel)
    subprocess.run(
        [CNN, "train", "-d", "digits", "-e", "1", "--limit", "64", "-q", "--run-dir", "m", "--seed", "5", "--force"],
        check=True,
    )
    assert "skipped" not in again(kernel)


def test_an_output_of_another_size_is_written_again(folder):
    again("box")
    whole = (folder / "o/a.png").read_bytes()
    (folder / "o/a.png").write_bytes(whole[:-1])
    assert "1 skipped" in again("box")
    assert (folder / "o/a.png").read_bytes() == whole
    os.unlink("o/b.png")
    assert "1 skipped" in again("box")
    assert "2 skipped" in again("box")


def test_decimals_of_text_count(folder):
    command = [CNN, "filter", "a.png", "-k", "box", "--range", "raw", "-o", "o/{stem}.csv"]
    command += ["--manifest", "m.jsonl", "--skip-existing"]
    subprocess.run(command, check=True, capture_output=True)
    whole = (folder / "o/a.csv").read_bytes()
    subprocess.run([*command, "--precision", "1"], check=True, capture_output=True)
    assert (folder / "o/a.csv").read_bytes() != whole
