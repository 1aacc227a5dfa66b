"""Networks of ours as PyTorch users write them (torch.nn modules), and as onnxruntime runs them."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from cnncli.engine.weights import initial_values
from cnncli.model import Model

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
LAYOUTS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}


class Network(nn.Module):
    """The modules of a model; a chain is one nn.Sequential. The last softmax is left out: the loss takes logits.

    Feature maps are dropped after their last use, and a ReLU works in place where nothing else reads its input, as in
    torchvision.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        nodes = model.nodes[:-1] if model.nodes[-1].layer.kind == "softmax" else model.nodes
        readers: dict[int, list[int]] = {}
        for i, node in enumerate(nodes):
            for j in node.inputs:
                readers.setdefault(j, []).append(i)
        arrays = first_parameters(model)
        self.steps = nn.ModuleList()
        self.plan: list[tuple[nn.Module, tuple[int, ...], int, tuple[int, ...]]] = []
        for i, node in enumerate(nodes):
            is_alone = all(j >= 0 and readers[j] == [i] for j in node.inputs)
            module = module_of(node, is_alone)
            load(module, arrays.get(node.name, {}))
            self.steps.append(module)
            dead = tuple(j for j in set(node.inputs) if readers[j][-1] == i)
            self.plan.append((module, tuple(node.inputs), i, dead))
        is_chain = all(tuple(node.inputs) == (i - 1,) for i, node in enumerate(nodes))
        self.chain = nn.Sequential(*self.steps) if is_chain else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        if self.chain is not None:
            return self.chain(x)
        values = {-1: x}
        for module, inputs, place, dead in self.plan:
            values[place] = module(*(values[j] for j in inputs))
            for j in dead:
                del values[j]
        return values[place]


def module_of(node: Any, is_alone: bool) -> nn.Module:
    """Return the module of torch.nn for a node; `is_alone`: nobody else reads what it reads."""
    layer, (channels, *_) = node.layer, node.in_shapes[0]
    match layer.kind:
        case "conv" | "depthwise":
            pads, before = split_padding(layer.padding, 0.0)
            filters = node.params["weight"].shape[0]
            options = layer.stride, pads, layer.dilation, layer.groups, layer.bias
            return nn.Sequential(*before, nn.Conv2d(channels, filters, layer.kernel, *options))
        case "batchnorm":
            return nn.BatchNorm2d(channels, layer.eps, 1 - layer.momentum)
        case "relu":
            return nn.ReLU(inplace=is_alone)
        case "maxpool":
            pads, before = split_padding(layer.padding, -torch.inf)
            return nn.Sequential(*before, nn.MaxPool2d(layer.size, layer.stride, pads, ceil_mode=layer.ceil))
        case "avgpool" if hasattr(layer, "size") and not any(layer.padding) and not layer.ceil:
            return nn.AvgPool2d(layer.size, layer.stride)
        case "globalavgpool" if not layer.keep:
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        case "dense":
            return nn.Linear(channels, layer.units, layer.bias)
        case "flatten":
            return nn.Flatten()
        case "dropout":
            return nn.Dropout(layer.rate)
    return Operation(layer)


class Operation(nn.Module):
    """A node without parameters that torch.nn has no module for: sums, concatenation and others."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, *xs: torch.Tensor) -> torch.Tensor:
        """Return the output."""
        if self.layer.kind == "add" and len(xs) == 2:
            return xs[0] + xs[1]
        if self.layer.kind == "concat":
            return torch.cat(xs, 1)
        from torch_network import OPERATIONS

        return OPERATIONS[self.layer.kind](self.layer, xs, {}, self.training)


def split_padding(padding: tuple[int, ...], value: float) -> tuple[tuple[int, int], list[nn.Module]]:
    """Return the padding that a module does by itself, and a module that pads where the sides differ."""
    top, bottom, left, right = padding
    if (top, left) == (bottom, right):
        return (top, left), []
    return (0, 0), [nn.ConstantPad2d((left, right, top, bottom), value)]


def first_parameters(model: Model) -> dict[str, dict[str, np.ndarray]]:
    """Return the parameters and running statistics with which we begin, by node and name."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for slots in (model.slots, model.state_slots):
        values = initial_values(slots, 0)
        for slot in slots:
            owner, _, name = slot.name.rpartition("/")
            part = values[slot.offset : slot.offset + slot.size]
            found.setdefault(owner, {})[name] = np.asarray(part, np.float32).reshape(slot.shape)
    return found


def load(module: nn.Module, arrays: dict[str, np.ndarray]) -> None:
    """Give a module the parameters of our node."""
    places = {name.rpartition(".")[2]: place for name, place in module.state_dict().items()}
    names = {"weight": "weight", "bias": "bias", "mean": "running_mean", "variance": "running_var"}
    for name, array in arrays.items():
        place = places[names[name]]
        place.copy_(torch.tensor(array).reshape(place.shape))


def training_step(
    model: Model, batches: list[tuple[np.ndarray, np.ndarray]], *, layout: str, optimizer: str, is_compiled: bool
) -> Callable[[], object]:
    """Return a step of PyTorch on batches in memory in turn: float32 (N, C, H, W) in the layout, labels int64 (N,)."""
    form = LAYOUTS[layout]
    network = Network(model).train().to(memory_format=form)
    inputs = [(torch.from_numpy(x).to(memory_format=form), torch.from_numpy(y)) for x, y in batches]
    recipes = {"adam": (torch.optim.Adam, {}), "momentum": (torch.optim.SGD, {"momentum": 0.9})}
    make, options = recipes[optimizer]
    update = make(network.parameters(), lr=1e-3, fused=True, **options)
    loss_of = nn.CrossEntropyLoss()

    def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return loss_of(network(x), y)

    forward = torch.compile(loss) if is_compiled else loss
    turn = 0

    def step() -> None:
        nonlocal turn
        x, y = inputs[turn % len(inputs)]
        turn += 1
        update.zero_grad(set_to_none=True)
        forward(x, y).backward()
        update.step()

    return step


def prediction(model: Model, x: np.ndarray, *, way: str, threads: int) -> Callable[[], np.ndarray]:
    """Return a call that computes the probabilities of x float32 (N, C, H, W).

    `way`: nchw, channels_last; frozen nchw and frozen channels_last (torch.jit.optimize_for_inference: batch norms in
    the convolutions, weights in oneDNN's layout); compiled (torch.compile); onnxruntime.
    """
    network = nn.Sequential(Network(model), nn.Softmax(1)).eval()
    if way == "onnxruntime":
        return onnx_prediction(network, x, threads)
    how, _, layout = way.rpartition(" ")
    form = LAYOUTS[layout]
    network = network.to(memory_format=form)
    inputs = torch.from_numpy(x).to(memory_format=form)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if how == "frozen":
            network = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(network, inputs)))
        if how == "compiled":
            network = torch.compile(network)

    def call() -> np.ndarray:
        with torch.inference_mode():
            return network(inputs).numpy()

    return call


def onnx_prediction(network: nn.Module, x: np.ndarray, threads: int) -> Callable[[], np.ndarray]:
    """Return a call of onnxruntime with every optimisation, compiled for just this shape."""
    import onnxruntime

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (torch.from_numpy(x),), file, dynamo=False, input_names=["x"], output_names=["y"], opset_version=20
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})[0]
