"""Slow and plain: the oracles that fast code is compared with. Loops, float64, no cleverness."""

import numpy as np

# ---------------------------------------------------------------------------------------------------------------------
# Image filtering
# ---------------------------------------------------------------------------------------------------------------------


def outside(i, n, border):
    """Return the index of the pixel that stands in for index i of n, or None for the constant."""
    if 0 <= i < n:
        return i
    if border in ("zero", "constant"):
        return None
    if border == "replicate":
        return 0 if i < 0 else n - 1
    if border == "wrap":
        return i % n
    while not 0 <= i < n:  # fold back at one edge after the other
        if border == "reflect":
            i = -1 - i if i < 0 else 2 * n - 1 - i
        elif n == 1:
            i = 0
        else:
            i = -i if i < 0 else 2 * n - 2 - i
    return i


def pads_for(kernel, padding, dilation):
    """Return top, bottom, left, right."""
    result = []
    for axis, k in enumerate(kernel):
        span = dilation[axis] * (k - 1)
        if isinstance(padding, str):
            before = dilation[axis] * ((k - 1) // 2)
            result += {"valid": [0, 0], "full": [span, span], "same": [before, span - before]}[padding]
        else:
            result += padding[2 * axis : 2 * axis + 2]
    return result


def pad_plane(plane, pads, border, value=0.0):
    """Return the plane with pixels around it."""
    top, bottom, left, right = pads
    height, width = plane.shape
    rows = [outside(i, height, border) for i in range(-top, height + bottom)]
    columns = [outside(j, width, border) for j in range(-left, width + right)]
    padded = np.full((len(rows), len(columns)), float(value))
    for r, i in enumerate(rows):
        for c, j in enumerate(columns):
            if i is not None and j is not None:
                padded[r, c] = plane[i, j]
    return padded


def correlate_plane(padded, kernel, stride=(1, 1), dilation=(1, 1)):
    """Return the sum of products of each window with the kernel."""
    kh, kw = kernel.shape
    reach = dilation[0] * (kh - 1) + 1, dilation[1] * (kw - 1) + 1
    height = (padded.shape[0] - reach[0]) // stride[0] + 1
    width = (padded.shape[1] - reach[1]) // stride[1] + 1
    out = np.zeros((height, width))
    for r in range(height):
        for c in range(width):
            y, x = r * stride[0], c * stride[1]
            window = padded[y : y + reach[0] : dilation[0], x : x + reach[1] : dilation[1]]
            out[r, c] = (window * kernel).sum()
    return out


def filter_image(image, kernel, *, padding="same", border="replicate", value=0.0, stride=(1, 1), dilation=(1, 1)):
    """Return the responses (H, W, C) of a kernel of cnncli.filters on an image (H, W, C), in float64."""
    pads = pads_for(kernel.size, padding, dilation)
    planes = [pad_plane(image[..., c].astype(np.float64), pads, border, value) for c in range(image.shape[2])]
    if kernel.per_channel:
        out = []
        for plane in planes:
            parts = [
                correlate_plane(plane, kernel.numerators[f, 0], stride, dilation) / kernel.divisor + kernel.biases[f]
                for f in range(kernel.filters)
            ]
            if kernel.combine == "magnitude":
                out.append(np.sqrt(sum(part**2 for part in parts)))
            elif kernel.combine == "maximum":
                out.append(np.max(parts, axis=0))
            else:
                out += parts
        return np.stack(out, axis=2)
    out = [
        sum(correlate_plane(plane, kernel.numerators[f, c], stride, dilation) for c, plane in enumerate(planes))
        / kernel.divisor
        + kernel.biases[f]
        for f in range(kernel.filters)
    ]
    return np.stack(out, axis=2)


def visible_mean(window, opacity, share, otherwise):
    """Return the mean of a window with the weights `share` times `opacity`; `otherwise` where nothing is visible."""
    weights = share * opacity
    return (weights * window).sum() / weights.sum() if weights.sum() > 1e-6 * share.sum() else otherwise


def filter_visible(
    image, alpha, kernel, *, padding="same", border="replicate", value=0.0, stride=(1, 1), dilation=(1, 1)
):
    """Return responses (H, W, C) and opacity (H, W) for an image (H, W, C) and its opacity (H, W) from 0 to 1.

    Positive and negative numbers of the kernel each take the mean of what they see; see `cnncli.filtering.alpha`.
    """
    (kh, kw), channels = kernel.size, image.shape[2]
    pads = pads_for(kernel.size, padding, dilation)
    planes = [pad_plane(image[..., c].astype(np.float64), pads, border, value) for c in range(channels)]
    shown = pad_plane(alpha, pads, border, 1.0)
    reach = dilation[0] * (kh - 1) + 1, dilation[1] * (kw - 1) + 1
    height = (shown.shape[0] - reach[0]) // stride[0] + 1
    width = (shown.shape[1] - reach[1]) // stride[1] + 1
    responses = np.zeros((kernel.filters, kernel.channels, channels, height, width))
    opacity = np.zeros((height, width))
    for r in range(height):
        for c in range(width):
            y, x = r * stride[0], c * stride[1]
            place = np.s_[y : y + reach[0] : dilation[0], x : x + reach[1] : dilation[1]]
            seen = shown[place]
            opacity[r, c] = seen[(kh - 1) // 2, (kw - 1) // 2]
            for f, k, plane in np.ndindex(responses.shape[:3]):
                window, numbers = planes[plane][place], kernel.numerators[f, k]
                centre = window[(kh - 1) // 2, (kw - 1) // 2]
                plus, minus = np.maximum(numbers, 0), np.maximum(-numbers, 0)
                mean_plus = visible_mean(window, seen, plus, visible_mean(window, seen, minus, centre))
                mean_minus = visible_mean(window, seen, minus, visible_mean(window, seen, plus, centre))
                responses[f, k, plane, r, c] = plus.sum() * mean_plus - minus.sum() * mean_minus
    if kernel.per_channel:
        parts = responses[:, 0] / kernel.divisor + kernel.biases[:, None, None, None]
        if kernel.combine == "magnitude":
            parts = np.sqrt((parts**2).sum(axis=0, keepdims=True))
        elif kernel.combine == "maximum":
            parts = parts.max(axis=0, keepdims=True)
        return parts.reshape(-1, height, width).transpose(1, 2, 0), opacity
    own = responses[:, range(channels), range(channels)].sum(axis=1) / kernel.divisor
    return (own + kernel.biases[:, None, None]).transpose(1, 2, 0), opacity


def pool_plane(plane, size, stride, mode):
    """Return the maximum or mean of each window."""
    height, width = (plane.shape[0] - size) // stride + 1, (plane.shape[1] - size) // stride + 1
    best = np.max if mode == "max" else np.mean
    return np.array(
        [
            [best(plane[r * stride : r * stride + size, c * stride : c * stride + size]) for c in range(width)]
            for r in range(height)
        ]
    )
