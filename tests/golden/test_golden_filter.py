"""Filters, pools, activations and kernels of the worked examples, through the command line."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from command_line import run_cnn

from cnncli.filters import named_kernel

CASES = json.loads((Path(__file__).parent / "worked_examples.json").read_text())
BY_ID = {case["id"]: case for case in CASES}
MINE = (
    "filter2d", "filter2d_at", "window_dot", "conv_layer", "conv_layer_at", "conv_relu_pool", "conv1d", "pool2d",
    "pool3", "pool_reduction", "activation", "classify_binary", "kernel", "flip", "equalize_hist", "grayscale", "gabor",
)  # fmt: skip
#: read elsewhere: cnn shape and cnn params (test_golden_architecture), training (test_golden_training and the engine)
ELSEWHERE = (
    "out_shape", "count_params", "volume", "ratio", "model", "same_padding", "padding_mode", "pixels_lost", "coverage",
    "format_shape", "output_units", "flatten", "pad", "pad3", "fit_steps", "optimizer_step", "glorot_uniform_limit",
    "softmax", "softmax_rounded_sum", "batchnorm", "batchnorm_moving", "dropout_scale", "loss", "relu_backward",
    "leaky_relu_grad", "property",
)  # fmt: skip
PROPERTIES = (
    "conv_commutative", "relu_maxpool_commute", "kernel_relations", "conv_equals_xcorr_flipped",
    "symmetric_kernel_conv_equals_xcorr", "transpose_relation", "activation_ranges", "gray_range", "linear_collapse",
    "sparsity_receptive_field",
)  # fmt: skip


def of(*ops):
    return [pytest.param(case, id=case["id"]) for case in CASES if case["input"]["op"] in ops]


def matrix(planes):
    """Return (C, H, W) or (H, W) as the text that `cnn filter -` reads."""
    array = np.array(planes, dtype=float)
    array = array[None] if array.ndim == 2 else array
    return "\n\n".join("\n".join(" ".join(repr(float(v)) for v in row) for row in plane) for plane in array) + "\n"


def literal(kernel):
    return "; ".join(" ".join(repr(float(v)) for v in row) for row in np.atleast_2d(np.array(kernel, dtype=float)))


def numbers(text):
    """Return what was printed as (C, H, W)."""
    return np.array([[[float(v) for v in row.split()] for row in block.splitlines()] for block in text.split("\n\n")])


def run_filter(image, *arguments):
    result = run_cnn("filter", "-", *arguments, "--print", "--precision", "17", stdin=matrix(image))
    assert result.code == 0, result.err
    return numbers(result.out)


def check(answer, case):
    expected = np.array(case["expected"], dtype=float)
    np.testing.assert_allclose(answer.reshape(expected.shape), expected, rtol=0, atol=case["tol"] or 1e-12)


def options(given):
    words = ["-p", ",".join(map(str, p)) if isinstance(p := given.get("padding", 0), list) else str(p)]
    words += ["-s", str(given.get("stride", 1)), "--bias", str(given.get("bias", 0))]
    words += ["--flip"] if given["method"] == "convolution" else ["--no-flip"]
    border = given.get("border", "constant")
    return [*words, "--border", "zero" if border == "constant" else border]


@pytest.mark.parametrize("case", of("filter2d", "filter2d_at"))
def test_filter(case):
    given = case["input"]
    steps = ["-k", literal(given["kernel"])]
    ending = []
    for post in given.get("post", []):
        if post == "clip255":
            ending = ["--range", "clip"]
        else:
            steps += ["-k", post]
    answer = run_filter(given["image"], *steps, *options(given), *ending)[0]
    if "crop" in given:
        answer = answer[: given["crop"][0], : given["crop"][1]]
    check(answer[tuple(given["at"])] if "at" in given else answer, case)


@pytest.mark.parametrize("case", of("window_dot"))
def test_one_window(case):
    given = case["input"]
    check(run_filter(given["window"], "-k", literal(given["kernel"]), *options(given)), case)


@pytest.mark.parametrize("case", of("conv1d"))
def test_convolution_of_sequences(case):
    given = case["input"]
    assert (given["mode"], given["method"]) == ("full", "convolution")
    check(run_filter([given["f"]], "-k", literal([given["g"]]), "-p", "full", "--flip"), case)


@pytest.mark.parametrize("case", of("conv_layer", "conv_layer_at", "conv_relu_pool"))
def test_convolution_layer(case, tmp_path):
    given = case["input"]
    bank = tmp_path / "bank.json"
    bank.write_text(json.dumps({"weights": given["weights"], "bias": given["biases"]}))
    steps = ["-k", f"@{bank}"]
    if case["input"]["op"] == "conv_relu_pool":
        steps += ["-k", "relu", "-k", f"maxpool:{given['pool_size']},s={given['pool_stride']}"]
    answer = run_filter(given["x"], *steps, *options({"method": "correlation", **given}))
    check(answer[tuple(given["at"])] if "at" in given else answer, case)


@pytest.mark.parametrize("case", of("pool2d", "pool3"))
def test_pool(case):
    given = case["input"]
    image = given.get("image", given.get("x"))
    check(run_filter(image, "-k", f"{given['mode']}pool:{given['size']},s={given['stride']}"), case)


@pytest.mark.parametrize("case", of("pool_reduction"))
def test_pool_reduction(case):
    given, expected = case["input"], case["expected"]
    image = np.arange(math.prod(given["input"]), dtype=float).reshape(given["input"])
    answer = run_filter(image, "-k", f"maxpool:{given['size']},s={given['stride']}")
    assert answer.size == expected["output_values"]
    assert image.size / answer.size == pytest.approx(expected["factor"], abs=1e-12)


@pytest.mark.parametrize("case", of("activation"))
def test_activation(case):
    given = case["input"]
    name = given["name"]
    if name in ("prelu", "leaky_relu"):
        name = f"{name}:{next(iter(given['params'].values()))}"
    elif name in ("linear", "identity"):
        name = "1"
    check(run_filter(given["x"] if np.ndim(given["x"]) > 1 else [given["x"]], "-k", name), case)


@pytest.mark.parametrize("case", of("classify_binary"))
def test_decision(case):
    check(run_filter([case["input"]["probs"]], "-k", f"threshold:{case['input']['threshold']},1"), case)


@pytest.mark.parametrize("case", of("kernel"))
def test_named_kernel(case):
    name, expected = case["input"]["name"], case["expected"]
    body = run_cnn("kernels", name, "--json").json
    np.testing.assert_allclose(body["kernel"], expected["kernel"], atol=case["tol"] or 1e-15)
    assert body["sum"] == expected["sum"]
    answer = run_filter(np.full((5, 5), 10.0), "-k", name, "-p", "valid")
    assert np.all(answer == expected["response_to_constant_10"])


@pytest.mark.parametrize("case", of("flip"))
def test_flip(case):
    array, axes = case["input"]["array"], case["input"]["axes"]
    if axes == ["vertical", "horizontal"]:
        body = run_cnn("kernels", literal(array), "--flip", "--json").json
        assert body["kernel"] == case["expected"]
    else:
        # one point in the middle of zeros shows the kernel that was applied, turned by 180 degrees
        point = np.zeros((5, 5))
        point[2, 2] = 1
        applied = run_filter(point, "-k", literal(array), "--as", "pillow")[0, 1:4, 1:4][::-1, ::-1]
        assert axes == ["vertical"]
        assert applied.tolist() == case["expected"]


@pytest.mark.parametrize("case", of("equalize_hist"))
def test_equalised_histogram(case):
    check(run_filter(case["input"]["image"], "-k", "identity", "--range", "equalize"), case)


@pytest.mark.parametrize("case", of("grayscale"))
def test_gray(case):
    assert case["input"]["weights"] == [0.2125, 0.7154, 0.0721]
    planes = np.moveaxis(np.array(case["input"]["rgb"], float), 2, 0)
    check(run_filter(planes, "-k", "gray:bt709"), case)


@pytest.mark.parametrize("case", of("gabor"))
def test_gabor(case):
    g = case["input"]
    arguments = (
        f"{math.degrees(g['theta'])!r},{g['sigma']},{g['lambd']},{g['gamma']},{math.degrees(g['psi'])},{g['ksize']}"
    )
    body = run_cnn("kernels", f"gabor:{arguments}", "--json").json
    np.testing.assert_allclose(body["kernel"], case["expected"], atol=case["tol"])


def properties(name):
    return [pytest.param(c["input"], id=c["id"]) for c in CASES if c["input"].get("name") == name]


@pytest.mark.parametrize("given", properties("conv_commutative"))
def test_true_convolution_commutes(given):
    one = run_filter(given["f"], "-k", literal(given["g"]), "-p", "full", "--flip")
    other = run_filter(given["g"], "-k", literal(given["f"]), "-p", "full", "--flip")
    assert np.array_equal(one, other)
    assert not np.array_equal(one, run_filter(given["f"], "-k", literal(given["g"]), "-p", "full"))


@pytest.mark.parametrize("given", properties("relu_maxpool_commute"))
def test_relu_and_max_pooling_commute(given):
    pool = f"maxpool:{given['size']},s={given['stride']}"
    for steps in (("relu", pool), (pool, "relu")):
        answer = run_filter(given["image"], *(word for step in steps for word in ("-k", step)))
        np.testing.assert_allclose(answer[0], given["result"], atol=1e-12)


@pytest.mark.parametrize("given", properties("kernel_relations"))
def test_kernel_relations(given):
    for name in ("highpass", "sharpen", "edge"):
        np.testing.assert_allclose(named_kernel(name).weights[0, 0], given[name], atol=1e-15)


@pytest.mark.parametrize("given", properties("conv_equals_xcorr_flipped"))
def test_convolution_is_correlation_with_the_turned_kernel(given):
    turned = np.array(given["kernel"])[::-1, ::-1]
    one = run_filter(given["image"], "-k", literal(given["kernel"]), "--flip", "-p", "1")
    assert np.array_equal(one, run_filter(given["image"], "-k", literal(turned), "-p", "1"))


@pytest.mark.parametrize("given", properties("symmetric_kernel_conv_equals_xcorr"))
def test_symmetric_kernels_do_not_care(given):
    kernels = given["kernels"].values() if isinstance(given["kernels"], dict) else given["kernels"]
    for kernel in kernels:
        one = run_filter(given["image"], "-k", literal(kernel), "--flip")
        assert np.array_equal(one, run_filter(given["image"], "-k", literal(kernel)))


@pytest.mark.parametrize("given", properties("transpose_relation"))
def test_horizontal_kernel_on_the_turned_image(given):
    one = run_filter(given["image_a"], "-k", literal(given["a"]), "-p", "valid")[0]
    other = run_filter(given["image_b"], "-k", literal(given["b"]), "-p", "valid")[0]
    assert np.array_equal(one, other.T)


@pytest.mark.parametrize("given", properties("activation_ranges"))
def test_ranges_of_activations(given):
    for name in ("sigmoid", "tanh"):
        answer = run_filter([given["x"]], "-k", name)
        assert given[name][0] <= answer.min() <= answer.max() <= given[name][1]


@pytest.mark.parametrize("given", properties("gray_range"))
def test_gray_keeps_black_and_white(given):
    answer = run_filter([[[given["low"], given["high"]]]] * 3, "-k", "gray")
    np.testing.assert_allclose(answer[0, 0], [given["low"], given["high"]])


@pytest.mark.parametrize("given", properties("linear_collapse"))
def test_two_kernels_without_activation_are_one(given):
    one, two = literal(given["k1"]), literal(given["k2"])
    joined = run_filter(given["k1"], "-k", two, "-p", "full", "--flip")[0]
    chain = run_filter(given["image"], "-k", one, "-k", two, "-p", "valid")
    np.testing.assert_allclose(chain, run_filter(given["image"], "-k", literal(joined), "-p", "valid"), atol=1e-9)
    rectified = run_filter(given["image"], "-k", one, "-k", "abs", "-k", two, "-p", "valid")
    assert chain.shape == rectified.shape


@pytest.mark.parametrize("given", properties("sparsity_receptive_field"))
def test_an_output_depends_on_its_window_only(given):
    row, column = given["position"]
    image = np.zeros(given["input"])
    image[row : row + 3, column : column + 3] = 1
    kernel = literal(np.ones(given["kernel"]))
    answer = run_filter(image, "-k", kernel, "-p", "valid")[0]
    assert list(answer.shape) == given["output"]
    assert answer[row, column] == given["inputs_per_output"]
    outside = run_filter(1 - image, "-k", kernel, "-p", "valid")[0]
    assert outside[row, column] == 0


def test_every_operation_is_read_here_or_named_as_read_elsewhere():
    assert {case["input"]["op"] for case in CASES} == set(MINE) | set(ELSEWHERE)


def test_the_pipe_of_the_lecture():
    stdin = "105 102 100 97 96\n103 99 103 101 102\n101 98 104 102 100\n99 101 106 104 99\n104 104 104 100 98\n"
    result = run_cnn("filter", "-", "-k", "sharpen", "-p", "1", "--print", stdin=stdin)
    lines = result.out.splitlines()
    assert lines[0].split() == ["320", "206", "198", "188", "281"]
    assert lines[1].split() == ["210", "89", "111", "101", "213"]
    assert "cross-correlation" in result.err
