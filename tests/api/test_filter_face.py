"""`cnncli.filter` gives what `cnn filter` writes, bit for bit, and says the same where something is wrong."""

import io

import numpy as np
import pytest
from command_line import run_cnn

import cnncli

RNG = np.random.default_rng(11)
IMAGES = {
    "gray8": RNG.integers(0, 256, (19, 23), np.uint8),
    "colour16": RNG.integers(0, 65536, (14, 17, 3), np.uint16),
    "float": RNG.random((13, 11, 2), np.float32),
    "matrix": RNG.normal(size=(9, 8)),
    "large": RNG.integers(0, 256, (1100, 1200, 3), np.uint8),
}
# arguments of the function, and the same as words of the command
CASES = [
    (["sobel"], {"border": "reflect101"}, ["-k", "sobel", "--border", "reflect101"]),
    (["gaussian:1.5", "sharpen"], {"threads": 1}, ["-k", "gaussian:1.5", "-k", "sharpen", "-j", "1"]),
    (["-1 0 1"], {"padding": (1, 0, 2, 1), "bias": 0.5}, ["-k", "-1 0 1", "-p", "1,0,2,1", "--bias", "0.5"]),
    (["box"], {"stride": (2, 1), "dilation": 2, "flip": True}, ["-k", "box", "-s", "2,1", "--dilation", "2", "--flip"]),
    (["emboss"], {"scale": "1/3", "range": "shift"}, ["-k", "emboss", "--scale", "1/3", "--range", "shift"]),
    (["edge4"], {"tool": "opencv"}, ["-k", "edge4", "--as", "opencv"]),
    (["log"], {"range": "raw", "dtype": "float32"}, ["-k", "log", "--range", "raw", "--dtype", "float32"]),
    (["unsharp"], {"range": "equalize"}, ["-k", "unsharp", "--range", "equalize"]),
    (["maxpool:2", "relu"], {"channels": [0]}, ["-k", "maxpool:2", "-k", "relu", "--channels", "0"]),
]


def by_command(array, words, folder):
    np.save(folder / "in.npy", array)
    done = run_cnn("filter", folder / "in.npy", *words, "-o", folder / "out.npy", "-f", "-q")
    assert done.code == 0, done.err
    return np.load(folder / "out.npy")


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize(("steps", "options", "words"), CASES, ids=[" ".join(case[2]) for case in CASES])
def test_filter_gives_what_the_command_writes(name, steps, options, words, tmp_path):
    written = by_command(IMAGES[name], words, tmp_path)
    result = cnncli.filter(IMAGES[name], *steps, **options)
    assert (result.dtype, result.shape) == (written.dtype, written.shape)
    assert result.tobytes() == written.tobytes()


def test_gray_and_channels_in_words_and_numbers(tmp_path):
    image = IMAGES["colour16"]
    gray = by_command(image, ["-k", "identity", "--gray"], tmp_path)
    assert np.array_equal(cnncli.filter(image, "identity", gray=True), gray)
    assert np.array_equal(cnncli.filter(image, "identity", gray="bt601"), gray)
    assert np.array_equal(cnncli.filter(image, "identity", channels="B,R"), image[..., [2, 0]])
    assert np.array_equal(cnncli.filter(image, "identity", channels=(2, 0)), image[..., [2, 0]])


def test_an_array_is_a_kernel(tmp_path):
    kernel = RNG.normal(size=(2, 3, 3, 5))
    np.save(tmp_path / "k.npy", kernel)
    written = by_command(IMAGES["colour16"], ["-k", f"@{tmp_path / 'k.npy'}", "--range", "raw"], tmp_path)
    assert np.array_equal(cnncli.filter(IMAGES["colour16"], kernel, range="raw"), written)
    assert np.array_equal(
        cnncli.filter(IMAGES["colour16"], kernel.transpose(2, 3, 1, 0), range="raw", tool="keras", padding="same"),
        by_command(
            IMAGES["colour16"], ["-k", f"@{tmp_path / 'k.npy'}", "--as", "torch", "--padding", "same"], tmp_path
        ),
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"border": "reflekt"}, ["--border", "reflekt"]),
        ({"padding": "1,2,3"}, ["-p", "1,2,3"]),
        ({"stride": 0}, ["-s", "0"]),
        ({"scale": "sum"}, ["--scale", "sum"]),
        ({"range": "wide"}, ["--range", "wide"]),
        ({"dtype": "int8"}, ["--dtype", "int8"]),
        ({"tool": "photoshop"}, ["--as", "photoshop"]),
        ({"channels": 3}, ["--channels", "3"]),
        ({"gray": "green"}, ["--gray=green"]),
        ({"nan_to": float("nan")}, ["--nan-to", "nan"]),
    ],
    ids=str,
)
def test_errors_have_the_text_of_the_command(options, words, tmp_path):
    np.save(tmp_path / "a.npy", IMAGES["gray8"])
    done = run_cnn("filter", tmp_path / "a.npy", "-k", "sobel-x", *words, "-o", tmp_path / "b.npy")
    with pytest.raises(cnncli.CnnError) as failure:
        cnncli.filter(IMAGES["gray8"], "sobel-x", **options)
    said = done.err.removeprefix("cnn: error: ").removeprefix(f"{tmp_path / 'a.npy'}: ").strip()
    assert str(failure.value).removeprefix("image: ") == said
    assert failure.value.exit_code == done.code


@pytest.mark.parametrize("image", [np.zeros(3), np.zeros((2, 2, 2, 2)), np.zeros((0, 3)), "img.png", [[1j]]], ids=str)
def test_what_is_no_image_is_refused(image):
    with pytest.raises(cnncli.InvalidInputError, match=r"^image: "):
        cnncli.filter(image, "sobel")


def test_an_unknown_kernel_and_a_step_that_is_none_are_refused():
    with pytest.raises(cnncli.UsageError, match="did you mean sobel"):
        cnncli.filter(IMAGES["gray8"], "sobbel")
    with pytest.raises(cnncli.UsageError, match="not int"):
        cnncli.filter(IMAGES["gray8"], 3)


def test_not_finite_numbers_are_refused_or_replaced():
    image = np.array([[1.0, np.nan], [2, 3]])
    with pytest.raises(cnncli.InvalidInputError, match="--nan-to"):
        cnncli.filter(image, "identity")
    assert cnncli.filter(image, "identity", nan_to=0).tolist() == [[1, 0], [2, 3]]


def test_the_input_is_left_alone_and_nothing_is_printed(capfd):
    image = IMAGES["gray8"].copy()
    image.flags.writeable = False
    cnncli.filter(image, "box:5")
    assert np.array_equal(image, IMAGES["gray8"])
    assert capfd.readouterr() == ("", "")


def test_python_imaging_pictures_are_arrays():
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(IMAGES["gray8"]).save(stream, "PNG")
    assert np.array_equal(cnncli.filter(Image.open(stream), "sobel"), cnncli.filter(IMAGES["gray8"], "sobel"))
