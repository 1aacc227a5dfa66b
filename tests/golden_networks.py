"""Twelve small networks in the manner of the well-known ones, and how the stored results were trained."""

from __future__ import annotations

import numpy as np

from cnncli.model import Model, parse_model

SIZE, CLASSES, COUNT, STEPS = (8, 8, 3), 4, 20, 30
RATES = {"momentum": 0.01, "adam": 1e-3}
SEED = 5
# Where the input of a ReLU comes within rounding of 0, float32 may decide otherwise than float64 and the runs part,
# PyTorch's as well as ours: these two networks start where that does not happen in STEPS steps.
SEEDS = {"vgg with batch normalisation": 8, "encoder and decoder": 10}

# no bias before batch normalisation: its gradient is 0, and Adam would divide rounding by rounding
NETWORKS = {
    "vgg with batch normalisation": """
  - conv: {filters: 6, kernel: 3, padding: 1, bn: true, activation: relu, repeat: 2}
  - maxpool: 2
  - conv: {filters: 8, kernel: 3, padding: 1, bn: true, activation: relu}
  - maxpool: 2
  - flatten
  - dense: {units: 10, bn: true, activation: relu}
  - dense: classes""",
    "resnet": """
  - conv: {filters: 6, kernel: 3, padding: 1, bn: true, activation: relu}
  - residual: {main: [conv: {filters: 6, kernel: 3, padding: 1, bn: true, activation: relu},
                      conv: {filters: 6, kernel: 3, padding: 1, bn: true}], activation: relu}
  - residual: {main: [conv: {filters: 8, kernel: 3, stride: 2, padding: 1, bn: true, activation: relu},
                      conv: {filters: 8, kernel: 3, padding: 1, bn: true}], activation: relu}
  - globalavgpool
  - dense: classes""",
    "resnet with pre-activation": """
  - conv: {filters: 6, kernel: 3, padding: 1, bias: false}
  - residual: {main: [batchnorm, relu, conv: {filters: 6, kernel: 3, padding: 1, bias: false},
                      batchnorm, relu, conv: {filters: 6, kernel: 3, padding: 1, bias: false}], shortcut: identity}
  - residual: {main: [batchnorm, relu, conv: {filters: 6, kernel: 3, padding: 1, bias: false},
                      batchnorm, relu, conv: {filters: 6, kernel: 3, padding: 1, bias: false}], shortcut: identity}
  - batchnorm
  - relu
  - globalavgpool
  - dense: classes""",
    "bottlenecks": """
  - conv: {filters: 8, kernel: 3, padding: 1, bn: true, activation: relu}
  - residual: {main: [conv: {filters: 4, kernel: 1, bn: true, activation: relu},
                      conv: {filters: 4, kernel: 3, stride: 2, padding: 1, bn: true, activation: relu},
                      conv: {filters: 16, kernel: 1, bn: true}], activation: relu}
  - residual: {main: [conv: {filters: 4, kernel: 1, bn: true, activation: relu},
                      conv: {filters: 4, kernel: 3, padding: 1, bn: true, activation: relu},
                      conv: {filters: 16, kernel: 1, bn: true}], activation: relu}
  - globalavgpool
  - dense: classes""",
    "densenet": """
  - conv: {filters: 6, kernel: 3, padding: 1, bias: false}
  - concat: [[], [batchnorm, relu, conv: {filters: 8, kernel: 1, bn: true, activation: relu},
                  conv: {filters: 4, kernel: 3, padding: 1, bias: false}]]
  - concat: [[], [batchnorm, relu, conv: {filters: 8, kernel: 1, bn: true, activation: relu},
                  conv: {filters: 4, kernel: 3, padding: 1, bias: false}]]
  - batchnorm
  - relu
  - conv: {filters: 7, kernel: 1, bias: false}
  - avgpool: 2
  - concat: [[], [batchnorm, relu, conv: {filters: 4, kernel: 3, padding: 1, bias: false}]]
  - globalavgpool
  - dense: classes""",
    "mobilenet": """
  - conv: {filters: 8, kernel: 3, padding: 1, bn: true, activation: relu}
  - depthwise: {kernel: 3, padding: 1, bn: true, activation: relu}
  - conv: {filters: 10, kernel: 1, bn: true, activation: relu}
  - depthwise: {kernel: 3, stride: 2, padding: 1, bn: true, activation: relu}
  - conv: {filters: 12, kernel: 1, bn: true, activation: relu}
  - globalavgpool
  - dense: classes""",
    "alexnet": """
  - conv: {filters: 8, kernel: 5, padding: 2, activation: relu}
  - lrn: {size: 5, alpha: 0.1, beta: 0.75, k: 2}
  - maxpool: {size: 3, stride: 2}
  - conv: {filters: 8, kernel: 3, padding: 1, groups: 2, activation: relu}
  - maxpool: {size: 2, stride: 1}
  - flatten
  - dense: {units: 12, activation: relu}
  - dense: classes""",
    "one sigmoid unit": """
  - conv: {filters: 6, kernel: 3, bias: false}
  - batchnorm
  - relu
  - maxpool: 2
  - dropout: 0
  - conv: {filters: 5, kernel: 3, padding: 1, bias: false}
  - batchnorm
  - relu
  - maxpool: 2
  - dropout: 0
  - flatten
  - dense: {units: 1, activation: sigmoid}""",
    "dilation": """
  - conv: {filters: 6, kernel: 3, dilation: 2, padding: 2, activation: relu}
  - conv: {filters: 6, kernel: 3, dilation: 3, padding: 3, bn: true, activation: relu}
  - conv: {filters: 5, kernel: 2, dilation: 2, stride: 2}
  - flatten
  - dense: classes""",
    "groups": """
  - conv: {filters: 6, kernel: 3, padding: 1, groups: 3, activation: relu}
  - conv: {filters: 8, kernel: 3, padding: 1, groups: 2, bn: true, activation: relu}
  - conv: {filters: 8, kernel: 1, groups: 4}
  - avgpool: {size: 3, stride: 2, padding: 1}
  - flatten
  - dense: classes""",
    "encoder and decoder": """
  - conv: {name: fine, filters: 6, kernel: 3, padding: 1, activation: relu}
  - maxpool: 2
  - conv: {filters: 8, kernel: 3, padding: 1, bn: true, activation: relu}
  - upsample: {name: coarse, factor: 2}
  - concat: {from: [coarse, fine]}
  - conv: {filters: 6, kernel: 3, padding: 1, activation: relu}
  - globalavgpool
  - dense: classes""",
    "activations": """
  - conv: {filters: 6, kernel: 3, padding: 1, activation: prelu}
  - conv: {filters: 6, kernel: 3, padding: 1, bn: true, activation: elu}
  - maxpool: 2
  - conv: {filters: 6, kernel: 3, padding: 1, activation: gelu}
  - conv: {filters: 6, kernel: 3, activation: silu}
  - flatten
  - dense: {units: 10, activation: tanh}
  - dense: classes""",
}


def text_of(name: str, classes: int = CLASSES, size: tuple[int, int, int] = SIZE) -> str:
    """Return one of the networks in YAML."""
    ending = "" if NETWORKS[name].endswith("sigmoid}") else "\n  - softmax"
    return f"cnn: 1\nname: net\ninput: {list(size)}\nclasses: {classes}\nlayers:{NETWORKS[name]}{ending}\n"


def network(name: str) -> Model:
    """Return one of the networks."""
    return parse_model(text_of(name), f"{name}.yaml")


def targets(model: Model, labels: np.ndarray) -> np.ndarray:
    """Return the labels that fit the end of a network: one unit knows two classes."""
    return labels % 2 if model.output_shape == (1,) else labels


def setting(model: Model, seed: int = SEED) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the images, the labels and what is added to the first parameters: integers alone, the same everywhere."""
    numbers = (
        np.arange(1, 1 + COUNT * 192 + model.parameter_count, dtype=np.uint64) * np.uint64(2654435761 + seed)
    ) >> np.uint64(13)
    images = (numbers[: COUNT * 192] % 256).astype(np.uint8).reshape(COUNT, *SIZE)
    values = (numbers[COUNT * 192 :] % 2001).astype(np.float64) / 1000 - 1
    return images, np.arange(COUNT) * 7 % CLASSES, values


def first_parameters(model: Model, seed: int = SEED) -> np.ndarray:
    """Return parameters float32: weights of the size of He et al. 2015, scales near 1, all from whole numbers."""
    values = setting(model, seed)[2]
    result = np.zeros(model.parameter_count, np.float32)
    for slot in model.slots:
        part = values[slot.offset : slot.offset + slot.size]
        if len(slot.shape) > 1:
            part = part * np.sqrt(6 / np.prod(slot.shape[1:]))
        else:
            part = part * 0.1 + (
                0.25 if slot.name.endswith("slope") else slot.name.startswith("b") * slot.name.endswith("weight")
            )
        result[slot.offset : slot.offset + slot.size] = part
    return result
