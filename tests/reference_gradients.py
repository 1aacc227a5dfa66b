"""Gradients of the slow forward passes in `reference_layers`, each product differentiated, in float64.

For what differences of a loss do not tell: which of equal values in a window gets the gradient, and every entry of
large arrays. `test_session_oracle.py` holds them against differences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from reference_layers import FORWARD, Array, Place, bordered, cross_entropies, per_channel, tap, windows

from cnncli.model import Model

Flows = tuple[list[Array], dict[str, Array]]  # gradients of the inputs, and of the parameters by name


def run_network(model: Model, parameters: Array, x: Array, labels: Array) -> tuple[Array, Array, Array]:
    """Return losses (N,), probabilities (N, K) and the flat gradient of the mean loss, for x (N, C, H, W)."""
    arrays = {s.name: parameters[s.offset : s.offset + s.size].reshape(s.shape) for s in model.slots}
    nodes = [node for node in model.nodes if node.layer.kind != "softmax"]
    own = [{name: arrays[f"{node.name}/{name}"] for name in node.params} for node in nodes]
    values = {-1: x.astype(np.float64)}
    for i, node in enumerate(nodes):
        values[i] = FORWARD[node.layer.kind](node.layer, [values[j] for j in node.inputs], own[i], Place())
    logits = values[len(nodes) - 1]
    losses = cross_entropies(logits, labels)
    probs = FORWARD["softmax"](None, [logits - logits.max(1, keepdims=True)], {}, Place())

    flows = {i: np.zeros_like(value) for i, value in values.items()}
    flows[len(nodes) - 1] = (probs - np.eye(probs.shape[1])[labels]) / len(labels)
    gradients: dict[str, Array] = {}
    for i, node in reversed(list(enumerate(nodes))):
        inputs = [values[j] for j in node.inputs]
        flowing, found = BACKWARD[node.layer.kind](node.layer, inputs, own[i], flows[i])
        gradients |= {f"{node.name}/{name}": found[name] for name in node.params}
        for j, dx in zip(node.inputs, flowing, strict=True):
            flows[j] += dx
    return losses, probs, np.concatenate([gradients[slot.name].ravel() for slot in model.slots])


def _inside(bordered_x: Array, pads: Sequence[int], x: Array) -> Array:
    """Return the part of a bordered image that is the image."""
    return bordered_x[:, :, pads[0] : pads[0] + x.shape[2], pads[2] : pads[2] + x.shape[3]]


def convolution(layer: Any, xs: Sequence[Array], p: Mapping[str, Array], dy: Array) -> Flows:
    x, weight = bordered(xs[0], layer.padding), p["weight"]
    filters, channels = weight.shape[:2]
    dx, dweight = np.zeros_like(x), np.zeros_like(weight)
    for f in range(filters):
        first = f // (filters // layer.groups) * channels
        for a, b in np.ndindex(*layer.kernel):
            place = np.s_[:, first : first + channels, *tap(layer, a, b, *dy.shape[2:])]
            dweight[f, :, a, b] = (x[place] * dy[:, f, None]).sum((0, 2, 3))
            dx[place] += weight[f, :, a, b, None, None] * dy[:, f, None]
    return [_inside(dx, layer.padding, xs[0])], {"weight": dweight, "bias": dy.sum((0, 2, 3))}


def transposed(layer: Any, xs: Sequence[Array], p: Mapping[str, Array], dy: Array) -> Flows:
    (x,), weight = xs, p["weight"]
    (sh, sw), (dh, dw) = layer.stride, layer.dilation
    channels, per_group, kh, kw = weight.shape
    dx, dweight = np.zeros_like(x), np.zeros_like(weight)
    for c in range(channels):
        first = c // (channels // layer.groups) * per_group
        for i, j, a, b in np.ndindex(*x.shape[2:], kh, kw):
            row, column = i * sh + a * dh - layer.padding[0], j * sw + b * dw - layer.padding[2]
            if 0 <= row < dy.shape[2] and 0 <= column < dy.shape[3]:
                gain = dy[:, first : first + per_group, row, column]
                dx[:, c, i, j] += gain @ weight[c, :, a, b]
                dweight[c, :, a, b] += x[:, c, i, j] @ gain
    return [dx], {"weight": dweight, "bias": dy.sum((0, 2, 3))}


def local(layer: Any, xs: Sequence[Array], p: Mapping[str, Array], dy: Array) -> Flows:
    x, weight = bordered(xs[0], layer.padding), p["weight"]
    dx, dweight = np.zeros_like(x), np.zeros_like(weight)
    for f, i, j in np.ndindex(dy.shape[1:]):
        row, column = i * layer.stride[0], j * layer.stride[1]
        place = np.s_[:, :, row : row + layer.kernel[0], column : column + layer.kernel[1]]
        gain = dy[:, f, i, j, None, None, None]
        dweight[i * dy.shape[3] + j, f] = (gain * x[place]).sum(0)
        dx[place] += gain * weight[i * dy.shape[3] + j, f]
    return [_inside(dx, layer.padding, xs[0])], {"weight": dweight, "bias": dy.sum(0)}


def dense(layer: Any, xs: Sequence[Array], p: Mapping[str, Array], dy: Array) -> Flows:
    return [dy @ p["weight"]], {"weight": dy.T @ xs[0], "bias": dy.sum(0)}


def norm(layer: Any, xs: Sequence[Array], p: Mapping[str, Array], dy: Array) -> Flows:
    """dx from the Jacobian of every row, an image's group: (I - 1/n - xhat xhat'/n) / deviation."""
    (x,), weight = xs, p["weight"]
    rows = x.reshape(len(x), layer.groups if layer.kind == "groupnorm" else 1, -1)
    scale = 1 / np.sqrt(rows.var(-1, keepdims=True) + layer.eps)
    normal = (rows - rows.mean(-1, keepdims=True)) * scale
    n = rows.shape[-1]
    jacobian = np.eye(n) - 1 / n - normal[..., :, None] * normal[..., None, :] / n
    gains = dy * (per_channel(weight, x) if weight.ndim == 1 else weight)
    dx = (jacobian @ gains.reshape(rows.shape)[..., None])[..., 0] * scale
    others = tuple(axis for axis in range(x.ndim) if axis == 0 or axis > weight.ndim)
    return [dx.reshape(x.shape)], {"weight": (dy * normal.reshape(x.shape)).sum(others), "bias": dy.sum(others)}


def _pool(share: Callable[[Array], Array]) -> Callable[..., Flows]:
    """Return the gradient of a pool; `share` says how much of it each value of a window (N, C, n) gets."""

    def backward(layer: Any, xs: Sequence[Array], p: Mapping[str, Array], dy: Array) -> Flows:
        (x,) = xs
        dx, (rows, columns) = np.zeros_like(x), windows(layer, x.shape)
        dy = dy.reshape(*x.shape[:2], len(rows), len(columns))
        for i, j in np.ndindex(len(rows), len(columns)):
            window = x[:, :, rows[i], columns[j]]
            shares = share(window.reshape(*x.shape[:2], -1)) * dy[:, :, i, j, None]
            dx[:, :, rows[i], columns[j]] += shares.reshape(window.shape)
        return [dx], {}

    return backward


def _to_first_largest(window: Array) -> Array:
    return np.eye(window.shape[-1])[window.argmax(-1)]


def response_norm(layer: Any, xs: Sequence[Array], p: Mapping[str, Array], dy: Array) -> Flows:
    """With y = x / s**beta, every y[c] depends on x[c] and, through s[c], on the neighbours x[j]."""
    (x,) = xs
    near = [(c, j) for c, j in np.ndindex(x.shape[1], x.shape[1])
            if c - layer.size // 2 <= j <= c + (layer.size - 1) // 2]  # fmt: skip
    s = np.full(x.shape, layer.k)
    for c, j in near:
        s[:, c] += layer.alpha / layer.size * x[:, j] ** 2
    dx = dy / s**layer.beta
    for c, j in near:
        ds = 2 * layer.alpha / layer.size * x[:, j]
        dx[:, j] -= dy[:, c] * x[:, c] * layer.beta * s[:, c] ** (-layer.beta - 1) * ds
    return [dx], {}


def product(layer: Any, xs: Sequence[Array], p: Mapping[str, Array], dy: Array) -> Flows:
    """A vector and a single pixel stand for all pixels."""
    images = [x if x.ndim == dy.ndim else x.reshape(*x.shape, *(1,) * (dy.ndim - x.ndim)) for x in xs]
    flowing = []
    for i, x in enumerate(images):
        dx = dy * np.prod(np.broadcast_arrays(dy, *(other for k, other in enumerate(images) if k != i))[1:], 0)
        flowing.append((dx.sum((2, 3)) if x[0, 0].size == 1 < dx[0, 0].size else dx).reshape(xs[i].shape))
    return flowing, {}


def upsample(layer: Any, xs: Sequence[Array], p: Mapping[str, Array], dy: Array) -> Flows:
    (x,), (rows, columns) = xs, layer.factor
    return [dy.reshape(*x.shape[:3], rows, x.shape[3], columns).sum((3, 5))], {}


def crop(layer: Any, xs: Sequence[Array], p: Mapping[str, Array], dy: Array) -> Flows:
    return [bordered(dy, layer.pixels)], {}


def unchanged(layer: Any, xs: Sequence[Array], p: Mapping[str, Array], dy: Array) -> Flows:
    return [dy.reshape(xs[0].shape)], {}


BACKWARD: dict[str, Callable[..., Flows]] = {
    "conv": convolution,
    "depthwise": convolution,
    "conv_transpose": transposed,
    "locally_connected": local,
    "dense": dense,
    "groupnorm": norm,
    "layernorm": norm,
    "lrn": response_norm,
    "maxpool": _pool(_to_first_largest),
    "globalmaxpool": _pool(_to_first_largest),
    "avgpool": _pool(lambda window: np.full(window.shape, 1 / window.shape[-1])),
    "globalavgpool": _pool(lambda window: np.full(window.shape, 1 / window.shape[-1])),
    "relu": lambda layer, xs, p, dy: ([dy * (xs[0] > 0)], {}),
    "upsample": upsample,
    "pad": lambda layer, xs, p, dy: ([_inside(dy, layer.padding, xs[0])], {}),
    "crop": crop,
    "flatten": unchanged,
    "reshape": unchanged,
    "add": lambda layer, xs, p, dy: ([dy for _ in xs], {}),
    "concat": lambda layer, xs, p, dy: (np.split(dy, np.cumsum([x.shape[1] for x in xs])[:-1], 1), {}),
    "multiply": product,
}
