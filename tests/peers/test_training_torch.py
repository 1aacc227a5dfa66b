"""Ten steps of a small network against PyTorch: the same start, the same batches, the same losses and gradients."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the [peers] extra")

from cnncli.engine.session import Session  # noqa: E402
from cnncli.model import load_model, parse_model  # noqa: E402
from cnncli.optim.optimizers import Recipe  # noqa: E402

pytestmark = pytest.mark.peers
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, weight_decay=1e-3),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-3),
    "adam": lambda p: torch.optim.Adam(p, lr=0.05),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=1e-3),
}
LENET = [
    torch.nn.Conv2d(1, 6, 5, padding=2), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Conv2d(6, 16, 5),
    torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(400, 120), torch.nn.ReLU(),
    torch.nn.Linear(120, 84), torch.nn.ReLU(), torch.nn.Linear(84, 10),
]  # fmt: skip
STRIDED = """cnn: 1
name: strided
input: [13, 11, 3]
classes: 5
layers:
  - conv: {filters: 8, kernel: 3, stride: 2, padding: 1, activation: relu}
  - conv: {filters: 8, kernel: 3, dilation: 2, groups: 4, padding: 2, activation: relu}
  - maxpool: {size: 3, stride: 2, padding: 1}
  - conv: {filters: 12, kernel: [3, 1], stride: [1, 2]}
  - flatten
  - dense: classes
"""
STRIDED_TORCH = [
    torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3, 1, 2, 2, 4), torch.nn.ReLU(),
    torch.nn.MaxPool2d(3, 2, 1), torch.nn.Conv2d(8, 12, (3, 1), (1, 2)), torch.nn.Flatten(), torch.nn.LazyLinear(5),
]  # fmt: skip


def compare(model, layers, optimizer, *, batch=48, steps=10):
    torch.manual_seed(0)
    rng = np.random.default_rng(4)
    channels, height, width = model.input_shape
    images = rng.integers(0, 256, (200, height, width, channels), dtype=np.uint8)
    labels = rng.integers(0, model.output_shape[0], 200)
    session = Session(
        model,
        batch_size=batch,
        threads=2,
        # PyTorch's weight decay is on every parameter
        optimizer=Recipe(optimizer, weight_decay=0.0 if optimizer == "adam" else 1e-3, decay_all=True),
        dtype="float64",
    )
    twin = torch.nn.Sequential(*layers).double()
    x = torch.from_numpy(images.transpose(0, 3, 1, 2) / 255)
    twin(x[:2])
    pairs = list(zip(twin.parameters(), session.named().values(), strict=True))
    for theirs, ours in pairs:
        theirs.data = torch.from_numpy(ours.copy())
    rule = OPTIMIZERS[optimizer](twin.parameters())
    for i in range(steps):
        picks = rng.permutation(200)[:batch]
        rule.zero_grad()
        loss = torch.nn.functional.cross_entropy(twin(x[picks]), torch.from_numpy(labels[picks]))
        loss.backward()
        total, _ = session.train_batch(images, labels, picks, 0.05, (0, i))
        assert total / batch == pytest.approx(loss.item(), rel=1e-7), f"step {i}"
        wanted = np.concatenate([p.grad.numpy().ravel() for p in twin.parameters()])
        np.testing.assert_allclose(session.gradients, wanted, rtol=1e-6, atol=1e-10)
        rule.step()
    for theirs, ours in pairs:
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_lenet_learns_like_torch(optimizer):
    compare(load_model("lenet5"), LENET, optimizer)


def test_strides_dilation_groups_and_padded_pools_learn_like_torch():
    compare(parse_model(STRIDED, "strided.yaml"), STRIDED_TORCH, "momentum")
