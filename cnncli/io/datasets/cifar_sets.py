"""What is known of the files of CIFAR-10 and CIFAR-100."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cnncli.io.datasets.remote_file import RemoteFile


@dataclass(frozen=True)
class CifarSet:
    """A data set in the binary form of CIFAR.

    Attributes
    ----------
    name, title : str
        On the command line and in sentences.
    purpose : str
        What the images show, with their number and size.
    credit : str
        Who made it; said when it is fetched.
    classes : tuple of str
        One name per label.
    archive : RemoteFile
        The gzipped tar.
    mirrors : tuple of str
        Base addresses in the order they are tried; https only.
    folder : str
        Inside the archive.
    train, test : tuple of str
        Files of records in that folder.
    label_bytes : int
        In front of the pixels of a record; the last one counts.
    pickled : tuple of str
        Copies that other programs make, which are not read.
    sums : mapping
        SHA-256 of the files of records, where they are known.
    """

    name: str
    title: str
    purpose: str
    credit: str
    classes: tuple[str, ...]
    archive: RemoteFile
    mirrors: tuple[str, ...]
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    label_bytes: int
    pickled: tuple[str, ...]
    sums: Mapping[str, str] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Return how much is fetched."""
        return self.archive.size_bytes

    @property
    def members(self) -> tuple[str, ...]:
        """Return the names of all files of records."""
        return (*self.train, *self.test)

    @property
    def longest(self) -> int:
        """Return the most bytes that one of them may have: 50,000 records."""
        return 50_000 * (self.label_bytes + 3072)


_FINE = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""  # in the order of fine_label_names.txt
_CREDIT = "Krizhevsky, Nair and Hinton 2009"
_MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)

CIFAR10 = CifarSet(
    name="cifar10",
    title="CIFAR-10",
    purpose="60,000 colour photographs of 32x32 in 10 classes",
    credit=_CREDIT,
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    archive=RemoteFile(
        "cifar-10-binary.tar.gz", "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd", 170_052_171
    ),
    mirrors=_MIRRORS,
    folder="cifar-10-batches-bin",
    train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    test=("test_batch.bin",),
    label_bytes=1,
    pickled=("cifar-10-batches-py", "cifar-10-python.tar.gz", "cifar-10-batches-py.tar.gz"),
)

CIFAR100 = CifarSet(
    name="cifar100",
    title="CIFAR-100",
    purpose="60,000 colour photographs of 32x32 in 100 classes",
    credit=_CREDIT,
    classes=tuple(_FINE.split()),
    archive=RemoteFile(
        "cifar-100-binary.tar.gz", "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec", 168_513_733
    ),
    mirrors=_MIRRORS,
    folder="cifar-100-binary",
    train=("train.bin",),
    test=("test.bin",),
    label_bytes=2,
    pickled=("cifar-100-python", "cifar-100-python.tar.gz"),
    sums={
        "train.bin": "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29",
        "test.bin": "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a",
    },
)

CIFAR_SETS = (CIFAR10, CIFAR100)
