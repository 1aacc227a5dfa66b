"""Every kind that can run, on each of its examples: results by the formula, gradients by differences.

A new kind needs a slow forward pass in reference_layers.py and nothing here.
"""

import numpy as np
import pytest
import reference_layers
from graph_models import model_of, random_images
from reference_layers import cross_entropies, key_of

from cnncli.engine.session import Session
from cnncli.kernels.host import LANES
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
    gradients = {
        slot.name: session.gradients[slot.offset : slot.offset + slot.size].reshape(slot.shape) for slot in model.slots
    }
    name = model.nodes[tried].name
    for slot in model.slots:
        if slot.name.startswith(f"{name}/"):
            assert np.abs(gradients[slot.name]).max() > 1e-6, f"{slot.name} gets no gradient"
        directions = [(i,) for i in np.ndindex(slot.shape)] if slot.size <= 60 else None
        _compare(arrays[slot.name], gradients[slot.name], loss, directions, rng, slot.name)


def _compare(array, gradient, loss, directions, rng, name):
    """Compare each number of a gradient with a difference of losses; of a large array, its products with 20 vectors."""
    start, step = array.copy(), 1e-5
    if directions is None:
        vectors = [rng.normal(0, 1, array.shape) for _ in range(20)]
    else:
        vectors = []
        for (i,) in directions:
            vectors.append(np.zeros(array.shape))
            vectors[-1][i] = 1.0
    for vector in vectors:
        array[...] = start + step * vector
        above = loss()
        array[...] = start - step * vector
        below = loss()
        wanted = (above - below) / (2 * step)
        assert (gradient * vector).sum() == pytest.approx(wanted, rel=1e-6, abs=1e-7), name
    array[...] = start
