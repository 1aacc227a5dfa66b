"""MNIST and the data sets that took over its form: what is known of their files. An entry here adds a data set."""

from __future__ import annotations

from dataclasses import dataclass

from cnncli.io.datasets.placement import Placement


@dataclass(frozen=True)
class IdxFile:
    """One file of the set: its name without ``.gz`` and what is known of the original.

    Attributes
    ----------
    name : str
        For example ``train-images-idx3-ubyte``.
    size_bytes : int
        Of the compressed file that the mirrors serve.
    sha256 : str
        Of that file.
    content_sha256 : str
        Of the uncompressed content, which recognises copies that were compressed again; empty where it is not known.
    """

    name: str
    size_bytes: int
    sha256: str
    content_sha256: str = ""

    @property
    def rank(self) -> int:
        """Return 3 for images, 1 for labels."""
        return 3 if "idx3" in self.name else 1


@dataclass(frozen=True)
class IdxSet:
    """A data set of four IDX files.

    Attributes
    ----------
    name, title : str
        On the command line and in sentences.
    purpose : str
        What the images show, with their number and size.
    credit : str
        Who made it, and its licence; said when it is fetched.
    classes : tuple of str
        One name per label.
    files : tuple of IdxFile
        Training images and labels, test images and labels.
    mirrors : tuple of str
        Base addresses in the order they are tried; https only.
    cache_name : str
        The folder in which torchvision keeps it.
    npz_sha256 : str
        Of Keras' archive ``NAME.npz``; empty where Keras has none.
    statistics : (tuple of float, tuple of float) or None
        `pixel_statistics` of the verified training images, so that they need not be counted each time.
    placement : Placement or None
        For sets of single digits.
    """

    name: str
    title: str
    purpose: str
    credit: str
    classes: tuple[str, ...]
    files: tuple[IdxFile, IdxFile, IdxFile, IdxFile]
    mirrors: tuple[str, ...]
    cache_name: str
    npz_sha256: str = ""
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    placement: Placement | None = None

    @property
    def size_bytes(self) -> int:
        """Return how much is fetched."""
        return sum(file.size_bytes for file in self.files)


MNIST = IdxSet(
    name="mnist",
    title="MNIST",
    purpose="70,000 handwritten digits of 28x28",
    credit="LeCun, Cortes and Burges 1998",
    classes=tuple("0123456789"),
    files=(
        IdxFile(
            "train-images-idx3-ubyte",
            9_912_422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        IdxFile(
            "train-labels-idx1-ubyte",
            28_881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        IdxFile(
            "t10k-images-idx3-ubyte",
            1_648_877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        IdxFile(
            "t10k-labels-idx1-ubyte",
            4_542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://raw.githubusercontent.com/fgnt/mnist/master/",
    ),
    cache_name="MNIST",
    npz_sha256="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    statistics=((0.13066047627384287,), (0.3081078038564627,)),
    placement=Placement(box=20, centre="mass"),
)

FASHION_MNIST = IdxSet(
    name="fashion-mnist",
    title="Fashion-MNIST",
    purpose="70,000 pictures of clothes of 28x28",
    credit="Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747, MIT licence",
    classes=(
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    files=(
        IdxFile(
            "train-images-idx3-ubyte",
            26_421_880,
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        ),
        IdxFile(
            "train-labels-idx1-ubyte",
            29_515,
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
        IdxFile(
            "t10k-images-idx3-ubyte",
            4_422_102,
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        ),
        IdxFile(
            "t10k-labels-idx1-ubyte",
            5_148,
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
    mirrors=(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    cache_name="FashionMNIST",
)  # fmt: skip

KMNIST = IdxSet(
    name="kmnist",
    title="KMNIST",
    purpose="70,000 handwritten kuzushiji (cursive hiragana) of 28x28",
    credit="Clanuwat et al. 2018, arXiv:1812.01718, CC BY-SA 4.0",
    classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    files=(
        IdxFile(
            "train-images-idx3-ubyte",
            18_165_135,
            "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        ),
        IdxFile(
            "train-labels-idx1-ubyte",
            29_497,
            "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        ),
        IdxFile(
            "t10k-images-idx3-ubyte",
            3_041_136,
            "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        ),
        IdxFile(
            "t10k-labels-idx1-ubyte",
            5_120,
            "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        ),
    ),
    mirrors=(
        "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        "https://huggingface.co/datasets/tanganke/kmnist/resolve/dab04d7c5e37a87fc08226dc58aa548bab58d0d2/raw/",
    ),
    cache_name="KMNIST",
)

IDX_SETS = (MNIST, FASHION_MNIST, KMNIST)
