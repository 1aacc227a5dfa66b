"""What a session computes where a wrong answer looks right: partial batches, ties, uneven windows, large gradients."""

import subprocess
import sys
from hashlib import blake2b

import numpy as np
import pytest
from reference_gradients import run_network
from small_networks import build

from cnncli.engine.session import Session
from cnncli.engine.weights import initial_values
from cnncli.layers import KINDS
from cnncli.model import load_model, parse_model
from cnncli.optim.optimizers import Recipe

HEAD = ("- flatten", "- dense: classes", "- softmax")


def some_images(model, count, seed=0):
    channels, height, width = model.input_shape
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, height, width, channels), dtype=np.uint8), rng.integers(0, 4, count)


def check_gradient(model, images, labels, seed=0):
    """Compare losses, probabilities and the gradient of one batch with the oracle."""
    session = Session(model, batch_size=len(images), threads=2, optimizer="sgd", seed=seed, dtype="float64")
    session.parameters[:] += np.random.default_rng(seed).normal(0, 0.05, model.parameter_count)
    before = session.parameters.copy()
    losses, probs, gradient = run_network(model, before, (images / 255).transpose(0, 3, 1, 2), labels)
    np.testing.assert_allclose(session.predict(images), probs, rtol=1e-9, atol=1e-12)
    total, _ = session.train_batch(images, labels, np.arange(len(images)), 0.5, (0, 0))
    assert total == pytest.approx(losses.sum(), rel=1e-9)
    np.testing.assert_allclose(session.gradients, gradient, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("count", [5, 16, 20, 37])
def test_loss_and_accuracy_are_those_of_the_images_given(count):
    """37 images in batches of 20: the second batch still holds the labels of the first."""
    model = build([6, 5, 2], *HEAD)
    images, labels = some_images(model, 40)
    session = Session(model, batch_size=20, threads=2)
    session.evaluate(images, labels)
    loss, accuracy = session.evaluate(images[:count], labels[:count])
    probs = session.predict(images[:count])
    assert loss == pytest.approx(-np.log(probs[np.arange(count), labels[:count]]).mean(), rel=1e-5)
    assert accuracy == (probs.argmax(1) == labels[:count]).sum() / count


def test_of_equal_logits_the_first_class_is_the_answer():
    model = build([4, 4, 1], *HEAD)
    images, _ = some_images(model, 8)
    session = Session(model, batch_size=8, threads=1)
    session.parameters[:] = 0
    labels = np.array([0, 0, 0, 1, 2, 3, 3, 1])
    assert session.evaluate(images, labels)[1] == 3 / 8


POOLS = {
    "unequal stride": "{size: [2, 3], stride: [3, 1]}",
    "unequal size and stride": "{size: [3, 2], stride: [1, 2]}",
    "ceil": "{size: [3, 2], stride: [2, 3], round: ceil}",
    "lopsided padding": "{size: 3, stride: [1, 2], padding: [1, 0, 0, 1]}",
    "all of it": "{size: [3, 2], stride: [2, 1], padding: [0, 1, 1, 0], round: ceil}",
}


@pytest.mark.parametrize("kind", ["maxpool", "avgpool"])
@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("next_layer", ["- relu", "- conv: {filters: 2, kernel: 2}"])
def test_uneven_pools_agree_with_the_oracle(kind, name, next_layer):
    layers = ("- conv: {filters: 3, kernel: 2}", f"- {kind}: {POOLS[name]}", next_layer, *HEAD)
    model = build([10, 9, 2], *layers)
    check_gradient(model, *some_images(model, 19))


def test_of_equal_values_in_a_window_the_first_gets_the_gradient():
    model = build(
        [6, 6, 1], "- conv: {filters: 3, kernel: 1}", "- maxpool: 2", "- conv: {filters: 2, kernel: 2}", *HEAD
    )
    images = np.random.default_rng(1).integers(0, 256, (18, 1, 1, 1), dtype=np.uint8).repeat(6, 1).repeat(6, 2)
    check_gradient(model, np.ascontiguousarray(images), np.arange(18) % 4)


def test_the_gradient_of_a_large_batch_is_the_mean_of_its_parts():
    """36,864 weights times 34 blocks of images: more than is kept apart for each block."""
    layers = ("- conv: {filters: 64, kernel: 1}", "- conv: {filters: 64, kernel: 3, activation: relu}",
              "- conv: {filters: 2, kernel: 2}")  # fmt: skip
    model = build([5, 4, 2], *layers, *HEAD)
    images, labels = some_images(model, 544)

    def gradient(batch_size, picks):
        session = Session(model, batch_size=batch_size, threads=2, optimizer="sgd", dtype="float64")
        session.train_batch(images, labels, picks, 0.0, (0, 0))
        return session.gradients.copy()

    parts = [gradient(32, np.arange(start, start + 32)) for start in range(0, 544, 32)]
    np.testing.assert_allclose(gradient(544, np.arange(544)), np.mean(parts, 0), rtol=1e-9, atol=1e-12)


def test_every_block_of_images_has_a_dropout_mask_of_its_own():
    layers = "[flatten, dropout: 0.3, dense: {units: 2, bias: false}]"
    model = parse_model(f"{{input: [20, 20, 1], layers: {layers}}}", "n.yaml")
    images = np.full((128, 20, 20, 1), 255, np.uint8)
    session = Session(model, batch_size=128, threads=2, optimizer="sgd", dtype="float64")
    session.parameters[:] = 0
    session.train_batch(images, np.zeros(128, np.int64), np.arange(128), 0.0, (0, 0))
    # every logit is 0, so dlogit = -1/2 / 128; the gradient of a weight sums the kept pixels, each scaled to 1 / 0.7
    kept = session.gradients[:400] * -2 * 0.7 * 128
    # binomial; one mask for all 8 blocks of 16 images would have 8 times the variance
    assert 0.75 < kept.var() / (128 * 0.7 * 0.3) < 1.25


def kept_pixels(*layers):
    """Return which pixels of one image reach a dense layer of two units, from the gradient of its first row."""
    text = ", ".join(["flatten", *layers, "dense: {units: 2, bias: false}"])
    model = parse_model(f"{{input: [20, 20, 1], layers: [{text}]}}", "n.yaml")
    images = np.full((1, 20, 20, 1), 255, np.uint8)
    session = Session(model, batch_size=1, threads=2, optimizer="sgd", dtype="float64", seed=7)
    session.parameters[:] = 0
    session.train_batch(images, np.zeros(1, np.int64), np.zeros(1, np.int64), 0.0, (4, 2))
    return session.gradients[:400] != 0


def test_the_mask_of_the_first_dropout_is_a_hash_of_seed_epoch_step_and_place():
    """SplitMix64's finaliser over BLAKE2b of "seed epoch step", one integer at a time; the rate in units of 2**-32."""

    def mixed(number):
        number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        number = (number ^ (number >> 27)) * 0x94D049BB133111EB % 2**64
        return number ^ (number >> 31)

    key = int.from_bytes(blake2b(b"7 4 2", digest_size=8).digest(), "little")
    expected = [mixed((key + mixed(i)) % 2**64) >> 32 >= round(0.3 * 2**32) for i in range(400)]
    np.testing.assert_array_equal(kept_pixels("dropout: 0.3"), expected)
    np.testing.assert_array_equal(kept_pixels("relu", "dropout: 0.3"), expected)


def test_two_dropouts_have_masks_of_their_own():
    first, both = kept_pixels("dropout: 0.3"), kept_pixels("dropout: 0.3", "dropout: 0.3")
    assert not np.any(both & ~first)
    assert both.mean() == pytest.approx(0.7 * 0.7, abs=0.1)  # one mask twice would keep 0.7; 4 standard deviations


def test_convolutions_begin_with_the_deviation_of_he():
    """He et al. 2015, equation 10: sqrt(2 / fan_in), where the architecture names no initialisation."""
    model = build([9, 9, 32], "- conv: {filters: 200, kernel: 3}", *HEAD)
    weight = Session(model, batch_size=1, threads=1).named()["conv1/weight"]
    assert weight.std() == pytest.approx(np.sqrt(2 / (32 * 9)), rel=0.02)


@pytest.mark.parametrize("kind", [kind for kind, layer in KINDS.items() if "init" in layer.__dataclass_fields__])
def test_the_documented_initialisation_is_the_one_that_is_used(kind):
    """`Option.default` goes into the JSON Schema and the help, the default of the field into the weights."""
    layer = KINDS[kind]
    documented = next(option.default for option in layer.options if option.name == "init")
    assert documented == layer.__dataclass_fields__["init"].default


BEYOND = """
import ctypes, mmap, numpy as np
from cnncli.engine.session import Session
from cnncli.engine.weights import initial_values
from cnncli.model import load_model, parse_model
model = parse_model("{input: [8, 8, 1], layers: [flatten, dense: 3]}")
session = Session(model, batch_size=40, threads=1)
session.predict(np.zeros((40, 8, 8, 1), np.uint8))
pages = mmap.mmap(-1, 2 * mmap.PAGESIZE)
address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(address + mmap.PAGESIZE), mmap.PAGESIZE, 0) == 0
whole = np.frombuffer(pages, np.uint8, mmap.PAGESIZE)
few = whole[-3 * 64:].reshape(3, 8, 8, 1)
print(session.predict(few).shape)
"""


def test_nothing_is_read_beyond_a_smaller_array_of_images():
    """The last image ends where a page without rights begins; the session has seen 40 images before."""
    done = subprocess.run([sys.executable, "-c", BEYOND], capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout) == (0, "(3, 3)\n"), done.stderr


def adamw(parameters, gradients, lr, decay, l2=0.0):
    """AdamW in float64 (Loshchilov and Hutter 2019, algorithm 2, with the decay scaled by the learning rate)."""
    m, v = np.zeros_like(parameters), np.zeros_like(parameters)
    for step, gradient in enumerate(gradients, 1):
        gradient = gradient + l2 * parameters
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        scaled = m / (1 - 0.9**step) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
        parameters = parameters - lr * decay * parameters - lr * scaled
    return parameters


def with_momentum(parameters, gradients, lr, decay, momentum, *, nesterov=False):
    velocity = np.zeros_like(parameters)
    for gradient in gradients:
        gradient = gradient + decay * parameters
        velocity = momentum * velocity + gradient
        parameters = parameters - lr * (gradient + momentum * velocity if nesterov else velocity)
    return parameters


def rmsprop(parameters, gradients, lr, decay):
    square, velocity = np.zeros_like(parameters), np.zeros_like(parameters)
    for gradient in gradients:
        gradient = gradient + decay * parameters
        square = 0.99 * square + 0.01 * gradient**2
        velocity = 0.8 * velocity + gradient / (np.sqrt(square) + 1e-8)
        parameters = parameters - lr * velocity
    return parameters


RULES = {
    "sgd": lambda p, g, lr, decay: with_momentum(p, g, lr, decay, 0.0),
    "momentum": lambda p, g, lr, decay: with_momentum(p, g, lr, decay, 0.8),
    "nesterov": lambda p, g, lr, decay: with_momentum(p, g, lr, decay, 0.8, nesterov=True),
    "adamw": adamw,
    "adam": lambda p, g, lr, decay: adamw(p, g, lr, 0.0, l2=decay),
    "rmsprop": rmsprop,
}


@pytest.mark.parametrize("decay_all", [False, True])
@pytest.mark.parametrize("name", RULES)
def test_an_optimizer_follows_its_published_rule(name, decay_all):
    """Faint pictures make gradients near 1e-6, where the small number in Adam's denominator would show."""
    model = build([5, 5, 1], *HEAD)
    images, labels = some_images(model, 24)
    images //= 64
    rule = {"nesterov": "momentum"}.get(name, name)
    recipe = Recipe(rule, 0.8, nesterov=name == "nesterov", weight_decay=0.3, decay_all=decay_all)
    session = Session(model, batch_size=24, threads=2, optimizer=recipe, std=(300.0,), dtype="float64")
    first, gradients = session.parameters.copy(), []
    for step in range(5):
        session.train_batch(images, labels, np.arange(24), 0.05, (0, step))
        gradients.append(session.gradients.copy())
    assert np.median(np.abs(gradients)) < 1e-4
    is_weight = np.concatenate([np.full(slot.size, len(slot.shape) > 1) for slot in model.slots])
    wanted = RULES[name](first, gradients, 0.05, 0.3 * (is_weight | decay_all))
    np.testing.assert_allclose(session.parameters, wanted, rtol=1e-7, atol=1e-10)


def test_weight_decay_leaves_normalisations_alone():
    layers = ("- conv: {filters: 4, kernel: 3}", "- groupnorm: 2", "- layernorm", "- flatten", "- dense: classes")
    model = build([5, 5, 1], *layers)
    images, labels = some_images(model, 8)
    parameters = []
    for decay in (0.0, 0.5):
        recipe = Recipe("sgd", weight_decay=decay)
        session = Session(model, batch_size=8, threads=1, optimizer=recipe, dtype="float64")
        session.train_batch(images, labels, np.arange(8), 0.1, (0, 0))
        parameters.append(session.named())
    for name, array in parameters[0].items():
        assert (array == parameters[1][name]).all() == (name not in ("conv1/weight", "fc1/weight")), name


def test_gradients_are_clipped_to_a_norm():
    model = build([5, 5, 1], *HEAD)
    images, labels = some_images(model, 24)
    steps = []
    for clip in (None, 0.01, 1e6):
        session = Session(model, batch_size=24, threads=2, optimizer=Recipe("sgd", clip_norm=clip), dtype="float64")
        before = session.parameters.copy()
        session.train_batch(images, labels, np.arange(24), 1.0, (0, 0))
        steps.append(before - session.parameters)
    free, clipped, wide = steps
    np.testing.assert_allclose(clipped, free * 0.01 / (np.linalg.norm(free) + 1e-6), rtol=1e-9)
    np.testing.assert_allclose(wide, free, rtol=1e-12)


def test_what_would_be_read_outside_of_memory_is_refused():
    model = build([5, 5, 1], *HEAD)
    images, labels = some_images(model, 24)
    session = Session(model, batch_size=24, threads=1, optimizer="sgd")
    for wrong in (-1, model.output_shape[0], 99):
        bad = np.where(np.arange(24) == 7, wrong, labels)
        with pytest.raises(ValueError, match="labels from"):
            session.train_batch(images, bad, np.arange(24), 0.1, (0, 0))
        with pytest.raises(ValueError, match="labels from"):
            session.evaluate(images, bad)
    with pytest.raises(ValueError, match="no images"):
        session.evaluate(images[:0], labels[:0])


def test_first_values_of_a_large_network_do_not_depend_on_the_threads_that_draw_them():
    slots = load_model("resnet18-cifar").slots
    np.testing.assert_array_equal(initial_values(slots, 7, 1), initial_values(slots, 7, 3))
