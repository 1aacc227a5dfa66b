"""Checkpoints come back exactly, are the same bytes every time, and never trust a number in a file."""

import hashlib
import json
import struct
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cnncli.errors import InvalidInputError
from cnncli.io.checkpoint import Checkpoint, check_parameters, read_checkpoint, write_checkpoint
from cnncli.io.datasets import Placement
from cnncli.io.preprocessing import Preprocessing
from cnncli.io.safetensors_file import parse, serialise

PREPROCESSING = Preprocessing((1, 28, 28), (0.1,), (0.3,), True, Placement(20, "mass"))


def example(**changes):
    values = {
        "parameters": {"conv1/weight": np.arange(6, dtype=np.float32).reshape(2, 3).T, "conv1/bias": np.ones(3, "f4")},
        "architecture": "input: [28, 28, 1]\nlayers: []  # é\n",
        "classes": ("cat", "dog\n\x1b[31m", "ü"),
        "preprocessing": PREPROCESSING,
        "training": {"epoch": 3, "lr": 0.002, "history": [{"loss": 0.5}]},
        "optimizer": {"m": np.zeros(9, np.float32), "step": np.array([7], np.int64)},
    }
    return Checkpoint(**values | changes)


def test_round_trip(tmp_path):
    write_checkpoint(tmp_path / "a.safetensors", example())
    back = read_checkpoint(tmp_path / "a.safetensors")
    for name in ("architecture", "classes", "preprocessing", "training"):
        assert getattr(back, name) == getattr(example(), name)
    for name, array in example().parameters.items():
        assert np.array_equal(back.parameters[name], array)
    assert back.optimizer["step"].tolist() == [7]
    assert back.optimizer["m"].dtype == np.float32


def test_other_programs_read_it(tmp_path):
    write_checkpoint(tmp_path / "a.safetensors", example())
    tensors = safetensors.numpy.load_file(tmp_path / "a.safetensors")
    assert np.array_equal(tensors["conv1/weight"], example().parameters["conv1/weight"])


def test_a_large_checkpoint_is_written_without_copies_and_in_parts(tmp_path, monkeypatch):
    """The peak of memory while it is written is far below its size; the size of the parts changes no byte."""
    parameters = {name: np.random.default_rng(0).normal(size=(999, 1001)).astype("f4") for name in ("a", "b")}
    large = example(parameters=parameters, optimizer={"m": np.ones(1001, np.float32), "none": np.zeros(0)})
    tracemalloc.start()
    write_checkpoint(tmp_path / "whole.safetensors", large)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 999 * 1001
    monkeypatch.setattr("cnncli.io.atomic._MOST_PER_WRITE", 12_345)
    monkeypatch.setattr("cnncli.io.safetensors_file._MOST_AT_A_TIME", 7_777)
    write_checkpoint(tmp_path / "parts.safetensors", large)
    data = (tmp_path / "whole.safetensors").read_bytes()
    assert (tmp_path / "parts.safetensors").read_bytes() == data
    tensors, metadata = parse(data, "whole")
    assert serialise(tensors, {key: text for key, text in metadata.items() if key != "file_sha256"}) == data
    by_library = safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in tensors.items()})
    assert by_library[8 + int.from_bytes(by_library[:8], "little") :] == data[8 + int.from_bytes(data[:8], "little") :]


def test_a_large_checkpoint_needs_no_thread(tmp_path, monkeypatch):
    large = example(parameters={"a": np.ones((999, 1001), np.float32)})
    write_checkpoint(tmp_path / "a.safetensors", large)

    def refuse(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", refuse)
    write_checkpoint(tmp_path / "b.safetensors", large)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_bytes_do_not_depend_on_the_process():
    program = (
        "import sys, numpy as np\nfrom cnncli.io.safetensors_file import serialise\n"
        "meta = {k: k for k in 'qwertyuiopasdfghjkl'}\n"
        "sys.stdout.buffer.write(serialise({'b': np.ones(3), 'a': np.zeros((2, 2), 'f4')}, meta))"
    )
    first, second = (subprocess.run([sys.executable, "-c", program], capture_output=True).stdout for _ in range(2))
    assert first == second
    assert parse(first, "file")[1]["q"] == "q"


arrays = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.dtype(">f4")]),
    hnp.array_shapes(min_dims=0, max_dims=4, max_side=5),
)


@given(st.dictionaries(st.text(min_size=1, max_size=8), arrays, max_size=5), st.integers(0, 3))
def test_any_array_in_any_memory_order_comes_back(tensors, axes):
    turned = {name: array.T if axes % 2 else array[::-1] if array.ndim else array for name, array in tensors.items()}
    turned.pop("__metadata__", None)
    back, _ = parse(serialise(turned, {"k": "v"}), "file")
    assert set(back) == set(turned)
    for name, array in turned.items():
        assert back[name].shape == array.shape
        assert back[name].tobytes() == np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes()


GOOD = serialise({"w": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.zeros(3, np.float32)}, {"k": "v"})


@st.composite
def damaged(draw):
    data = bytearray(GOOD)
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(["cut", "flip", "insert", "length"]))
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        if kind == "cut":
            del data[place:]
        elif kind == "flip" and data:
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "insert":
            data[place:place] = draw(st.binary(max_size=9))
        elif kind == "length":
            data[:8] = struct.pack("<Q", draw(st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**63, max(len(data) - 8, 0)])))
    return bytes(data)


@settings(max_examples=500)
@given(damaged())
def test_any_damage_is_refused_or_harmless(data):
    try:
        tensors, metadata = parse(data, "file")
    except InvalidInputError as error:
        text = str(error)
        assert data != GOOD, text
        assert text.startswith("file: "), text
        return
    if (
        "file_sha256" in metadata
    ):  # without it, read_checkpoint refuses; else only the free text of the header can differ
        assert tensors == {} or [array.tobytes() for array in tensors.values()] == [
            array.tobytes() for array in parse(GOOD, "file")[0].values()
        ]


def test_every_bit_of_a_checkpoint_is_checked(tmp_path):
    """One flipped bit anywhere: weights, offsets, architecture, class names, mean, the digest itself, padding."""
    write_checkpoint(tmp_path / "a.safetensors", example())
    data = (tmp_path / "a.safetensors").read_bytes()
    accepted = []
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        (tmp_path / "b.safetensors").write_bytes(changed)
        try:
            read_checkpoint(tmp_path / "b.safetensors")
        except InvalidInputError:
            continue
        accepted.append(bit)
    assert accepted == []


def test_a_class_name_that_stands_twice_is_refused(tmp_path):
    write_checkpoint(tmp_path / "a.safetensors", example(classes=("cat", "dog", "cat")))
    with pytest.raises(InvalidInputError, match="class name 'cat' stands twice"):
        read_checkpoint(tmp_path / "a.safetensors")


def test_numbers_that_json_does_not_know_are_neither_written_nor_read(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_checkpoint(tmp_path / "a.safetensors", example(training={"val_loss": float("nan")}))
    write_checkpoint(tmp_path / "a.safetensors", example(training={"val_loss": "VALUE"}))
    tensors, metadata = parse((tmp_path / "a.safetensors").read_bytes(), "a")
    metadata["training"] = metadata["training"].replace('"VALUE"', "NaN")
    (tmp_path / "a.safetensors").write_bytes(serialise(tensors, metadata))
    with pytest.raises(InvalidInputError, match="NaN is not a number of JSON"):
        read_checkpoint(tmp_path / "a.safetensors")


def old_format(data, digest):
    """The file as format 1 stored it: a SHA-256 of the tensors alone."""
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"].pop("file_sha256")
    header["__metadata__"] |= {"format": "cnncli 1", "sha256": digest(data[8 + size :])}
    return container(header, data[8 + size :])


def test_checkpoints_of_format_1_are_read_and_their_weights_checked(tmp_path):
    write_checkpoint(tmp_path / "a.safetensors", example())
    data = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "old.safetensors").write_bytes(old_format(data, lambda body: hashlib.sha256(body).hexdigest()))
    assert read_checkpoint(tmp_path / "old.safetensors").classes == example().classes
    (tmp_path / "old.safetensors").write_bytes(old_format(data, lambda body: hashlib.sha256(body[1:]).hexdigest()))
    with pytest.raises(InvalidInputError, match="the weights are damaged"):
        read_checkpoint(tmp_path / "old.safetensors")


def container(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}, "needs 8 B, its offsets span 4 B"),
        ({"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}, "begins at byte 4, expected 0"),
        ({"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}, "impossible offsets"),
        ({"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}, "has type 'BF16'"),
        ({"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}, "impossible shape"),
        ({"dtype": "F32", "shape": [0, 2**60], "data_offsets": [0, 0]}, "impossible shape"),
        ({"dtype": "F32", "shape": [1] * 9, "data_offsets": [0, 4]}, "impossible shape"),
        ({"dtype": "F32", "shape": [1]}, "not described"),
        ({"dtype": "F32", "shape": [1], "data_offsets": [0, 4], "more": 1}, "not described"),
        ([1], "not described"),
    ],
)
def test_entries_that_do_not_fit(entry, text):
    with pytest.raises(InvalidInputError, match=text):
        parse(container({"w": entry}, b"1234"), "file")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "file is empty"),
        (b"1234567", "not a checkpoint"),
        (container([1]), "not a table"),
        (container(b"{"), "cannot be read"),
        (container(b'{"a": 1, "a": 2}'), "'a' twice"),
        (container({"__metadata__": {"a": 1}}), "not a table of texts"),
        (container({}, b"x"), "header declares"),
        (struct.pack("<Q", 2**63) + b"{}", "the limit is 16777216 B"),
    ],
)
def test_headers_that_are_wrong(data, text):
    with pytest.raises(InvalidInputError, match=text):
        parse(data, "file")


def test_a_header_of_640_bytes_is_not_taken_for_a_pickle():
    text = b'{"__metadata__":{"a":"'
    header = text + b"x" * (640 - len(text) - 3) + b'"}}'
    assert container(header)[:2] == b"\x80\x02"
    assert parse(container(header), "file")[0] == {}


def test_a_run_directory_stands_for_its_best_checkpoint(tmp_path):
    with pytest.raises(InvalidInputError, match=r"holds no best\.safetensors"):
        read_checkpoint(tmp_path)
    write_checkpoint(tmp_path / "best.safetensors", example())
    assert read_checkpoint(tmp_path).classes == example().classes


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ({"conv1/weight": (3, 2)}, "conv1/bias is not in the architecture"),
        ({"conv1/weight": (2, 3), "conv1/bias": (3,)}, "conv1/weight is 3x2, expected 2x3"),
        (
            dict.fromkeys("abcd", (1,)),
            "a is missing, b is missing, c is missing and 3 more",
        ),
    ],
)
def test_parameters_must_be_those_of_the_architecture(expected, text):
    with pytest.raises(InvalidInputError, match=text):
        check_parameters(example(), expected, "file")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"shape": [1, 28]}, "three sizes"),
        ({"shape": [1, 0, 28]}, "three sizes"),
        ({"shape": [1, 28, True]}, "three sizes"),
        ({"mean": [0.1, 0.2]}, "one number per channel"),
        ({"std": [0.0]}, "one number per channel"),
        ({"std": [float("nan")]}, "one number per channel"),
        ({"light_on_dark": 1}, "true or false"),
        ({"placement": {"box": 29, "centre": "mass"}}, "box is 29"),
        ({"placement": {"box": 20, "centre": "left"}}, "a box and a centre"),
    ],
)
def test_preprocessing_is_checked(change, text):
    with pytest.raises(ValueError, match=text):
        Preprocessing.from_json(PREPROCESSING.to_json() | change)


def test_preprocessing_round_trip():
    assert Preprocessing.from_json(json.loads(json.dumps(PREPROCESSING.to_json()))) == PREPROCESSING
