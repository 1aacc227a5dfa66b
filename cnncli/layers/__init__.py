"""One file a layer kind; `KINDS` knows them by the word used in architecture files."""

from cnncli.layers.activations import (
    ELU,
    GELU,
    HardSigmoid,
    HardSwish,
    LeakyReLU,
    PReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Tanh,
)
from cnncli.layers.avgpool import AdaptiveAvgPool2D, AvgPool2D
from cnncli.layers.base import KINDS, Layer, Option, Param, Window
from cnncli.layers.batchnorm import BatchNorm
from cnncli.layers.conv import Conv2D
from cnncli.layers.conv_transpose import ConvTranspose2D
from cnncli.layers.dense import Dense
from cnncli.layers.depthwise import Depthwise
from cnncli.layers.dropout import Dropout
from cnncli.layers.flatten import Flatten, Reshape
from cnncli.layers.global_pooling import GlobalAvgPool2D, GlobalMaxPool2D
from cnncli.layers.groupnorm import GroupNorm, LayerNorm
from cnncli.layers.joins import Add, Concat, Multiply
from cnncli.layers.locally_connected import LocallyConnected2D
from cnncli.layers.lrn import LRN
from cnncli.layers.maxpool import MaxPool2D
from cnncli.layers.pad import Crop2D, Pad2D
from cnncli.layers.relu import ReLU
from cnncli.layers.softmax import Softmax
from cnncli.layers.upsample import Upsample2D

__all__ = [
    "ELU", "GELU", "KINDS", "LRN", "AdaptiveAvgPool2D", "Add", "AvgPool2D", "BatchNorm", "Concat", "Conv2D",
    "ConvTranspose2D", "Crop2D", "Dense", "Depthwise", "Dropout", "Flatten", "GlobalAvgPool2D", "GlobalMaxPool2D",
    "GroupNorm", "HardSigmoid", "HardSwish", "Layer", "LayerNorm", "LeakyReLU", "LocallyConnected2D", "MaxPool2D",
    "Multiply", "Option", "PReLU", "Pad2D", "Param", "ReLU", "ReLU6", "Reshape", "SiLU", "Sigmoid", "Softmax", "Tanh",
    "Upsample2D", "Window",
]  # fmt: skip
