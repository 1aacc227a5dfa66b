"""Whole networks against PyTorch: losses of many steps, gradients of the first, weights and statistics of the last."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch_network import TorchNetwork  # noqa: E402

from cnncli.engine.session import Session  # noqa: E402
from cnncli.model import parse_model  # noqa: E402
from cnncli.optim.optimizers import Recipe  # noqa: E402

pytestmark = pytest.mark.peers

NETWORKS = {
    "residual": """
  - conv: {filters: 8, kernel: 3, padding: same, bn: true, activation: relu}
  - residual:
      main: [conv: {filters: 8, kernel: 3, padding: 1, bn: true, activation: relu},
             conv: {filters: 8, kernel: 3, padding: 1, bn: true}]
      shortcut: auto
      activation: relu
  - residual:
      main: [conv: {filters: 20, kernel: 3, stride: 2, padding: 1, bn: true, activation: relu},
             conv: {filters: 20, kernel: 3, padding: 1, bn: true}]
      shortcut: auto
      activation: relu
  - globalavgpool
  - dense: classes
  - softmax""",
    "pre-activation": """
  - conv: {filters: 8, kernel: 3, padding: same, bias: false}
  - residual:
      main: [batchnorm, relu, conv: {filters: 8, kernel: 3, padding: 1, bias: false},
             batchnorm, relu, conv: {filters: 8, kernel: 3, padding: 1, bias: false}]
      shortcut: identity
  - batchnorm
  - relu
  - globalmaxpool
  - dense: classes""",
    "dense blocks": """
  - conv: {filters: 6, kernel: 3, padding: 1, bn: true, activation: relu}
  - concat: [[], [batchnorm, relu, conv: {filters: 8, kernel: 1, bias: false},
                  batchnorm, relu, conv: {filters: 4, kernel: 3, padding: 1, bias: false}]]
  - concat: [[], [batchnorm, relu, conv: {filters: 8, kernel: 1, bias: false},
                  batchnorm, relu, conv: {filters: 4, kernel: 3, padding: 1, bias: false}]]
  - batchnorm
  - relu
  - conv: {filters: 7, kernel: 1, bias: false}
  - avgpool: 2
  - concat: [[], [batchnorm, relu, conv: {filters: 4, kernel: 3, padding: 1}],
             [maxpool: {size: 3, stride: 1, padding: 1}]]
  - globalavgpool
  - dense: classes
  - softmax""",
    "encoder and decoder": """
  - conv: {filters: 8, kernel: 3, stride: 2, padding: 1, bn: true, activation: relu}
  - conv: {filters: 12, kernel: 3, stride: 2, padding: 1, bn: true, activation: relu}
  - conv_transpose: {filters: 8, kernel: 3, stride: 2, padding: 1, output_padding: 1, bn: true, activation: relu}
  - conv_transpose: {filters: 6, kernel: 4, stride: 2, padding: 1, groups: 2, activation: relu}
  - conv_transpose: {filters: 3, kernel: 2, dilation: 2, padding: 1}
  - globalavgpool
  - dense: classes
  - softmax""",
    "group normalisation": """
  - conv: {filters: 8, kernel: 3, padding: same, bias: false}
  - groupnorm: 4
  - relu
  - residual:
      main: [conv: {filters: 8, kernel: 3, padding: 1, bias: false}, groupnorm: 2, relu,
             conv: {filters: 8, kernel: 3, padding: 1, bias: false}, groupnorm: {groups: in}]
      shortcut: identity
      activation: relu
  - layernorm
  - residual:
      main: [groupnorm: 1, relu, conv: {filters: 8, kernel: 3, padding: 1}]
      shortcut: identity
  - globalavgpool
  - layernorm: {eps: 1e-3}
  - dense: classes
  - softmax""",
    "depthwise": """
  - conv: {filters: 8, kernel: 3, stride: 2, padding: 1, bn: true, activation: relu}
  - depthwise: {kernel: 3, padding: 1, bn: true, activation: relu}
  - conv: {filters: 16, kernel: 1, bn: true, activation: relu}
  - depthwise: {kernel: 3, stride: 2, padding: 1, bn: true, activation: relu}
  - conv: {filters: 24, kernel: 1, bn: true, activation: relu}
  - globalavgpool
  - dense: classes
  - softmax""",
    "activations": """
  - prelu
  - conv: {filters: 8, kernel: 3, padding: 1, activation: elu}
  - conv: {filters: 6, kernel: 3, bn: true, activation: gelu}
  - conv: {filters: 5, kernel: 3, activation: silu}
  - conv: {filters: 5, kernel: 1, activation: prelu}
  - elu: 0.5
  - leaky_relu: 0.2
  - hard_swish
  - maxpool: 2
  - conv: {filters: 5, kernel: 1, activation: softmax}
  - flatten
  - dense: {units: 12, activation: tanh}
  - dense: {units: 10, activation: prelu}
  - dense: {units: 10, activation: sigmoid}
  - dense: {units: 10, activation: softmax}
  - dense: {units: 10, activation: hard_sigmoid}
  - dense: {units: 10, activation: relu6}
  - dense: classes
  - softmax""",
    "alexnet-like": """
  - conv: {filters: 8, kernel: 5, padding: 2, activation: relu}
  - lrn: {alpha: 0.5}
  - maxpool: {size: 3, stride: 2}
  - conv: {filters: 12, kernel: 3, padding: 1, groups: 2, activation: relu}
  - lrn: {size: 4, alpha: 2, beta: 0.6, k: 2}
  - avgpool: {out: 3}
  - flatten
  - dense: {units: 16, activation: relu}
  - dense: classes
  - softmax""",
    "skips by repetition": """
  - conv: {name: fine, filters: 6, kernel: 3, padding: 1, bn: true, activation: relu}
  - maxpool: 2
  - conv: {name: coarse, filters: 8, kernel: 3, padding: 1, bn: true, activation: relu}
  - avgpool: 2
  - conv: {filters: 8, kernel: 3, padding: 1, activation: relu}
  - upsample: 2
  - concat: {name: middle, from: [coarse, upsample1]}
  - conv: {filters: 6, kernel: 3, activation: relu}
  - pad: 1
  - upsample: 2
  - concat: {from: [upsample2, fine]}
  - crop: [1, 2, 0, 1]
  - conv: {filters: 4, kernel: 1}
  - globalavgpool
  - softmax""",
    "squeeze and excitation": """
  - conv: {filters: 8, kernel: 3, padding: 1, bn: true, activation: relu}
  - residual:
      main: [conv: {filters: 8, kernel: 3, padding: 1, bn: true},
             multiply: [[], [globalavgpool: {keep: true}, conv: {filters: 4, kernel: 1, activation: relu},
                             conv: {filters: in*2, kernel: 1}, sigmoid]]]
      activation: relu
  - multiply: [[globalmaxpool, dense: {units: 4, activation: relu}, dense: 8], []]
  - locally_connected: {filters: 6, kernel: 3, stride: 2, padding: 1, activation: relu}
  - reshape: [4, 6, 9]
  - conv: {filters: 5, kernel: 3, activation: relu}
  - flatten
  - dense: classes
  - softmax""",
}
RECIPES = {
    "momentum": (Recipe("momentum", 0.9), 0.02, lambda p: torch.optim.SGD(p, 0.02, 0.9)),
    "adam": (Recipe("adam"), 2e-3, lambda p: torch.optim.Adam(p, 2e-3)),
}


def build(layers):
    return parse_model("cnn: 1\nname: net\ninput: [12, 12, 3]\nclasses: 4\nlayers:" + layers + "\n", "net.yaml")


def compare(model, recipe, lr, make_optimizer, steps=30, count=40, tolerance=1e-9):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, *model.input_shape[1:], model.input_shape[0]), dtype=np.uint8)
    labels = rng.integers(0, model.output_shape[0], count)
    session = Session(model, batch_size=count, threads=2, optimizer=recipe, dtype="float64", seed=1, std=(0.5,))
    session.parameters[:] += rng.normal(0, 0.02, model.parameter_count)
    peer = TorchNetwork(model, session.named(), torch.float64)
    optimizer = make_optimizer(peer.parameters())
    x = torch.tensor(images.transpose(0, 3, 1, 2) / 255 / 0.5)
    for step in range(steps):
        used = count if step % 3 else count - 7  # some batches are not full
        loss, _ = session.train_batch(images, labels, np.arange(used), lr, (0, step))
        optimizer.zero_grad()
        wanted = torch.nn.functional.cross_entropy(peer(x[:used]), torch.tensor(labels[:used]))
        wanted.backward()
        assert loss / used == pytest.approx(wanted.item(), rel=tolerance), step
        if step == 0:
            gradients = [getattr(peer, slot.name.replace("/", ":")).grad.numpy().ravel() for slot in model.slots]
            np.testing.assert_allclose(session.gradients, np.concatenate(gradients), rtol=1e-7, atol=1e-10)
        optimizer.step()
    for name, array in session.named().items():
        want = getattr(peer, name.replace("/", ":")).detach().numpy()
        np.testing.assert_allclose(array, want, rtol=tolerance * 100, atol=tolerance, err_msg=name)
    peer.eval()
    with torch.no_grad():
        probs = peer(x).softmax(1).numpy()
    np.testing.assert_allclose(session.predict(images), probs, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", NETWORKS)
def test_network_trains_as_in_torch(name, recipe):
    compare(build(NETWORKS[name]), *RECIPES[recipe])
