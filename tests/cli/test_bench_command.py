"""`cnn bench`: the plan as a table and JSON, both speeds, refusals."""

from command_line import expect_error, run_cnn

from cnncli.engine.layout import session_bytes
from cnncli.model import load_model
from cnncli.optim.optimizers import Recipe


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


def test_speeds_are_measured():
    body = run_cnn("bench", "digits", "-b", "16", "-j", "1", "--json").json
    assert body["train_images_per_s"] > 0
    assert body["infer_images_per_s"] > 0


def test_refusals():
    expect_error(run_cnn("bench", "digits", "--predict"), 2, "--plan")
    expect_error(run_cnn("bench", "lenet6", "--plan"), 3, "lenet5")
    expect_error(run_cnn("bench", "digits", "--format", "csv"), 2, "--json")
