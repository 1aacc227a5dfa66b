"""`cnn train` from foreign weights on foreign images, against PyTorch: losses and last arrays."""

import csv
import gzip

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the [peers] extra")

from command_line import run_cnn  # noqa: E402
from golden_networks import NETWORKS, RATES, first_parameters, text_of  # noqa: E402
from safetensors.numpy import load_file, save_file  # noqa: E402
from torch_network import TorchNetwork  # noqa: E402

from cnncli.model import parse_model  # noqa: E402

pytestmark = pytest.mark.peers
SIZE, COUNT, BATCH, EPOCHS = 8, 50, 20, 10  # 30 steps, every third one on 10 images
START = "conv: {name: start, filters: 3, kernel: 1}"
MAKE = {
    "momentum": lambda p: torch.optim.SGD(p, RATES["momentum"], 0.9),
    "adam": lambda p: torch.optim.Adam(p, RATES["adam"]),
}


def loss_of(z, y):
    if z.shape[1] == 1:
        return torch.nn.functional.binary_cross_entropy(z[:, 0], y.double())
    return torch.nn.functional.cross_entropy(z, y)


def idx(array):
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes())


def write_idx(folder, size):
    """Write COUNT images as an unknown copy of MNIST; return images (N, H, W) and labels."""
    (folder / "mnist").mkdir()
    rng = np.random.default_rng(4)
    labels = (np.arange(COUNT) * 7 % 10).astype(np.uint8)
    images = (rng.integers(0, 200, (COUNT, size, size)) + labels[:, None, None] * 5).astype(np.uint8)
    for split, count in {"train": COUNT, "t10k": 10}.items():
        (folder / f"mnist/{split}-images-idx3-ubyte.gz").write_bytes(idx(images[:count]))
        (folder / f"mnist/{split}-labels-idx1-ubyte.gz").write_bytes(idx(labels[:count]))
    return images, labels


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return folder, *write_idx(folder, SIZE)


def test_images_in_their_order_are_not_changed_at_random(tmp_path):
    images, labels = write_idx(tmp_path, 28)
    text = text_of("alexnet", 10, (28, 28, 1)).replace("layers:", f"layers:\n  - {START}")
    compare(text, "momentum", ["-d", "mnist", "--data-dir", tmp_path], images[..., None], labels, tmp_path)


@pytest.mark.parametrize("rule", RATES)
@pytest.mark.parametrize("name", [name for name in NETWORKS if "sigmoid" not in name])
def test_a_run_on_idx_files_is_the_one_of_torch(name, rule, data, tmp_path):
    folder, images, labels = data
    # IDX files hold gray images; the networks begin with three channels
    text = text_of(name, 10, (SIZE, SIZE, 1)).replace("layers:", f"layers:\n  - {START}")
    compare(text, rule, ["-d", "mnist", "--data-dir", folder], images[..., None], labels, tmp_path)


@pytest.mark.parametrize("rule", RATES)
def test_a_run_with_one_sigmoid_unit_is_the_one_of_torch(rule, tmp_path):
    rng = np.random.default_rng(6)
    labels = np.arange(COUNT) * 7 % 3 % 2
    images = (rng.integers(0, 200, (COUNT, SIZE, SIZE, 3)) + labels[:, None, None, None] * 50).astype(np.uint8)
    parts = {"x_train": images, "y_train": labels, "x_test": images[:10], "y_test": labels[:10]}
    np.savez(tmp_path / "two.npz", **parts)
    compare(text_of("one sigmoid unit", 2), rule, ["-d", tmp_path / "two.npz"], images, labels, tmp_path)


def compare(text, rule, source, images, labels, tmp_path):
    arch, first, run = tmp_path / "net.yaml", tmp_path / "first.safetensors", tmp_path / "run"
    arch.write_text(text)
    model = parse_model(arch.read_text(), str(arch))
    values = first_parameters(model)
    arrays = {s.name: values[s.offset : s.offset + s.size].reshape(s.shape) for s in model.slots}
    arrays |= {s.name: np.full(s.shape, float(s.name.endswith("variance")), np.float32) for s in model.state_slots}
    save_file(arrays, first)
    result = run_cnn(
        "train", arch, *source, "--init-from", first, "--no-shuffle", "-e", EPOCHS,
        "-b", BATCH, "--optimizer", rule, "--lr", RATES[rule], "--schedule", "constant", "--val-split", 0,
        "--run-dir", run, "-j", 2, "-q",
    )  # fmt: skip
    assert result.code == 0, result.err
    with (run / "history.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    torch.set_num_threads(1)  # two for arrays so small wait for each other
    peer = TorchNetwork(model, arrays, torch.float64)
    optimizer = MAKE[rule](peer.parameters())
    scaled = (images - images.mean((0, 1, 2))) / images.std((0, 1, 2))
    x, y = torch.tensor(scaled.transpose(0, 3, 1, 2)), torch.tensor(labels.astype(int))
    wanted = []
    for _ in range(EPOCHS):
        total = 0.0
        for part in (slice(i, i + BATCH) for i in range(0, COUNT, BATCH)):
            optimizer.zero_grad()
            loss = loss_of(peer(x[part]), y[part])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(y[part])
        wanted.append(total / COUNT)
    np.testing.assert_allclose(losses, wanted, rtol=1e-4)
    last = load_file(run / "last.safetensors")
    assert set(last) >= set(arrays)
    for key in arrays:
        value = getattr(peer, key.replace("/", ":")).detach().numpy()
        np.testing.assert_allclose(last[key], value, rtol=1e-4, atol=1e-4 * np.abs(value).max(), err_msg=key)
