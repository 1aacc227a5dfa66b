"""Networks of any form give the same numbers with every rewrite and all memory shared as with none of it."""

import numpy as np
import pytest
import reference_layers
from graph_models import INPUT, graphs, model_of, random_images
from hypothesis import given, settings

from cnncli.engine import placement, plan, record
from cnncli.engine.session import Session
from cnncli.layers import Add, BatchNorm, Concat, Conv2D, Dense, Flatten, MaxPool2D, ReLU
from cnncli.layers.global_pooling import GlobalAvgPool2D


def outcome(model, threads, count=19, batch_size=21):
    """Return what three steps, the last one on fewer images, and a test leave behind."""
    images, labels = random_images(model, batch_size)
    session = Session(
        model, batch_size=batch_size, threads=threads, optimizer="momentum", dtype="float64", mean=(0.5,), std=(0.3,)
    )
    session.parameters[:] += np.random.default_rng(4).normal(0, 0.1, model.parameter_count)
    losses, gradients = [], []
    for number, used in enumerate((count, batch_size, 3)):
        losses.append(session.train_batch(images, labels, np.arange(used), 0.05, (0, number))[0])
        gradients.append(session.gradients.copy())
    return {
        "losses": np.array(losses), "gradients": np.array(gradients), "parameters": session.parameters.copy(),
        "statistics": session.statistics.copy(), "answers": session.predict(images[:count]),
        "test": np.array(session.evaluate(images, labels)),
    }  # fmt: skip


def plain(model):
    """Return the outcome with no rewrite, no step done again and no memory used twice."""
    arrange = placement.arrange
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "rewritten", lambda steps, rewrites: list(steps))
        patch.setattr(plan, "share_memory", lambda steps: list(steps))
        patch.setattr(plan, "remake", lambda phases, lanes: None)
        patch.setattr(placement, "arrange", lambda slots, lanes, is_apart=False: arrange(slots, lanes, is_apart=True))
        patch.setattr(record, "PARTIAL_LIMIT", 0)
        return outcome(model, 1)


def tight(model, threads):
    """Return the outcome with every byte used again as soon as it may be, and blocks shared out over the threads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "SHARED_MACS", -1)
        patch.setattr(placement, "APART_BYTES", 0)
        patch.setattr(record, "PARTIAL_LIMIT", 0)
        return outcome(model, threads)


def compare(model):
    wanted = plain(model)
    found = {threads: tight(model, threads) for threads in (1, 2, 3, 8)}
    for name, value in wanted.items():
        scale = max(1.0, np.abs(value).max()) if value.size else 1.0
        np.testing.assert_allclose(found[1][name], value, rtol=1e-9, atol=1e-12 * scale, err_msg=name)
        for threads in (2, 3, 8):
            assert found[threads][name].tobytes() == found[1][name].tobytes(), (name, threads)


@settings(max_examples=30)
@given(graphs())
def test_any_graph_is_the_same_with_and_without_rewrites(model):
    compare(model)


@settings(max_examples=20)
@given(graphs())
def test_any_graph_has_the_loss_and_the_gradient_of_the_oracle(model):
    count = 19
    images, labels = random_images(model, count)
    session = Session(model, batch_size=count, threads=2, optimizer="sgd", dtype="float64", mean=(0.5,), std=(0.3,))
    rng = np.random.default_rng(4)
    session.parameters[:] += rng.normal(0, 0.1, model.parameter_count)
    x = ((images / 255 - 0.5) / 0.3).transpose(0, 3, 1, 2)
    start, vector = session.parameters.copy(), rng.normal(0, 1, model.parameter_count)

    def loss(distance):
        values = start + distance * vector
        arrays = {slot.name: values[slot.offset : slot.offset + slot.size].reshape(slot.shape) for slot in model.slots}
        states = {name: array for name, array in session.named().items() if name not in arrays}
        logits = reference_layers.run(model, arrays | states, x, is_training=True, key=reference_layers.key_of(0, 0, 0))
        return reference_layers.cross_entropies(logits, labels).mean()

    total, _ = session.train_batch(images, labels, np.arange(count), 0.0, (0, 0))
    assert total / count == pytest.approx(loss(0.0), rel=1e-9)
    step = 1e-7  # so small that no ReLU or pool changes its mind
    wanted = (loss(step) - loss(-step)) / (2 * step)
    assert session.gradients @ vector == pytest.approx(wanted, rel=1e-5, abs=1e-5)


HARD = {
    # what somebody else reads later must not be written over
    "a value read again after a ReLU of it": [
        (Conv2D(3, (1, 1)), (-1,)), (ReLU(), (0,)), (Add(), (0, 1)), (Flatten(), (2,)), (Dense(3), (3,))],
    "one value twice in a sum and in a concatenation": [
        (Conv2D(3, (1, 1)), (-1,)), (Add(), (0, 0)), (Concat(), (1, 1, 0)), (Flatten(), (2,)), (Dense(3), (3,))],
    "a slice that is rectified in place": [
        (Conv2D(3, (1, 1)), (-1,)), (Conv2D(2, (1, 1)), (-1,)), (Concat(), (0, 1)), (ReLU(), (2,)),
        (Conv2D(2, (3, 3), padding=(1, 1, 1, 1)), (3,)), (Concat(), (3, 4, 2)), (Flatten(), (5,)), (Dense(3), (6,))],
    "concatenations in concatenations with halos": [
        (Conv2D(2, (1, 1)), (-1,)), (Conv2D(2, (3, 3), padding=(1, 1, 1, 1)), (0,)), (Concat(), (0, 1)),
        (BatchNorm(), (2,)), (ReLU(), (3,)), (Conv2D(2, (3, 3), padding=(1, 1, 1, 1)), (4,)), (Concat(), (2, 5)),
        (BatchNorm(), (6,)), (ReLU(), (7,)), (Conv2D(2, (3, 3), padding=(1, 1, 1, 1)), (8,)), (Concat(), (6, 9)),
        (GlobalAvgPool2D(), (10,)), (Dense(3), (11,))],
    "views of a part of a concatenation": [
        (Conv2D(2, (1, 1)), (-1,)), (Conv2D(3, (1, 1)), (-1,)), (Concat(), (0, 1)), (Flatten(), (0,)),
        (Flatten(), (2,)), (ReLU(), (3,)), (ReLU(), (4,)), (Concat(), (5, 6, 3)), (Dense(3), (7,))],
    "feature maps of one pixel seen as a vector": [
        (MaxPool2D((5, 4), (5, 4)), (-1,)), (Conv2D(4, (1, 1)), (0,)), (Flatten(), (1,)),
        (Conv2D(3, (3, 3), padding=(1, 1, 1, 1)), (1,)), (Flatten(), (3,)), (Concat(), (2, 4)), (ReLU(), (5,)),
        (Dense(3), (6,))],
    "a fully connected layer beside others": [
        (Conv2D(2, (1, 1)), (-1,)), (Flatten(), (0,)), (Dense(40), (1,)), (ReLU(), (2,)), (Dense(40), (3,)),
        (Add(), (3, 4)), (ReLU(), (5,)), (Concat(), (1, 6)), (BatchNorm(), (7,)), (Dense(3), (8,))],
    "normalisation of a normalisation": [
        (Conv2D(3, (1, 1)), (-1,)), (BatchNorm(), (0,)), (BatchNorm(), (1,)), (ReLU(), (2,)), (BatchNorm(), (0,)),
        (Add(), (3, 4)), (Flatten(), (5,)), (Dense(3), (6,))],
    "a dead end with statistics": [
        (Conv2D(3, (1, 1)), (-1,)), (BatchNorm(), (0,)), (ReLU(), (0,)), (Flatten(), (2,)), (Dense(3), (3,))],
}  # fmt: skip


@pytest.mark.parametrize("name", HARD)
def test_hard_graphs_are_the_same_with_and_without_rewrites(name):
    compare(model_of(INPUT, HARD[name]))


def test_a_network_without_parameters_has_a_loss():
    model = model_of((1, 3, 1), [(Flatten(), (-1,))])
    images, labels = random_images(model, 5)
    session = Session(model, batch_size=5, threads=1, optimizer="sgd")
    loss, _ = session.train_batch(images, labels, np.arange(5), 0.1, (0, 0))
    assert loss / 5 == pytest.approx(session.evaluate(images, labels)[0], rel=1e-6)


def test_a_layer_whose_output_is_its_input_passes_the_gradient_on_once():
    layers = [(Conv2D(3, (1, 1)), (-1,)), (Add(), (0,)), (Flatten(), (1,)), (Dense(3), (2,))]
    one, other = model_of(INPUT, layers), model_of(INPUT, [layers[0], (Flatten(), (0,)), (Dense(3), (1,))])
    np.testing.assert_array_equal(outcome(one, 1)["gradients"], outcome(other, 1)["gradients"])
