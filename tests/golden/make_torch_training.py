"""Write torch_training.json: a tiny network's parameters, probabilities, gradient and ten losses by PyTorch.

Run once with the [peers] extra: python tests/golden/make_torch_training.py
"""

import json
from pathlib import Path

import numpy as np
import torch

ARCHITECTURE = """cnn: 1
name: tiny
input: [6, 6, 2]
layers:
  - conv: {filters: 3, kernel: 3, padding: 1, activation: relu}
  - maxpool: 2
  - flatten
  - dense: {units: 5, activation: relu}
  - dense: 3
  - softmax
"""

torch.manual_seed(7)
net = torch.nn.Sequential(
    torch.nn.Conv2d(2, 3, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten(),
    torch.nn.Linear(27, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3),
).double()  # fmt: skip
rng = np.random.default_rng(11)
images = rng.integers(0, 256, (8, 6, 6, 2), dtype=np.uint8)
labels = rng.integers(0, 3, 8)
x = torch.from_numpy(images.transpose(0, 3, 1, 2) / 255)
flat = lambda tensors: np.concatenate([t.detach().numpy().ravel() for t in tensors]).tolist()  # noqa: E731
result = {
    "torch": torch.__version__,
    "architecture": ARCHITECTURE,
    "images": images.tolist(),
    "labels": labels.tolist(),
}
result["parameters"] = flat(net.parameters())
result["probabilities"] = torch.softmax(net(x), 1).tolist()
rule, losses = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9), []
for step in range(10):
    rule.zero_grad()
    loss = torch.nn.functional.cross_entropy(net(x), torch.from_numpy(labels))
    loss.backward()
    if step == 0:
        result["gradient"] = flat(p.grad for p in net.parameters())
    losses.append(loss.item())
    rule.step()
result["losses"] = losses
Path(__file__).with_name("torch_training.json").write_text(json.dumps(result))
