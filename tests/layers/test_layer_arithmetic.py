"""Every kind that can run, on each of its examples: results by the formula, gradients by differences.

A new kind needs a slow forward pass in reference_layers.py and nothing here.
"""

import numpy as np
import pytest
import reference_layers
from graph_models import model_of, random_images
from reference_layers import cross_entropies, key_of

from cnncli.compute.host import LANES
from cnncli.engine.session import Session
from cnncli.layers import KINDS, Conv2D, Dense, Flatten

COUNT = LANES + 3  # two blocks of images, and the second is not full
CASES = [
    pytest.param(layer, example, id=f"{kind}-{number}")
    for kind, layer in KINDS.items()
    if layer.can_run
    for number, example in enumerate(layer.examples)
]


def network(layer, example, *, is_first):
    """Return the layer, flatten and dense; unless it is first, a trained branch makes each of its inputs."""
    shapes = example.shapes
    images = [shape for shape in shapes if len(shape) == 3]
    rows, columns = (max([shape[axis] for shape in images], default=2) for axis in (1, 2))
    layers = []
    if is_first and len(shapes) == 1 and len(shapes[0]) == 3:
        start, ends = shapes[0], (-1,)
    else:
        start, ends = (2, rows, columns), ()
        for shape in shapes:
            if len(shape) == 3:
                kernel = rows - shape[1] + 1, columns - shape[2] + 1
                layers.append((Conv2D(shape[0], kernel, bias=False), (-1,)))
            else:
                layers += [(Flatten(), (-1,)), (Dense(shape[0], bias=False), (len(layers),))]
            ends = (*ends, len(layers) - 1)
    built = layer.build(example.options, shapes[0])
    layers.append((built, ends))
    if len(built.out_shape(*shapes)) == 3:
        layers.append((Flatten(), (len(layers) - 1,)))
    layers.append((Dense(4), (len(layers) - 1,)))
    return model_of(start, layers), len(layers) - (2 if layers[-2][0] is built else 3)


@pytest.mark.parametrize("is_first", [True, False], ids=["first", "behind others"])
@pytest.mark.parametrize(("layer", "example"), CASES)
def test_results_and_gradients(layer, example, is_first):
    model, tried = network(layer, example, is_first=is_first)
    assert model.nodes[tried].layer.kind == layer.kind
    images, labels = random_images(model, COUNT)
    session = Session(model, batch_size=COUNT, threads=2, optimizer="sgd", dtype="float64", mean=(0.5,), std=(0.4,))
    rng = np.random.default_rng(1)
    session.parameters[:] += rng.normal(0, 0.1, model.parameter_count)  # no array is all zeros or ones
    session.statistics[:] += rng.uniform(0, 0.3, model.non_trainable_count)
    x = ((images / 255 - 0.5) / 0.4).transpose(0, 3, 1, 2)
    arrays = {name: array.copy() for name, array in session.named().items()}

    logits = reference_layers.run(model, arrays, x, is_training=False)
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(session.predict(images), probs, rtol=1e-9, atol=1e-12)

    def loss():
        result = reference_layers.run(model, arrays, x, is_training=True, key=key_of(0, 0, 0))
        return cross_entropies(result, labels).mean()

    total, _ = session.train_batch(images, labels, np.arange(COUNT), 0.0, (0, 0))
    assert total / COUNT == pytest.approx(loss(), rel=1e-10)
    named = session.named()
    for slot in model.slots:
        gradient = session.gradients[slot.offset : slot.offset + slot.size].reshape(slot.shape)
        assert np.abs(gradient).max() > 1e-6, f"{slot.name} gets no gradient"
        for vector in _directions(slot.shape, rng):
            wanted = _derivative(loss, arrays[slot.name], vector)
            size = np.linalg.norm(gradient) * np.linalg.norm(vector)  # what is left of a sum that cancels
            assert (gradient * vector).sum() == pytest.approx(wanted, rel=1e-7, abs=1e-10 * size), slot.name
    session.train_batch(images, labels, np.arange(COUNT), 0.1, (0, 1))
    for slot in model.slots:
        assert (named[slot.name] != arrays[slot.name]).any(), f"{slot.name} does not move"


def _directions(shape, rng):
    """Return the unit vectors of a small array, and random ones of a large array."""
    size = int(np.prod(shape))
    if size <= 8:
        return np.eye(size).reshape(size, *shape)
    return rng.normal(0, 1, (6, *shape))


def _derivative(loss, array, vector):
    """Return the derivative of the loss along a vector, as exact as float64 allows.

    Central differences of three steps, extrapolated twice (Richardson 1911, doi:10.1098/rsta.1911.0009). A step is
    taken back tenfold while the extrapolations disagree: a ReLU or a maximum has changed its mind on the way.
    """
    start, step = array.copy(), 4e-3 / np.abs(vector).max()

    def difference(distance):
        array[...] = start + distance * vector
        above = loss()
        array[...] = start - distance * vector
        below = loss()
        array[...] = start
        return (above - below) / (2 * distance)

    best = np.inf, 0.0
    for _ in range(6):
        wide, middle, narrow = (difference(step / part) for part in (1, 2, 4))
        first, second = (4 * middle - wide) / 3, (4 * narrow - middle) / 3
        best = min(best, (abs(second - first), (16 * second - first) / 15))
        if best[0] <= 1e-8 * abs(second):
            break
        step /= 10
    return best[1]
