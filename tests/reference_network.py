"""The slow oracle of a network: every layer forward and backward in plain float64 loops over taps, (N, C, H, W)."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import reference_layers

from cnncli.layers import (
    LRN,
    AdaptiveAvgPool2D,
    Add,
    AvgPool2D,
    Concat,
    Conv2D,
    ConvTranspose2D,
    Crop2D,
    Dense,
    Flatten,
    GlobalAvgPool2D,
    GlobalMaxPool2D,
    GroupNorm,
    LayerNorm,
    LocallyConnected2D,
    MaxPool2D,
    Pad2D,
    ReLU,
    Reshape,
    Softmax,
    Upsample2D,
)
from cnncli.model import Model

IMAGE_LAYERS = (Upsample2D, Pad2D, Crop2D, AdaptiveAvgPool2D, GlobalAvgPool2D, GlobalMaxPool2D)


def conv_forward(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, layer: Any) -> np.ndarray:
    """Cross-correlation: y[n, f, i, j] = bias[f] + sum of weight * window."""
    (sh, sw), (dh, dw), groups = layer.stride, layer.dilation, layer.groups
    top, bottom, left, right = layer.padding
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    filters, channels, kh, kw = weight.shape
    oh = (padded.shape[2] - dh * (kh - 1) - 1) // sh + 1
    ow = (padded.shape[3] - dw * (kw - 1) - 1) // sw + 1
    y = np.zeros((len(x), filters, oh, ow))
    for f in range(filters):
        first = f // (filters // groups) * channels
        for c in range(channels):
            for a in range(kh):
                for b in range(kw):
                    window = padded[:, first + c, a * dh : a * dh + sh * oh : sh, b * dw : b * dw + sw * ow : sw]
                    y[:, f] += weight[f, c, a, b] * window[:, :oh, :ow]
        y[:, f] += 0 if bias is None else bias[f]
    return y


def conv_backward(
    x: np.ndarray, weight: np.ndarray, dy: np.ndarray, layer: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return dx, dweight, dbias: each product of conv_forward, differentiated."""
    (sh, sw), (dh, dw), groups = layer.stride, layer.dilation, layer.groups
    top, bottom, left, right = layer.padding
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    filters, channels, kh, kw = weight.shape
    oh, ow = dy.shape[2:]
    dpadded, dweight = np.zeros_like(padded), np.zeros_like(weight)
    for f in range(filters):
        first = f // (filters // groups) * channels
        for c in range(channels):
            for a in range(kh):
                for b in range(kw):
                    rows = slice(a * dh, a * dh + sh * (oh - 1) + 1, sh)
                    columns = slice(b * dw, b * dw + sw * (ow - 1) + 1, sw)
                    dweight[f, c, a, b] = (padded[:, first + c, rows, columns] * dy[:, f]).sum()
                    dpadded[:, first + c, rows, columns] += weight[f, c, a, b] * dy[:, f]
    height, width = x.shape[2:]
    return dpadded[:, :, top : top + height, left : left + width], dweight, dy.sum((0, 2, 3))


def transposed_backward(
    x: np.ndarray, weight: np.ndarray, dy: np.ndarray, layer: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return dx, dweight, dbias: each product of a transposed convolution, differentiated."""
    (sh, sw), (dh, dw), groups = layer.stride, layer.dilation, layer.groups
    top, _, left, _ = layer.padding
    channels, per_group, kh, kw = weight.shape
    dx, dweight = np.zeros_like(x), np.zeros_like(weight)
    for c in range(channels):
        first = c // (channels // groups) * per_group
        for i, j, a, b in np.ndindex(*x.shape[2:], kh, kw):
            row, column = i * sh + a * dh - top, j * sw + b * dw - left
            if 0 <= row < dy.shape[2] and 0 <= column < dy.shape[3]:
                gain = dy[:, first : first + per_group, row, column]
                dx[:, c, i, j] += gain @ weight[c, :, a, b]
                dweight[c, :, a, b] += x[:, c, i, j] @ gain
    return dx, dweight, dy.sum((0, 2, 3))


def _normal(x: np.ndarray, layer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return, with one row per image and group, the values with mean 0 and variance 1, and 1 / deviation."""
    rows = x.reshape(len(x), layer.groups if isinstance(layer, GroupNorm) else 1, -1)
    scale = 1 / np.sqrt(rows.var(-1, keepdims=True) + layer.eps)
    return (rows - rows.mean(-1, keepdims=True)) * scale, scale


def _affine(array: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the parameters of a normalisation with as many axes as an image."""
    return array.reshape(array.shape + (1,) * (x.ndim - 1 - array.ndim))


def norm_backward(
    x: np.ndarray, weight: np.ndarray, dy: np.ndarray, layer: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return dx, dweight, dbias, dx from the Jacobian of every row: (I - 1/n - xhat xhat'/n) / deviation."""
    normal, scale = _normal(x, layer)
    gains = (dy * _affine(weight, x)).reshape(normal.shape)
    n = normal.shape[-1]
    jacobian = np.eye(n) - 1 / n - normal[..., :, None] * normal[..., None, :] / n
    dx = (jacobian @ gains[..., None])[..., 0] * scale
    others = tuple(axis for axis in range(x.ndim) if axis == 0 or axis > weight.ndim)
    return dx.reshape(x.shape), (dy * normal.reshape(x.shape)).sum(others), dy.sum(others)


def _windows(layer: Any, shape: tuple[int, ...], out: tuple[int, ...]) -> Any:
    for i in range(out[1]):
        for j in range(out[2]):
            top, left = i * layer.stride[0] - layer.padding[0], j * layer.stride[1] - layer.padding[2]
            rows = slice(max(top, 0), min(top + layer.size[0], shape[2]))
            yield i, j, rows, slice(max(left, 0), min(left + layer.size[1], shape[3]))


def pool_forward(x: np.ndarray, layer: Any) -> np.ndarray:
    """The largest value, or the mean, of each window's pixels inside the image."""
    out = layer.out_shape(x.shape[1:])
    y = np.zeros((len(x), *out))
    for i, j, rows, columns in _windows(layer, x.shape, out):
        window = x[:, :, rows, columns].reshape(*x.shape[:2], -1)
        y[:, :, i, j] = window.max(-1) if isinstance(layer, MaxPool2D) else window.mean(-1)
    return y


def pool_backward(x: np.ndarray, dy: np.ndarray, layer: Any) -> np.ndarray:
    """To the first largest pixel, or in equal shares."""
    dx = np.zeros_like(x)
    for i, j, rows, columns in _windows(layer, x.shape, dy.shape[1:]):
        window = x[:, :, rows, columns]
        if isinstance(layer, MaxPool2D):
            flat = window.reshape(*x.shape[:2], -1)
            share = np.zeros_like(flat)
            np.put_along_axis(share, flat.argmax(-1)[..., None], dy[:, :, i, j, None], -1)
            dx[:, :, rows, columns] += share.reshape(window.shape)
        else:
            dx[:, :, rows, columns] += dy[:, :, i, j, None, None] / (window.shape[2] * window.shape[3])
    return dx


def local_forward(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, layer: Any) -> np.ndarray:
    """Each place has weights of its own: y[n, f, i, j] = bias[f, i, j] + sum of weight[i*OW + j, f] * window."""
    y = np.zeros((len(x), *layer.out_shape(x.shape[1:])))
    for (i, j), window, _ in _local_windows(x, layer, y.shape):
        for f in range(layer.filters):
            y[:, f, i, j] = (window * weight[i * y.shape[3] + j, f]).sum((1, 2, 3))
    return y if bias is None else y + bias


def local_backward(
    x: np.ndarray, weight: np.ndarray, dy: np.ndarray, layer: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return dx, dweight, dbias."""
    top, bottom, left, right = layer.padding
    dpadded = np.zeros((*x.shape[:2], x.shape[2] + top + bottom, x.shape[3] + left + right))
    dweight = np.zeros_like(weight)
    for (i, j), window, place in _local_windows(x, layer, dy.shape):
        for f in range(layer.filters):
            gain = dy[:, f, i, j, None, None, None]
            dweight[i * dy.shape[3] + j, f] = (gain * window).sum(0)
            dpadded[place] += gain * weight[i * dy.shape[3] + j, f]
    return dpadded[:, :, top : top + x.shape[2], left : left + x.shape[3]], dweight, dy.sum(0)


def _local_windows(x: np.ndarray, layer: Any, out: tuple[int, ...]) -> Any:
    top, bottom, left, right = layer.padding
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    for i, j in np.ndindex(out[2:]):
        row, column = i * layer.stride[0], j * layer.stride[1]
        place = np.s_[:, :, row : row + layer.kernel[0], column : column + layer.kernel[1]]
        yield (i, j), padded[place], place


def lrn_forward(x: np.ndarray, layer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return y = x / s**beta and s = k + alpha / size * sum of squares of the neighbouring channels."""
    s = np.full(x.shape, layer.k)
    for c, j in np.ndindex(x.shape[1], x.shape[1]):
        if c - layer.size // 2 <= j <= c + (layer.size - 1) // 2:
            s[:, c] += layer.alpha / layer.size * x[:, j] ** 2
    return x / s**layer.beta, s


def lrn_backward(x: np.ndarray, dy: np.ndarray, layer: Any) -> np.ndarray:
    """Every y[c] depends on x[c] and, through s[c], on the neighbours x[j]."""
    _, s = lrn_forward(x, layer)
    dx = dy / s**layer.beta
    for c, j in np.ndindex(x.shape[1], x.shape[1]):
        if c - layer.size // 2 <= j <= c + (layer.size - 1) // 2:
            ds = 2 * layer.alpha / layer.size * x[:, j]
            dx[:, j] -= dy[:, c] * x[:, c] * layer.beta * s[:, c] ** (-layer.beta - 1) * ds
    return dx


def bins(length: int, count: int) -> list[slice]:
    """Return the bins of adaptive pooling: floor(i*n/m) .. ceil((i+1)*n/m) - 1."""
    return [slice(int(np.floor(i * length / count)), int(np.ceil((i + 1) * length / count))) for i in range(count)]


def moved(x: np.ndarray, out: tuple[int, ...], top: int, left: int) -> np.ndarray:
    """Return x with its first pixel at (top, left) of an image of zeros."""
    y = np.zeros((*x.shape[:2], *out))
    for i, j in np.ndindex(x.shape[2:]):
        if 0 <= i + top < out[0] and 0 <= j + left < out[1]:
            y[:, :, i + top, j + left] = x[:, :, i, j]
    return y


def image_forward(x: np.ndarray, layer: Any) -> np.ndarray:
    """The layers without parameters that move, repeat or average pixels."""
    height, width = x.shape[2:]
    if isinstance(layer, Upsample2D):
        return x.repeat(layer.factor[0], 2).repeat(layer.factor[1], 3)
    if isinstance(layer, Pad2D):
        top, bottom, left, right = layer.padding
        return moved(x, (height + top + bottom, width + left + right), top, left)
    if isinstance(layer, Crop2D):
        top, bottom, left, right = layer.pixels
        return moved(x, (height - top - bottom, width - left - right), -top, -left)
    out = layer.out if isinstance(layer, AdaptiveAvgPool2D) else (1, 1)
    y = np.zeros((*x.shape[:2], *out))
    for (i, rows), (j, columns) in itertools.product(enumerate(bins(height, out[0])), enumerate(bins(width, out[1]))):
        window = x[:, :, rows, columns].reshape(*x.shape[:2], -1)
        y[:, :, i, j] = window.max(-1) if isinstance(layer, GlobalMaxPool2D) else window.mean(-1)
    return y.reshape(len(x), *layer.out_shape(x.shape[1:]))


def image_backward(x: np.ndarray, dy: np.ndarray, layer: Any) -> np.ndarray:
    """Return the gradient of each layer of `image_forward`."""
    height, width = x.shape[2:]
    if isinstance(layer, Upsample2D):
        rows, columns = layer.factor
        return dy.reshape(*x.shape[:3], rows, width, columns).sum((3, 5))
    if isinstance(layer, Pad2D):
        return dy[:, :, layer.padding[0] :, layer.padding[2] :][:, :, :height, :width]
    if isinstance(layer, Crop2D):
        return moved(dy, (height, width), layer.pixels[0], layer.pixels[2])
    dx = np.zeros_like(x)
    out = layer.out if isinstance(layer, AdaptiveAvgPool2D) else (1, 1)
    dy = dy.reshape(*x.shape[:2], *out)
    for (i, rows), (j, columns) in itertools.product(enumerate(bins(height, out[0])), enumerate(bins(width, out[1]))):
        window = x[:, :, rows, columns]
        if isinstance(layer, GlobalMaxPool2D):
            flat = window.reshape(*x.shape[:2], -1)
            share = np.zeros_like(flat)
            np.put_along_axis(share, flat.argmax(-1)[..., None], dy[:, :, i, j, None], -1)
            dx[:, :, rows, columns] += share.reshape(window.shape)
        else:
            dx[:, :, rows, columns] += dy[:, :, i, j, None, None] / (window.shape[2] * window.shape[3])
    return dx


def join_forward(xs: list[np.ndarray], layer: Any) -> np.ndarray:
    """Sum, concatenation, or product in which one pixel stands for all of them."""
    if isinstance(layer, Add):
        return sum(xs)
    if isinstance(layer, Concat):
        return np.concatenate(xs, 1)
    product = np.prod(np.broadcast_arrays(*map(as_images, xs)), 0)
    return product.reshape(len(product), *layer.out_shape(*(x.shape[1:] for x in xs)))


def as_images(x: np.ndarray) -> np.ndarray:
    """Return (N, C, 1, 1) for (N, C)."""
    return x[:, :, None, None] if x.ndim == 2 else x


def join_backward(xs: list[np.ndarray], dy: np.ndarray, layer: Any) -> list[np.ndarray]:
    """Return the gradient of each input."""
    if isinstance(layer, Add):
        return [dy for _ in xs]
    if isinstance(layer, Concat):
        return np.split(dy, np.cumsum([x.shape[1] for x in xs])[:-1], 1)
    gradients = []
    for i, x in enumerate(xs):
        others = [one for k, one in enumerate(xs) if k != i]
        product = np.prod(np.broadcast_arrays(*map(as_images, [dy, *others])), 0)
        gradients.append(product.sum((2, 3)).reshape(x.shape) if x[0, 0].size == 1 else product)
    return gradients


def softmax_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return losses (N,), probabilities (N, K) and the gradient of the mean loss."""
    shifted = logits - logits.max(1, keepdims=True)
    probs = np.exp(shifted) / np.exp(shifted).sum(1, keepdims=True)
    rows = np.arange(len(labels))
    gradient = probs.copy()
    gradient[rows, labels] -= 1
    return np.log(np.exp(shifted).sum(1)) - shifted[rows, labels], probs, gradient / len(labels)


def run_network(
    model: Model, parameters: np.ndarray, x: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return losses (N,), probabilities (N, K) and the flat gradient of the mean loss, for x (N, C, H, W)."""
    arrays = {s.name: parameters[s.offset : s.offset + s.size].reshape(s.shape) for s in model.slots}
    nodes = [node for node in model.nodes if not isinstance(node.layer, Softmax)]
    values = {-1: x.astype(np.float64)}
    for i, node in enumerate(nodes):
        xs = [values[j] for j in node.inputs]
        values[i] = join_forward(xs, node.layer) if node.layer.inputs == 0 else _forward(node, arrays, xs[0])
    losses, probs, dy = softmax_cross_entropy(values[len(nodes) - 1], labels)
    gradients: dict[str, np.ndarray] = {}
    flows = {i: np.zeros_like(value) for i, value in values.items()}
    flows[len(nodes) - 1] = dy
    for i, node in reversed(list(enumerate(nodes))):
        xs, dy = [values[j] for j in node.inputs], flows[i]
        if node.layer.inputs == 0:
            flowing = join_backward(xs, dy, node.layer)
        else:
            flowing = [_backward(node, arrays, xs[0], dy, gradients)]
        for j, dx in zip(node.inputs, flowing, strict=True):
            flows[j] += dx
    flat = [gradients[slot.name].ravel() for slot in model.slots]
    return losses, probs, np.concatenate(flat)


def _forward(node: Any, arrays: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    layer, weight, bias = node.layer, arrays.get(f"{node.name}/weight"), arrays.get(f"{node.name}/bias")
    if isinstance(layer, Conv2D):
        return conv_forward(x, weight, bias, layer)
    if isinstance(layer, ConvTranspose2D | GroupNorm | LayerNorm):
        own = {name: arrays[f"{node.name}/{name}"] for name in node.params}
        return reference_layers.FORWARD[layer.kind](layer, [x], own, reference_layers.Place())
    if isinstance(layer, LocallyConnected2D):
        return local_forward(x, weight, bias, layer)
    if isinstance(layer, LRN):
        return lrn_forward(x, layer)[0]
    if isinstance(layer, IMAGE_LAYERS):
        return image_forward(x, layer)
    if isinstance(layer, Dense):
        return x @ weight.T + (0 if bias is None else bias)
    if isinstance(layer, MaxPool2D | AvgPool2D):
        return pool_forward(x, layer)
    if isinstance(layer, ReLU):
        return np.maximum(x, 0)
    if isinstance(layer, Flatten | Reshape):
        return x.reshape(len(x), *layer.out_shape(x.shape[1:]))
    raise ValueError(f"the oracle does not know {layer.kind}")


def _backward(
    node: Any, arrays: dict[str, np.ndarray], x: np.ndarray, dy: np.ndarray, gradients: dict[str, np.ndarray]
) -> np.ndarray:
    layer, weight = node.layer, arrays.get(f"{node.name}/weight")
    if isinstance(layer, LRN):
        return lrn_backward(x, dy, layer)
    if isinstance(layer, IMAGE_LAYERS):
        return image_backward(x, dy, layer)
    if "weight" in node.params:
        if isinstance(layer, Dense):
            dx, gradients[f"{node.name}/weight"], dbias = dy @ weight, dy.T @ x, dy.sum(0)
        else:
            backward = {
                Conv2D: conv_backward,
                ConvTranspose2D: transposed_backward,
                LocallyConnected2D: local_backward,
            }.get(type(layer), norm_backward)
            dx, gradients[f"{node.name}/weight"], dbias = backward(x, weight, dy, layer)
        if "bias" in node.params:
            gradients[f"{node.name}/bias"] = dbias
        return dx
    if isinstance(layer, MaxPool2D | AvgPool2D):
        return pool_backward(x, dy, layer)
    if isinstance(layer, ReLU):
        return dy * (x > 0)
    return dy.reshape(x.shape)
