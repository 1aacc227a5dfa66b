"""Write torch_networks.npz: losses, first gradients and last arrays of twelve networks trained by PyTorch in float64.

Run with the [peers] extra: PYTHONPATH=tests python tests/golden/make_torch_networks.py
"""

from pathlib import Path

import numpy as np
import torch
from golden_networks import NETWORKS, RATES, SEED, SEEDS, STEPS, first_parameters, network, setting, targets
from torch_network import TorchNetwork

OPTIMIZERS = {
    "momentum": lambda p: torch.optim.SGD(p, RATES["momentum"], 0.9),
    "adam": lambda p: torch.optim.Adam(p, RATES["adam"]),
}


def loss_of(y, labels):
    if y.shape[1] == 1:
        return torch.nn.functional.binary_cross_entropy(y[:, 0], labels.double())
    return torch.nn.functional.cross_entropy(y, labels)


def flat(tensors):
    return np.concatenate([tensor.detach().numpy().ravel() for tensor in tensors])


torch.set_num_threads(1)
stored = {"torch": np.array(torch.__version__)}
for name in NETWORKS:
    model, seed = network(name), SEEDS.get(name, SEED)
    images, labels, _ = setting(model, seed)
    first = first_parameters(model, seed)
    for rule, make in OPTIMIZERS.items():
        arrays = {s.name: first[s.offset : s.offset + s.size].reshape(s.shape) for s in model.slots}
        arrays |= {s.name: np.full(s.shape, float(s.name.endswith("variance"))) for s in model.state_slots}
        peer = TorchNetwork(model, arrays, torch.float64)
        of = lambda slots, peer=peer: [getattr(peer, slot.name.replace("/", ":")) for slot in slots]  # noqa: E731
        optimizer, losses = make(peer.parameters()), []
        x = torch.tensor(images.transpose(0, 3, 1, 2) / 255 / 0.5 - 1)
        for step in range(STEPS):
            optimizer.zero_grad()
            loss = loss_of(peer(x), torch.tensor(targets(model, labels)))
            loss.backward()
            losses.append(loss.item())
            if step == 0:
                stored[f"{name}: gradient"] = flat(p.grad for p in of(model.slots)).astype(np.float32)
            optimizer.step()
        stored[f"{name}: {rule}: losses"] = np.array(losses)
        stored[f"{name}: {rule}: last"] = flat([*of(model.slots), *of(model.state_slots)]).astype(np.float32)
np.savez_compressed(Path(__file__).with_name("torch_networks.npz"), **stored)
