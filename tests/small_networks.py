"""Small networks that meet every corner of the layers that can be trained."""

from cnncli.model import parse_model

HEAD = "cnn: 1\nname: net\ninput: {input}\nclasses: 4\nlayers:\n{layers}\n"

NETWORKS = {
    "lenet-like": (
        [12, 12, 1],
        "- conv: {filters: 3, kernel: 5, padding: same, activation: relu}",
        "- maxpool: 2",
        "- conv: {filters: 5, kernel: 3, activation: relu}",
        "- maxpool: 2",
        "- flatten",
        "- dense: {units: 20, activation: relu}",
        "- dense: classes",
        "- softmax",
    ),
    "windows larger than their input": (
        [2, 2, 2],
        "- conv: {filters: 3, kernel: 1}",
        "- maxpool: {size: [3, 4], stride: [2, 3], round: ceil}",
        "- flatten",
        "- dense: classes",
    ),
    "stride": (
        [11, 9, 3],
        "- conv: {filters: 4, kernel: 3, stride: 2}",
        "- conv: {filters: 6, kernel: [3, 2], stride: [2, 1], padding: 1}",
        "- relu",
        "- flatten",
        "- dense: classes",
    ),
    "stride beyond kernel": (
        [13, 13, 2],
        "- conv: {filters: 3, kernel: 3, padding: 1}",
        "- conv: {filters: 4, kernel: 2, stride: 3}",
        "- flatten",
        "- dense: classes",
    ),
    "dilation": (
        [12, 12, 2],
        "- conv: {filters: 3, kernel: 3, dilation: 2, padding: 2, activation: relu}",
        "- conv: {filters: 3, kernel: 2, dilation: 3, stride: 2}",
        "- flatten",
        "- dense: classes",
    ),
    "groups": (
        [8, 8, 4],
        "- conv: {filters: 6, kernel: 3, groups: 2, bias: false}",
        "- relu",
        "- conv: {filters: 6, kernel: 3, groups: 6}",
        "- flatten",
        "- dense: classes",
    ),
    "pointwise": (
        [6, 6, 3],
        "- conv: {filters: 20, kernel: 1, activation: relu}",
        "- conv: {filters: 7, kernel: 1}",
        "- avgpool: 3",
        "- flatten",
        "- dense: classes",
    ),
    "lopsided padding": (
        [7, 7, 2],
        "- conv: {filters: 3, kernel: 4, padding: [3, 0, 1, 2]}",
        "- conv: {filters: 2, kernel: 2, padding: [0, 3, 2, 0]}",
        "- flatten",
        "- dense: classes",
    ),
    "overlapping pools": (
        [10, 11, 2],
        "- conv: {filters: 3, kernel: 3, activation: relu}",
        "- maxpool: {size: 3, stride: 2}",
        "- conv: {filters: 3, kernel: 2}",
        "- maxpool: {size: 2, stride: 1}",
        "- relu",
        "- flatten",
        "- dense: classes",
    ),
    "pools that leave pixels": (
        [11, 10, 2],
        "- conv: {filters: 3, kernel: 2, activation: relu}",
        "- maxpool: 3",
        "- flatten",
        "- dense: classes",
    ),
    "padded pools": (
        [9, 9, 2],
        "- conv: {filters: 3, kernel: 3}",
        "- maxpool: {size: 3, stride: 2, padding: 1}",
        "- avgpool: {size: 2, stride: 1, padding: 1}",
        "- flatten",
        "- dense: classes",
    ),
    "pool first": (
        [8, 8, 1],
        "- maxpool: 2",
        "- avgpool: {size: 2, stride: 1}",
        "- conv: {filters: 3, kernel: 2}",
        "- maxpool: 2",
        "- flatten",
        "- dense: classes",
    ),
    "dense only": (
        [2, 3, 1],
        "- flatten",
        "- dense: {units: 40, activation: relu}",
        "- dense: 9",
        "- dense: {units: classes, bias: false}",
    ),
    "conv into flatten": (
        [5, 5, 1],
        "- conv: {filters: 2, kernel: 2}",
        "- conv: {filters: 3, kernel: 3, padding: 1, activation: relu}",
        "- flatten",
        "- dense: classes",
    ),
}


def build(size, *layers):
    body = "\n".join(f"  {line}" for line in layers)
    return parse_model(HEAD.format(input=size, layers=body), "net.yaml")
