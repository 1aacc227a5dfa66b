"""The slow oracle of every layer that can be run: its forward pass from the formula, pixel by pixel, in float64.

Arrays are (N, C, H, W) or (N, n). Nothing here is taken from the package but the options of a layer: no shapes, no
windows, no loops. Gradients are checked by differences of these results.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Place:
    """Where a layer stands: how many of its kind are before it, whether the network trains, the key of the step."""

    number: int = 0
    is_training: bool = False
    key: int = 0


def key_of(seed: int, epoch: int, step: int) -> int:
    """Return the 64 bits that decide what dropout drops in a step."""
    return int.from_bytes(blake2b(f"{seed} {epoch} {step}".encode(), digest_size=8).digest(), "little")


def run(model: Any, arrays: Mapping[str, Array], x: Array, *, is_training: bool, key: int = 0) -> Array:
    """Return the output of a network, without a softmax at its end: the logits."""
    values = {-1: x.astype(np.float64)}
    for i, node in enumerate(model.nodes):
        if node.layer.kind == "softmax" and i == len(model.nodes) - 1:
            return values[node.inputs[0]]
        if node.layer.kind not in FORWARD:
            raise NotImplementedError(
                f"layer kind {node.layer.kind} has no slow forward pass: write one in tests/reference_layers.py"
            )
        own = {name: arrays[f"{node.name}/{name}"] for name in node.params}
        number = sum(one.layer.kind == node.layer.kind for one in model.nodes[:i])
        inputs = [values[j] for j in node.inputs]
        values[i] = FORWARD[node.layer.kind](node.layer, inputs, own, Place(number, is_training, key))
    return values[len(model.nodes) - 1]


def cross_entropies(logits: Array, labels: Array) -> Array:
    """Return -log(softmax) of the right class of every image."""
    shifted = logits - logits.max(1, keepdims=True)
    return np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]


def _taps(layer: Any) -> Any:
    return [(a, b) for a in range(layer.kernel[0]) for b in range(layer.kernel[1])]


def bordered(x: Array, pads: Sequence[int], value: float = 0.0) -> Array:
    top, bottom, left, right = pads
    n, channels, height, width = x.shape
    out = np.full((n, channels, height + top + bottom, width + left + right), value)
    out[:, :, top : top + height, left : left + width] = x
    return out


def convolution(layer: Any, xs: Sequence[Array], p: Mapping[str, Array], place: Place) -> Array:
    """y[f, i, j] = bias[f] + sum over c, a, b of weight[f, c, a, b] * x[c of the group, i*s + a*d, j*s + b*d]."""
    x, weight = bordered(xs[0], layer.padding), p["weight"]
    filters, channels = weight.shape[:2]
    rows, columns = (
        (n - d * (k - 1) - 1) // s + 1
        for n, s, d, k in zip(x.shape[2:], layer.stride, layer.dilation, layer.kernel, strict=True)
    )
    y = np.zeros((len(x), filters, rows, columns))
    for f in range(filters):
        first = f // (filters // layer.groups) * channels
        for a, b in np.ndindex(*layer.kernel):
            below, right = tap(layer, a, b, rows, columns)
            y[:, f] += np.tensordot(x[:, first : first + channels, below, right], weight[f, :, a, b], (1, 0))
        y[:, f] += p["bias"][f] if "bias" in p else 0.0
    return y


def tap(layer: Any, a: int, b: int, rows: int, columns: int) -> tuple[slice, slice]:
    """Return which rows and columns of the bordered image meet weight (a, b)."""
    (sh, sw), (dh, dw) = layer.stride, layer.dilation
    return slice(a * dh, a * dh + sh * (rows - 1) + 1, sh), slice(b * dw, b * dw + sw * (columns - 1) + 1, sw)


def transposed(layer: Any, xs: Sequence[Array], p: Mapping[str, Array], place: Place) -> Array:
    """x[c, i, j] adds weight[c, f, a, b] * x to y[f of the group, i*s + a*d, j*s + b*d]; then padding is cut off."""
    x, weight = xs[0], p["weight"]
    channels, per_group = weight.shape[:2]
    top, bottom, left, right = layer.padding
    rows, columns = (
        (n - 1) * s + d * (k - 1) + 1 + extra
        for n, s, d, k, extra in zip(
            x.shape[2:], layer.stride, layer.dilation, layer.kernel, layer.output_padding, strict=True
        )
    )
    y = np.zeros((len(x), per_group * layer.groups, rows, columns))
    for c in range(channels):
        first = c // (channels // layer.groups) * per_group
        for i in range(x.shape[2]):
            for j in range(x.shape[3]):
                for a, b in _taps(layer):
                    h, w = i * layer.stride[0] + a * layer.dilation[0], j * layer.stride[1] + b * layer.dilation[1]
                    y[:, first : first + per_group, h, w] += x[:, c, i, j, None] * weight[c, :, a, b]
    y += per_channel(p["bias"], y) if "bias" in p else 0.0
    return y[:, :, top : rows - bottom, left : columns - right]


def group_norm(layer: Any, xs: Sequence[Array], p: Mapping[str, Array], place: Place) -> Array:
    """weight * (x - mean) / sqrt(variance + eps) + bias, with the moments of each image's groups of channels."""
    x = xs[0]
    y = np.zeros_like(x)
    size = x.shape[1] // layer.groups
    for n in range(len(x)):
        for c in range(0, x.shape[1], size):
            group = x[n, c : c + size]
            y[n, c : c + size] = (group - group.mean()) / np.sqrt(group.var() + layer.eps)
    return per_channel(p["weight"], x) * y + per_channel(p["bias"], x)


def layer_norm(layer: Any, xs: Sequence[Array], p: Mapping[str, Array], place: Place) -> Array:
    """weight * (x - mean) / sqrt(variance + eps) + bias, value by value, with the moments of each image."""
    scaled = [(image - image.mean()) / np.sqrt(image.var() + layer.eps) for image in xs[0]]
    return p["weight"] * np.array(scaled) + p["bias"]


def _starts(length: int, size: int, stride: int, before: int, after: int, ceil: bool) -> list[int]:
    """Return where the windows of a pool begin; rounding up adds one that begins inside of the image."""
    starts = [-before]
    while True:
        start = starts[-1] + stride
        fits = start + size <= length + after
        hangs_over = ceil and starts[-1] + size < length + after and start < length
        if not fits and not hangs_over:
            return starts
        starts.append(start)


def windows(layer: Any, shape: Sequence[int]) -> tuple[list[slice], list[slice]]:
    """Return the rows and the columns of a pool's windows over (N, C, H, W), without what lies outside of the image.

    Adaptive pools have bins from floor(i * n / m) to ceil((i + 1) * n / m), global ones a single window.
    """
    axes = []
    for axis, length in enumerate(shape[2:]):
        if hasattr(layer, "size"):
            size, (before, after) = layer.size[axis], layer.padding[2 * axis : 2 * axis + 2]
            starts = _starts(length, size, layer.stride[axis], before, after, layer.ceil)
            axes.append([slice(max(start, 0), start + size) for start in starts])
        else:
            bins = layer.out[axis] if hasattr(layer, "out") else 1
            axes.append([slice(math.floor(i * length / bins), math.ceil((i + 1) * length / bins)) for i in range(bins)])
    return axes[0], axes[1]


def _pool(best: Callable[[Array], Array]) -> Callable[..., Array]:
    def forward(layer: Any, xs: Sequence[Array], p: Mapping[str, Array], place: Place) -> Array:
        rows, columns = windows(layer, xs[0].shape)
        y = np.zeros((*xs[0].shape[:2], len(rows), len(columns)))
        for i, j in np.ndindex(len(rows), len(columns)):
            window = xs[0][:, :, rows[i], columns[j]]
            y[:, :, i, j] = best(window.reshape(*y.shape[:2], -1))
        return y if getattr(layer, "keep", True) else y[:, :, 0, 0]

    return forward


def per_channel(values: Array, x: Array) -> Array:
    return values.reshape(-1, *(1,) * (x.ndim - 2))


def batch_norm(layer: Any, xs: Sequence[Array], p: Mapping[str, Array], place: Place) -> Array:
    """weight * (x - mean) / sqrt(variance + eps) + bias, with the moments of the batch when training."""
    x = xs[0]
    axes = (0, *range(2, x.ndim))
    mean, variance = (x.mean(axes), x.var(axes)) if place.is_training else (p["mean"], p["variance"])
    scaled = (x - per_channel(mean, x)) / np.sqrt(per_channel(variance, x) + layer.eps)
    return per_channel(p["weight"], x) * scaled + per_channel(p["bias"], x)


_MASK = 2**64 - 1


def _mixed(number: int) -> int:
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB & _MASK
    return number ^ (number >> 31)


def dropout(layer: Any, xs: Sequence[Array], p: Mapping[str, Array], place: Place) -> Array:
    """0 with probability `rate`, else x / (1 - rate); 32 random bits for each image and each of its numbers."""
    if not place.is_training:
        return xs[0]
    seed = place.key + _mixed(place.number)
    flat = xs[0].reshape(len(xs[0]), -1)
    kept = np.array(
        [
            [_mixed((seed + _mixed((image << 40) + i)) & _MASK) >> 32 >= round(layer.rate * 2**32)
             for i in range(flat.shape[1])]
            for image in range(len(flat))
        ]
    )  # fmt: skip
    return (flat * kept / (1 - layer.rate)).reshape(xs[0].shape)


def response_norm(layer: Any, xs: Sequence[Array], p: Mapping[str, Array], place: Place) -> Array:
    """x / (k + alpha / size * sum of squares over size channels) ** beta; an even size reaches further down."""
    x = xs[0]
    y = np.zeros_like(x)
    for c in range(x.shape[1]):
        near = x[:, max(0, c - layer.size // 2) : c + (layer.size - 1) // 2 + 1]
        y[:, c] = x[:, c] / (layer.k + layer.alpha / layer.size * (near**2).sum(1)) ** layer.beta
    return y


def _each(function: Callable[[Any, float], float]) -> Callable[..., Array]:
    def forward(layer: Any, xs: Sequence[Array], p: Mapping[str, Array], place: Place) -> Array:
        return np.array([function(layer, value) for value in xs[0].ravel()]).reshape(xs[0].shape)

    return forward


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


def _prelu(layer: Any, xs: Sequence[Array], p: Mapping[str, Array], place: Place) -> Array:
    return np.where(xs[0] > 0, xs[0], per_channel(p["slope"], xs[0]) * xs[0])


def _upsample(layer: Any, xs: Sequence[Array], p: Mapping[str, Array], place: Place) -> Array:
    rows, columns = layer.factor
    n, channels, height, width = xs[0].shape
    y = np.zeros((n, channels, height * rows, width * columns))
    for i in range(height * rows):
        for j in range(width * columns):
            y[:, :, i, j] = xs[0][:, :, i // rows, j // columns]
    return y


def _product(layer: Any, xs: Sequence[Array], p: Mapping[str, Array], place: Place) -> Array:
    """A vector and a single pixel stand for all pixels."""
    largest = max(xs, key=lambda x: (x[0].size, x.ndim))
    y = np.ones(largest.shape)
    for x in xs:
        y = y * x.reshape(*x.shape[:2], *(1,) * (largest.ndim - 2)) if x.ndim < largest.ndim else y * x
    return y


def _cropped(layer: Any, xs: Sequence[Array], p: Mapping[str, Array], place: Place) -> Array:
    top, bottom, left, right = layer.pixels
    return xs[0][:, :, top : xs[0].shape[2] - bottom, left : xs[0].shape[3] - right]


def _local(layer: Any, xs: Sequence[Array], p: Mapping[str, Array], place: Place) -> Array:
    """y[f, i, j] = bias[f, i, j] + sum over c, a, b of weight[i*OW + j, f, c, a, b] * x[c, i*s + a, j*s + b]."""
    x, weight = bordered(xs[0], layer.padding), p["weight"]
    rows = (x.shape[2] - layer.kernel[0]) // layer.stride[0] + 1
    columns = (x.shape[3] - layer.kernel[1]) // layer.stride[1] + 1
    y = np.zeros((len(x), weight.shape[1], rows, columns))
    for f, i, j in np.ndindex(y.shape[1:]):
        for a, b in _taps(layer):
            taps = x[:, :, i * layer.stride[0] + a, j * layer.stride[1] + b]
            y[:, f, i, j] += taps @ weight[i * columns + j, f, :, a, b]
    return y + p.get("bias", 0.0)


def _reshaped(layer: Any, xs: Sequence[Array], p: Mapping[str, Array], place: Place) -> Array:
    height, width, channels = layer.shape
    return xs[0].reshape(len(xs[0]), channels, height, width)


FORWARD: dict[str, Callable[..., Array]] = {
    "conv": convolution,
    "depthwise": convolution,
    "conv_transpose": transposed,
    "groupnorm": group_norm,
    "layernorm": layer_norm,
    "dense": lambda layer, xs, p, place: xs[0] @ p["weight"].T + p.get("bias", 0.0),
    "batchnorm": batch_norm,
    "maxpool": _pool(lambda window: window.max(-1)),
    "avgpool": _pool(lambda window: window.mean(-1)),
    "globalavgpool": _pool(lambda window: window.mean(-1)),
    "globalmaxpool": _pool(lambda window: window.max(-1)),
    "locally_connected": _local,
    "multiply": _product,
    "crop": _cropped,
    "reshape": _reshaped,
    "flatten": lambda layer, xs, p, place: xs[0].reshape(len(xs[0]), -1),
    "dropout": dropout,
    "add": lambda layer, xs, p, place: np.sum(xs, 0),
    "concat": lambda layer, xs, p, place: np.concatenate(xs, 1),
    "lrn": response_norm,
    "pad": lambda layer, xs, p, place: bordered(xs[0], layer.padding),
    "upsample": _upsample,
    "relu": lambda layer, xs, p, place: np.maximum(xs[0], 0.0),
    "leaky_relu": _each(lambda layer, x: x if x > 0 else layer.slope * x),
    "prelu": _prelu,
    "elu": _each(lambda layer, x: x if x > 0 else layer.alpha * math.expm1(x)),
    "gelu": _each(lambda layer, x: x * 0.5 * (1 + math.erf(x / math.sqrt(2)))),
    "silu": _each(lambda layer, x: x * _sigmoid(x)),
    "sigmoid": _each(lambda layer, x: _sigmoid(x)),
    "tanh": _each(lambda layer, x: math.tanh(x)),
    "relu6": _each(lambda layer, x: min(max(x, 0.0), 6.0)),
    "hard_sigmoid": _each(lambda layer, x: min(max(x + 3, 0.0), 6.0) / 6),
    "hard_swish": _each(lambda layer, x: x * min(max(x + 3, 0.0), 6.0) / 6),
    "softmax": lambda layer, xs, p, place: np.exp(xs[0]) / np.exp(xs[0]).sum(1, keepdims=True),
}
