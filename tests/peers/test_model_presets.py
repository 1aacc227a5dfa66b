"""Every preset against an independent construction in PyTorch: counts, shapes, MACs and receptive fields.

The networks are written here from the papers and from torchvision's public descriptions, not from our files.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch", reason="needs the [peers] extra")

from torch import nn  # noqa: E402

from cnncli.layers import AdaptiveAvgPool2D, Conv2D, ConvTranspose2D, Dense, Depthwise  # noqa: E402
from cnncli.model import load_model, parse_model  # noqa: E402
from cnncli.model.receptive_field import receptive_fields  # noqa: E402
from cnncli.model.sources import preset_names, preset_text  # noqa: E402

pytestmark = pytest.mark.peers


def conv(c, f, k, s=1, p=0, g=1):
    """Convolution, batch normalisation and ReLU, as ResNet and MobileNet stack them."""
    return nn.Sequential(nn.Conv2d(c, f, k, s, p, groups=g, bias=False), nn.BatchNorm2d(f), nn.ReLU())


class Residual(nn.Module):
    def __init__(self, main: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.main, self.shortcut = main, shortcut

    def forward(self, x):
        return torch.relu(self.main(x) + self.shortcut(x))


class Concat(nn.Module):
    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], 1)


def projection(c, f, s):
    if c == f and s == 1:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(c, f, 1, s, bias=False), nn.BatchNorm2d(f))


def basic(c, f, s):
    main = nn.Sequential(conv(c, f, 3, s, 1), nn.Conv2d(f, f, 3, 1, 1, bias=False), nn.BatchNorm2d(f))
    return Residual(main, projection(c, f, s)), f


def bottleneck(c, f, s):
    last = nn.Sequential(nn.Conv2d(f, 4 * f, 1, bias=False), nn.BatchNorm2d(4 * f))
    return Residual(nn.Sequential(conv(c, f, 1), conv(f, f, 3, s, 1), last), projection(c, 4 * f, s)), 4 * f


def resnet(block, counts, width=64, small=False, classes=1000):
    layers = [conv(3, width, 3, 1, 1)] if small else [conv(3, width, 7, 2, 3), nn.MaxPool2d(3, 2, 1)]
    channels = width
    for stage, count in enumerate(counts):
        for number in range(count):
            made, channels = block(channels, width * 2**stage, 2 if stage and not number else 1)
            layers.append(made)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def densenet(counts, k=32):
    layers: list[nn.Module] = [conv(3, 64, 7, 2, 3), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for stage, count in enumerate(counts):
        for _ in range(count):
            new = nn.Sequential(
                nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, 4 * k, 1, bias=False),
                nn.BatchNorm2d(4 * k), nn.ReLU(), nn.Conv2d(4 * k, k, 3, 1, 1, bias=False),
            )  # fmt: skip
            layers.append(Concat(nn.Identity(), new))
            channels += k
        layers += [nn.BatchNorm2d(channels), nn.ReLU()]
        if stage < len(counts) - 1:
            layers += [nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2)]
            channels //= 2
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))


def vgg(plan):
    layers: list[nn.Module] = []
    channels = 3
    for width in plan:
        if width == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, width, 3, 1, 1), nn.ReLU()]
            channels = width
    head = [nn.Linear(25088, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout()]
    return nn.Sequential(*layers, nn.Flatten(), *head, nn.Linear(4096, 1000))


def alexnet():
    sizes = ((3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1))
    layers: list[nn.Module] = []
    for number, size in enumerate(sizes):
        layers += [nn.Conv2d(*size), nn.ReLU()]
        if number in (0, 1, 4):
            layers.append(nn.MaxPool2d(3, 2))
    head = [nn.Dropout(), nn.Linear(9216, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), *head, nn.Linear(4096, 1000))


def mobilenet():
    layers: list[nn.Module] = [conv(3, 32, 3, 2, 1)]
    c = 32
    for f, s in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)):
        layers += [conv(c, c, 3, s, 1, g=c), conv(c, f, 1)]
        c = f
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1024, 1000))


def inverted(c, f, s, t=6):
    """Expansion, depthwise convolution and linear projection; a shortcut where the shape is kept."""

    def unit(a, b, k, s=1, g=1):
        return nn.Sequential(nn.Conv2d(a, b, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(b), nn.ReLU6())

    layers = [unit(c, t * c, 1)] if t > 1 else []
    layers += [unit(t * c, t * c, 3, s, t * c), nn.Conv2d(t * c, f, 1, bias=False), nn.BatchNorm2d(f)]
    return Sum(*layers) if c == f and s == 1 else nn.Sequential(*layers)


class Sum(nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)


def mobilenet_v2():
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6()]
    c = 32
    plan = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for t, f, count, s in plan:
        for number in range(count):
            layers.append(inverted(c, f, 1 if number else s, t))
            c = f
    layers += [nn.Conv2d(320, 1280, 1, bias=False), nn.BatchNorm2d(1280), nn.ReLU6()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(1280, 1000))


class Excited(nn.Module):
    """Squeeze and excitation of c channels through q."""

    def __init__(self, c, q):
        super().__init__()
        gate = [nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, q, 1), nn.SiLU(), nn.Conv2d(q, c, 1), nn.Sigmoid()]
        self.gate = nn.Sequential(*gate)

    def forward(self, x):
        return x * self.gate(x)


def efficientnet_b0():
    def unit(a, b, k, s=1, g=1):
        return [nn.Conv2d(a, b, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(b), nn.SiLU()]

    def mobile(c, f, k, s, t):
        layers = unit(c, t * c, 1) if t > 1 else []
        layers += [*unit(t * c, t * c, k, s, t * c), Excited(t * c, c // 4)]
        layers += unit(t * c, f, 1)[:2]
        return Sum(*layers) if c == f and s == 1 else nn.Sequential(*layers)

    layers: list[nn.Module] = unit(3, 32, 3, 2)
    c = 32
    plan = (
        (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4),
        (6, 3, 1, 320, 1),
    )  # fmt: skip
    for t, k, s, f, count in plan:
        for number in range(count):
            layers.append(mobile(c, f, k, 1 if number else s, t))
            c = f
    layers += [*unit(320, 1280, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Dropout(0.2), nn.Linear(1280, 1000))


def unet():
    def twice(c, f):
        return nn.Sequential(nn.Conv2d(c, f, 3, padding=1), nn.ReLU(), nn.Conv2d(f, f, 3, padding=1), nn.ReLU())

    def level(c, f):
        if f == 1024:
            return twice(c, f)
        below = nn.Sequential(nn.MaxPool2d(2), level(f, 2 * f), nn.ConvTranspose2d(2 * f, f, 2, 2))
        return nn.Sequential(twice(c, f), Concat(nn.Identity(), below), twice(2 * f, f))

    return nn.Sequential(level(1, 64), nn.Conv2d(64, 2, 1))


def squeezenet():
    def fire(c, s, e):
        wide = Concat(
            nn.Sequential(nn.Conv2d(s, e, 1), nn.ReLU()), nn.Sequential(nn.Conv2d(s, e, 3, padding=1), nn.ReLU())
        )
        return [nn.Conv2d(c, s, 1), nn.ReLU(), wide]

    def pool():
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    body = [
        nn.Conv2d(3, 96, 7, 2), nn.ReLU(), pool(), *fire(96, 16, 64), *fire(128, 16, 64), *fire(128, 32, 128), pool(),
        *fire(256, 32, 128), *fire(256, 48, 192), *fire(384, 48, 192), *fire(384, 64, 256), pool(),
        *fire(512, 64, 256), nn.Dropout(), nn.Conv2d(512, 1000, 1), nn.ReLU(),
    ]  # fmt: skip
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def googlenet():
    def unit(c, f, k, s=1, p=0):
        return nn.Sequential(nn.Conv2d(c, f, k, s, p), nn.ReLU())

    def inception(c, a, b1, b, c1, d, e):
        return Concat(
            unit(c, a, 1),
            nn.Sequential(unit(c, b1, 1), unit(b1, b, 3, p=1)),
            nn.Sequential(unit(c, c1, 1), unit(c1, d, 5, p=2)),
            nn.Sequential(nn.MaxPool2d(3, 1, 1), unit(c, e, 1)),
        )

    def pool():
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    body = [
        unit(3, 64, 7, 2, 3), pool(), nn.LocalResponseNorm(5), unit(64, 64, 1), unit(64, 192, 3, p=1),
        nn.LocalResponseNorm(5), pool(),
        inception(192, 64, 96, 128, 16, 32, 32), inception(256, 128, 128, 192, 32, 96, 64), pool(),
        inception(480, 192, 96, 208, 16, 48, 64), inception(512, 160, 112, 224, 24, 64, 64),
        inception(512, 128, 128, 256, 24, 64, 64), inception(512, 112, 144, 288, 32, 64, 64),
        inception(528, 256, 160, 320, 32, 128, 128), pool(),
        inception(832, 256, 160, 320, 32, 128, 128), inception(832, 384, 192, 384, 48, 128, 128),
    ]  # fmt: skip
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.4), nn.Linear(1024, 1000))


def lenet(channels, f1, f2, padding, features, dense, pool, act):
    sizes = [features, *dense, 10]
    head: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        head += [nn.Linear(a, b), nn.ReLU()]
    body = [nn.Conv2d(channels, f1, 5, padding=padding), act(), pool(2), nn.Conv2d(f1, f2, 5), act(), pool(2)]
    return nn.Sequential(*body, nn.Flatten(), *head[:-1])


def keras001():
    layers: list[nn.Module] = []
    for c, f in ((1, 512), (512, 256), (256, 128)):
        layers += [nn.Conv2d(c, f, 3), nn.BatchNorm2d(f), nn.ReLU(), nn.MaxPool2d(3), nn.Dropout(0.1)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 1))


def digits():
    body = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Dropout(0.25), nn.Linear(64, 10))


def mlp():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
    )


M = "M"
VGG16 = [64, 64, M, 128, 128, M, 256, 256, 256, M, 512, 512, 512, M, 512, 512, 512, M]
VGG19 = [64, 64, M, 128, 128, M, *[256] * 4, M, *[512] * 4, M, *[512] * 4, M]

PEERS: dict[str, Callable[[], nn.Module]] = {
    "alexnet": alexnet,
    "densenet121": lambda: densenet((6, 12, 24, 16)),
    "densenet169": lambda: densenet((6, 12, 32, 32)),
    "digits": digits,
    "efficientnet-b0": efficientnet_b0,
    "inception-v1": googlenet,
    "keras001": keras001,
    "lecture": lambda: lenet(3, 8, 16, 0, 400, (120, 84), nn.MaxPool2d, nn.ReLU),
    "lenet1": lambda: lenet(1, 4, 12, 0, 192, (), nn.AvgPool2d, nn.Tanh),
    "lenet5": lambda: lenet(1, 6, 16, 2, 400, (120, 84), nn.MaxPool2d, nn.ReLU),
    "lenet5-rgb": lambda: lenet(3, 6, 16, 0, 400, (120, 84), nn.MaxPool2d, nn.ReLU),
    "mlp": mlp,
    "mobilenet-v1": mobilenet,
    "mobilenet-v2": mobilenet_v2,
    "resnet101": lambda: resnet(bottleneck, (3, 4, 23, 3)),
    "resnet152": lambda: resnet(bottleneck, (3, 8, 36, 3)),
    "resnet18": lambda: resnet(basic, (2, 2, 2, 2)),
    "resnet18-cifar": lambda: resnet(basic, (2, 2, 2, 2), small=True, classes=10),
    "resnet20-cifar": lambda: resnet(basic, (3, 3, 3), width=16, small=True, classes=10),
    "resnet34": lambda: resnet(basic, (3, 4, 6, 3)),
    "resnet50": lambda: resnet(bottleneck, (3, 4, 6, 3)),
    "simple3": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 5, 2), nn.Conv2d(16, 32, 7, 2)),
    "squeezenet": squeezenet,
    "unet": unet,
    "vgg11": lambda: vgg([64, M, 128, M, 256, 256, M, 512, 512, M, 512, 512, M]),
    "vgg16": lambda: vgg(VGG16),
    "vgg19": lambda: vgg(VGG19),
}


def watched(name):
    """Return our network, the peer's counts, and for each peer layer with weights its output shape and MACs."""
    model = load_model(name)
    with torch.device("meta"):  # shapes only: nothing is allocated or computed
        peer = PEERS[name]().eval()
        seen = []

        def hook(module, inputs, output):
            weight = module.weight
            # a transposed convolution spreads every pixel of its input
            pixels = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
            macs = pixels[0].numel() * weight[0].numel()
            seen.append((tuple(output.shape[1:]), macs, tuple(weight.shape)))

        for module in peer.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                module.register_forward_hook(hook)
        out = peer(torch.empty(1, *model.input_shape))
    return model, peer, seen, tuple(out.shape[1:])


@pytest.mark.parametrize("name", preset_names())
def test_counts_shapes_and_macs(name):
    model, peer, seen, out = watched(name)
    trainable = sum(p.numel() for p in peer.parameters())
    # torch also counts batches in each normalisation; those single numbers are not parameters
    fixed = sum(b.numel() for n, b in peer.named_buffers() if not n.endswith("num_batches_tracked"))
    assert (model.parameter_count, model.non_trainable_count) == (trainable, fixed)
    ours = [
        (node.out_shape, node.macs, node.params["weight"].shape)
        for node in model.nodes
        if isinstance(node.layer, Conv2D | ConvTranspose2D | Depthwise | Dense)
    ]
    assert sorted(ours) == sorted(seen)
    assert model.macs == sum(macs for _, macs, _ in seen)
    assert model.output_shape == out


@pytest.mark.parametrize("name", preset_names())
def test_every_intermediate_shape(name):
    """Every shape that our layers make occurs in the peer's forward pass, and the other way round."""
    model = load_model(name)
    shapes = set()
    with torch.device("meta"):
        peer = PEERS[name]().eval()
        for module in peer.modules():
            module.register_forward_hook(lambda _m, _i, output: shapes.add(tuple(output.shape[1:])))
        peer(torch.empty(1, *model.input_shape))
    ours = {node.out_shape for node in model.nodes}
    pooled = {(shape[0], 1, 1) for shape in shapes if len(shape) == 1}
    assert ours <= shapes
    assert shapes - ours <= pooled


SMALL = {
    "chain": "input: [41, 41, 1]\nlayers: [conv: {filters: 2, kernel: 3}, maxpool: 2, conv: {filters: 2, kernel: 5}]",
    "strided": "input: [63, 63, 1]\nlayers: [conv: {filters: 1, kernel: 7, stride: 2, padding: 3}, avgpool: {size: 3, stride: 2}, conv: {filters: 1, kernel: [1, 3]}]",  # noqa: E501
    "dilated": "input: [41, 31, 1]\nlayers: [conv: {filters: 1, kernel: 3, dilation: 2}, conv: {filters: 1, kernel: [2, 3], stride: [2, 1]}]",  # noqa: E501
}  # fmt: skip


def as_torch(model):
    """Return a straight network of convolutions and average pools; every weight is 1, so that no path is lost."""
    layers: list[nn.Module] = []
    for node in model.nodes:
        window = node.layer.window()
        top, bottom, left, right = window.padding
        if any(window.padding):
            layers.append(nn.ZeroPad2d((left, right, top, bottom)))
        if isinstance(node.layer, Conv2D):
            layer = nn.Conv2d(
                node.in_shapes[0][0], node.layer.filters, window.kernel, window.stride, dilation=window.dilation
            )
            nn.init.ones_(layer.weight)
            layers.append(layer)
        elif node.layer.kind == "upsample":
            layers.append(nn.Upsample(scale_factor=node.layer.factor))
        elif isinstance(node.layer, AdaptiveAvgPool2D):
            layers.append(nn.AdaptiveAvgPool2d(node.layer.out))
        else:
            layers.append(nn.AvgPool2d(window.kernel, window.stride))
    return nn.Sequential(*layers)


def reached(output, x, row, column):
    (gradient,) = torch.autograd.grad(output[0, :, row, column].sum(), x, retain_graph=True)
    rows, columns = (gradient[0].abs().sum(0) > 0).nonzero(as_tuple=True)
    return (int(rows.min()), int(rows.max())), (int(columns.min()), int(columns.max()))


@pytest.mark.parametrize("name", sorted(SMALL))
def test_receptive_field_by_gradient(name):
    model = parse_model(SMALL[name])
    field = receptive_fields(model)[-1]
    x = torch.zeros(1, *model.input_shape, requires_grad=True)
    output = as_torch(model)(x)
    row, column = output.shape[2] // 2, output.shape[3] // 2
    for axis, index, (low, high) in zip(
        (field.rows, field.columns), (row, column), reached(output, x, row, column), strict=True
    ):
        assert low == axis.first(index)
        assert high == axis.last(index)
        assert high - low + 1 == axis.size


WORDS = {
    "upsample: [2, 3]": nn.Upsample(scale_factor=(2, 3)),
    "pad: [1, 0, 2, 1]": nn.ZeroPad2d((2, 1, 1, 0)),
    "crop: [1, 0, 2, 1]": nn.ZeroPad2d((-2, -1, -1, 0)),
    "lrn": nn.LocalResponseNorm(5),
    "avgpool: {out: 7}": nn.AdaptiveAvgPool2d(7),
    "avgpool: {out: [20, 2]}": nn.AdaptiveAvgPool2d((20, 2)),
    "globalavgpool: {keep: true}": nn.AdaptiveAvgPool2d(1),
    "globalmaxpool: {keep: true}": nn.AdaptiveMaxPool2d(1),
    "reshape: [11, 4, 39]": nn.Sequential(nn.Flatten(), nn.Unflatten(1, (39, 11, 4))),
}


@pytest.mark.parametrize("word", WORDS)
def test_shapes_of_words_no_preset_uses(word):
    model = parse_model(f"input: [13, 11, 12]\nlayers:\n  - {word}\n")
    assert model.output_shape == tuple(WORDS[word](torch.empty(1, 12, 13, 11)).shape[1:])
    assert (model.macs, model.parameter_count) == (0, 0)


def test_locally_connected_works_as_much_as_a_convolution():
    options = "{filters: 4, kernel: [3, 2], stride: [2, 1], padding: 1}"
    local, conv = (
        parse_model(f"input: [13, 11, 3]\nlayers:\n  - {kind}: {options}") for kind in ("locally_connected", "conv")
    )
    out = nn.Conv2d(3, 4, (3, 2), (2, 1), 1)(torch.empty(1, 3, 13, 11)).shape[1:]
    assert (local.output_shape, local.macs) == (conv.output_shape, conv.macs) == (tuple(out), out.numel() * 18)
    assert local.parameter_count == out.numel() * 18 + out.numel()


BINS = (
    "conv: {filters: 1, kernel: 3}, avgpool: {out: [7, 5]}, conv: {filters: 1, kernel: 2}, avgpool: {out: 4}",
    "upsample: [3, 2], avgpool: {out: [9, 31]}, conv: {filters: 1, kernel: 2, stride: 2}",
    "avgpool: {out: [40, 6]}, crop: [3, 1, 1, 2], conv: {filters: 1, kernel: 3}",
)


@pytest.mark.parametrize("layers", BINS)
def test_receptive_field_of_every_value_behind_bins(layers):
    model = parse_model(f"input: [19, 13, 1]\nlayers: [{layers}]")
    field = receptive_fields(model)[-1]
    x = torch.zeros(1, *model.input_shape, requires_grad=True)
    output = as_torch(model)(x)
    assert tuple(output.shape[1:]) == model.output_shape
    for row in range(output.shape[2]):
        for column in range(output.shape[3]):
            rows, columns = reached(output, x, row, column)
            assert rows == (field.rows.first(row), field.rows.last(row))
            assert columns == (field.columns.first(column), field.columns.last(column))


def positive(module):
    """Make every weight positive, so that no gradient cancels; ReLUs then pass everything."""
    for parameter in module.parameters():
        nn.init.constant_(parameter, 0.01)
    return module


@pytest.mark.parametrize(
    ("name", "side", "cut"),
    [("lenet5", 28, 6), ("lecture", 32, 6), ("alexnet", 323, 13), ("vgg11", 300, 21), ("squeezenet", 400, 31),
     ("mobilenet-v1", 500, 27), ("resnet20-cifar", 121, 10), ("resnet18-cifar", 180, 9), ("resnet18", 640, 10),
     ("inception-v1", 900, 18), ("vgg16", 350, 31), ("vgg19", 420, 37), ("resnet34", 1400, 18), ("resnet50", 800, 18),
     ("resnet101", 1700, 35), ("resnet152", 2500, 52), ("lenet1", 28, 6), ("lenet5-rgb", 32, 6), ("simple3", 64, 3),
     ("densenet121", 3600, 74), ("densenet169", 5000, 98)],
)  # fmt: skip
def test_receptive_field_of_presets_by_gradient(name, side, cut):
    """The measured field of a middle value on an input large enough to hold it, maximum pools taken as averages."""
    text = preset_text(name)
    model = parse_model(text, name)
    body = positive(PEERS[name]()[:cut].double().eval())
    for parent in body.modules():
        for key, child in list(parent.named_children()):
            if isinstance(child, nn.MaxPool2d):
                average = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode)
                setattr(parent, key, average)
            elif isinstance(child, nn.LocalResponseNorm | nn.ReLU | nn.BatchNorm2d):
                setattr(parent, key, nn.Identity())
    # a narrow image is enough to see the rows; ones keep every ReLU open
    x = torch.ones(1, model.input_shape[0], side, min(side, 96), dtype=torch.float64, requires_grad=True)
    output = body(x)
    row = output.shape[2] // 2
    (low, high), _ = reached(output, x, row, output.shape[3] // 2)
    spatial = [field for field in receptive_fields(model) if field is not None]
    expected = spatial[-1].rows
    first, last = expected.first(row), expected.last(row)
    assert first >= 0, "the input is too small to hold the field"
    assert last < side, "the input is too small to hold the field"
    assert (low, high) == (first, last)
    assert high - low + 1 == expected.size
