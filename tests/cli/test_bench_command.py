"""`cnn bench`: the plan as a table and JSON, the times of layers, refusals."""

from math import prod

import pytest
from command_line import expect_error, run_cnn

from cnncli.compute.host import LANES
from cnncli.engine.layout import session_bytes
from cnncli.model import load_model
from cnncli.optim.optimizers import Recipe
from cnncli.tasks.bench import speed


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch):
    monkeypatch.setattr(speed, "_SECONDS", 0.02)


def test_the_plan_names_every_phase_and_the_bytes_of_the_session():
    body = run_cnn("bench", "resnet20-cifar", "--batch", "40", "--threads", "2", "--plan", "--json").json
    steps = body["steps"]
    assert body["phases"] == 1 + max(step["phase"] for step in steps)
    assert {step["scope"] for step in steps} == {"block", "batch"}
    assert any("relu" in step["name"] and "forward" in step["name"] for step in steps)
    model = load_model("resnet20-cifar")
    assert body["session_bytes"] == session_bytes(model, batch_size=40, threads=2, recipe=Recipe("adam"))
    text = run_cnn("bench", "resnet20-cifar", "--batch", "40", "--threads", "2", "--plan").out
    assert f"{len(steps)} steps in {body['phases']} phases" in text


def test_many_threads_find_work_in_one_block_of_images():
    body = run_cnn("bench", "vgg16", "-b", "16", "-j", "64", "--plan", "--json").json
    heavy = [step for step in body["steps"] if "conv" in step["name"] and step["name"].split()[1] in ("forward", "dx")]
    assert len(heavy) == 25  # of 13 convolutions; nobody asks for the gradient of the images
    assert all(step["tasks"] >= 8 for step in heavy)
    few = run_cnn("bench", "vgg16", "-b", "16", "-j", "1", "--plan", "--predict", "--json").json
    assert few["phases"] == 1


def test_every_layer_and_pass_is_timed_beside_the_peak():
    body = run_cnn("bench", "digits", "-b", "20", "-j", "2", "--json").json
    assert [rate["threads"] for rate in body["scaling"]] == [1, 2]
    assert body["scaling"][-1]["train_images_per_s"] == body["train_images_per_s"] > 0
    assert body["infer_images_per_s"] > 0
    found = {(layer["name"], layer["pass"]): layer for layer in body["layers"]}
    model = load_model("digits")
    for node in model.nodes[:-1]:
        if node.macs:
            for which in ("forward", "dweight", "dx"):
                if (node.name, which) == ("conv1", "dx"):
                    assert (node.name, which) not in found  # nobody asks for the gradient of the images
                    continue
                layer = found[node.name, which]
                if layer["gflops"] is None:
                    assert layer["ms"] == 0  # too short beside waking the threads
                    continue
                assert layer["gflops"] * layer["ms"] == pytest.approx(2 * node.macs * 20 / 1e6)
                assert layer["peak_share"] == pytest.approx(layer["gflops"] / body["peak_gflops"])
    assert found["conv2", "forward"]["gflops"] > 0
    conv = model.nodes[0]
    images = -(-20 // LANES) * LANES  # padding is computed, too
    numbers = sum(map(prod, (*conv.in_shapes, conv.out_shape)))
    assert found["conv1", "forward"]["bytes"] == 4 * (images * numbers + conv.trainable)
    assert found["conv1", "forward"]["absorbed"] == ["relu"]
    assert {"images", "loss", "optimizer"} <= {name for name, _ in found}


def test_the_layers_of_prediction_are_those_of_its_plan():
    out = run_cnn("bench", "digits", "-b", "16", "-j", "1", "--predict").out
    assert "conv1 + relu" in out
    assert "dweight" not in out
    assert "1 thread: training " in out
    assert all(len(line) <= 80 for line in out.splitlines())


def test_units_of_binary_cross_entropy_and_no_parameters(tmp_path):
    for name, layers in {"units": "dense: 3, sigmoid", "one": "dense: {units: 1, activation: sigmoid}"}.items():
        (tmp_path / name).write_text(f"{{cnn: 1, name: {name}, input: [3, 3, 1], layers: [flatten, {layers}]}}")
        assert run_cnn("bench", tmp_path / name, "-b", "8", "-j", "1", "--json").json["train_images_per_s"] > 0


def test_refusals():
    expect_error(run_cnn("bench", "lenet6", "--plan"), 3, "lenet5")
    expect_error(run_cnn("bench", "unet"), 3, "vector")
    expect_error(run_cnn("bench", "vgg19", "-b", "65536"), 1, "GiB")
