"""A network of ours computed by PyTorch: every node through torch.nn.functional, from the options of its layer."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional

from cnncli.model import Model


class TorchNetwork(torch.nn.Module):
    """The nodes of a model in order; parameters and buffers are named as in checkpoints, with ``:`` for the slash."""

    def __init__(self, model: Model, arrays: dict[str, Any], dtype: torch.dtype) -> None:
        super().__init__()
        self.model = model
        trainable = {slot.name for slot in model.slots}
        for name, array in arrays.items():
            tensor = torch.tensor(array.copy(), dtype=dtype)
            if name in trainable:
                self.register_parameter(name.replace("/", ":"), torch.nn.Parameter(tensor))
            else:
                self.register_buffer(name.replace("/", ":"), tensor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the output of the last node."""
        values = {-1: x}
        for i, node in enumerate(self.model.nodes):
            parameters = {name: getattr(self, f"{node.name}:{name}") for name in node.params}
            inputs = [values[j] for j in node.inputs]
            values[i] = OPERATIONS[node.layer.kind](node.layer, inputs, parameters, self.training)
            if node.layer.kind == "softmax" and i < len(self.model.nodes) - 1:  # at the end, the loss takes logits
                values[i] = values[i].softmax(1)
        return values[len(self.model.nodes) - 1]


def _padded(x: torch.Tensor, padding: Any, value: float = 0.0) -> torch.Tensor:
    top, bottom, left, right = padding
    return functional.pad(x, (left, right, top, bottom), value=value)


def _conv(layer: Any, xs: Any, p: Any, training: bool) -> torch.Tensor:
    x = _padded(xs[0], layer.padding)
    return functional.conv2d(x, p["weight"], p.get("bias"), layer.stride, 0, layer.dilation, layer.groups)


def _batchnorm(layer: Any, xs: Any, p: Any, training: bool) -> torch.Tensor:
    statistics = p["mean"], p["variance"]
    return functional.batch_norm(xs[0], *statistics, p["weight"], p["bias"], training, 1 - layer.momentum, layer.eps)


def _maxpool(layer: Any, xs: Any, p: Any, training: bool) -> torch.Tensor:
    return functional.max_pool2d(
        _padded(xs[0], layer.padding, -torch.inf), layer.size, layer.stride, ceil_mode=layer.ceil
    )


def _avgpool(layer: Any, xs: Any, p: Any, training: bool) -> torch.Tensor:
    if hasattr(layer, "out"):
        return functional.adaptive_avg_pool2d(xs[0], layer.out)
    ones = torch.ones_like(xs[0][:1, :1])
    sums, counts = (
        functional.avg_pool2d(
            _padded(x, layer.padding), layer.size, layer.stride, ceil_mode=layer.ceil, divisor_override=1
        )
        for x in (xs[0], ones)
    )
    return sums / counts


def _conv_transpose(layer: Any, xs: Any, p: Any, training: bool) -> torch.Tensor:
    options = layer.stride, 0, layer.output_padding, layer.groups, layer.dilation
    y = functional.conv_transpose2d(xs[0], p["weight"], p.get("bias"), *options)
    return _padded(y, [-n for n in layer.padding])


def _locally_connected(layer: Any, xs: Any, p: Any, training: bool) -> torch.Tensor:
    windows = functional.unfold(_padded(xs[0], layer.padding), layer.kernel, stride=layer.stride)  # (N, C*KH*KW, OH*OW)
    y = torch.einsum("nkp,pfk->nfp", windows, p["weight"].flatten(2))
    y = y.reshape(len(y), *layer.out_shape(xs[0].shape[1:]))
    return y + p["bias"] if "bias" in p else y


def _multiply(layer: Any, xs: Any, p: Any, training: bool) -> torch.Tensor:
    images = [x[:, :, None, None] if x.ndim == 2 and max(one.ndim for one in xs) == 4 else x for x in xs]
    return math.prod(images[1:], start=images[0])


OPERATIONS: dict[str, Any] = {
    "conv": _conv,
    "depthwise": _conv,
    "conv_transpose": _conv_transpose,
    "batchnorm": _batchnorm,
    "groupnorm": lambda layer, xs, p, training: functional.group_norm(
        xs[0], layer.groups, p["weight"], p["bias"], layer.eps
    ),
    "layernorm": lambda layer, xs, p, training: functional.layer_norm(
        xs[0], xs[0].shape[1:], p["weight"], p["bias"], layer.eps
    ),
    "maxpool": _maxpool,
    "avgpool": _avgpool,
    "dense": lambda layer, xs, p, training: functional.linear(xs[0], p["weight"], p.get("bias")),
    "relu": lambda layer, xs, p, training: functional.relu(xs[0]),
    "flatten": lambda layer, xs, p, training: xs[0].flatten(1),
    "leaky_relu": lambda layer, xs, p, training: functional.leaky_relu(xs[0], layer.slope),
    "prelu": lambda layer, xs, p, training: functional.prelu(xs[0], p["slope"]),
    "elu": lambda layer, xs, p, training: functional.elu(xs[0], layer.alpha),
    "gelu": lambda layer, xs, p, training: functional.gelu(xs[0]),
    "silu": lambda layer, xs, p, training: functional.silu(xs[0]),
    "sigmoid": lambda layer, xs, p, training: xs[0].sigmoid(),
    "tanh": lambda layer, xs, p, training: xs[0].tanh(),
    "relu6": lambda layer, xs, p, training: functional.relu6(xs[0]),
    "hard_sigmoid": lambda layer, xs, p, training: functional.hardsigmoid(xs[0]),
    "hard_swish": lambda layer, xs, p, training: functional.hardswish(xs[0]),
    "softmax": lambda layer, xs, p, training: xs[0],
    "dropout": lambda layer, xs, p, training: functional.dropout(xs[0], layer.rate, training),
    "add": lambda layer, xs, p, training: sum(xs),
    "concat": lambda layer, xs, p, training: torch.cat(xs, 1),
    "multiply": _multiply,
    "globalavgpool": lambda layer, xs, p, training: xs[0].mean((2, 3), keepdim=layer.keep),
    "globalmaxpool": lambda layer, xs, p, training: xs[0].amax((2, 3), keepdim=layer.keep),
    "lrn": lambda layer, xs, p, training: functional.local_response_norm(
        xs[0], layer.size, layer.alpha, layer.beta, layer.k
    ),
    "upsample": lambda layer, xs, p, training: functional.interpolate(xs[0], scale_factor=layer.factor),
    "pad": lambda layer, xs, p, training: _padded(xs[0], layer.padding),
    "crop": lambda layer, xs, p, training: _padded(xs[0], [-side for side in layer.pixels]),
    "reshape": lambda layer, xs, p, training: xs[0].reshape(len(xs[0]), *layer.out_shape(xs[0].shape[1:])),
    "locally_connected": _locally_connected,
}
