"""How other tools filter: `--as TOOL` as data. Options given beside it take precedence."""

from __future__ import annotations

from dataclasses import dataclass

from cnncli.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Convention:
    """What another tool does with a kernel and an image.

    Parameters
    ----------
    call : str
        The call that is reproduced.
    operation : str
        ``correlation``, ``convolution`` (kernel turned by 180 degrees) or ``flipud`` (rows reversed only).
    padding : str
        ``same`` or ``valid``; with `keras_same` an explicit ``same`` follows the stride as Keras does.
    border : str
        Word of borders.KINDS.
    anchor : str
        Which pixel of an even kernel is the centre: ``early`` = (K-1)//2, ``late`` = K//2, counted in the given kernel.
    normalise : bool
        Whether the kernel is divided by its sum (unless that is 0).
    rounding : str
        How a value becomes an integer: ``rint`` (half to even), ``half_up``, ``truncate``, ``wrap`` (truncate, then
        modulo 2^bits), ``quantum`` (to 16 bits first, then to 8), ``float`` (it stays a float32).
    halved : bool
        ``same`` puts half of all padding before the image, the dilation counted in.
    copy_border : bool
        Pixels whose window leaves the image are copied from the input.
    order : str
        Of the axes of its kernel arrays, as `kernel_array.ORDERS`; empty where it has none of its own.
    note : str
        What a user should know.
    """

    call: str
    operation: str
    padding: str
    border: str
    anchor: str
    rounding: str
    normalise: bool = False
    copy_border: bool = False
    keras_same: bool = False
    halved: bool = False
    order: str = ""
    note: str = ""


CONVENTIONS = {
    "torch": Convention(
        "torch.nn.functional.conv2d(x, k)", "correlation", "valid", "zero", "early", "float", halved=True,
        order="FCHW",
        note="no padding unless -p says so; float32, nothing is clipped"),
    "keras": Convention(
        "keras.layers.Conv2D(1, k)", "correlation", "valid", "zero", "early", "float", keras_same=True, order="HWCF",
        note="no padding unless -p says so; -p same follows the stride; float32, nothing is clipped"),
    "opencv": Convention(
        "cv2.filter2D(img, -1, k)", "correlation", "same", "mirror", "late", "rint"),
    "scipy": Convention(
        "scipy.ndimage.convolve(img, k)", "convolution", "same", "reflect", "late", "wrap",
        note="integers are truncated and wrap around; --no-flip gives ndimage.correlate"),
    "imagemagick": Convention(
        "convert IN -convolve k OUT (Q16)", "correlation", "same", "replicate", "early", "quantum", normalise=True,
        note="the kernel is divided by its sum unless that is 0; 8-bit results as its PPM writer rounds them"),
    "pillow": Convention(
        "ImageFilter.Kernel(size, k, scale=1)", "flipud", "same", "replicate", "early", "half_up", copy_border=True,
        note="rows of the kernel are reversed, border pixels copied; Pillow divides by the sum: add --scale sum"),
    "vips": Convention(
        "vips conv in out k --precision float", "correlation", "same", "replicate", "late", "truncate"),
    "lecture": Convention(
        "the lecture's sums by hand", "correlation", "same", "zero", "early", "float",
        note="zero padding, nothing is clipped or rounded"),
}  # fmt: skip


def convention(name: str) -> Convention:
    """Return the convention of a tool.

    Raises
    ------
    UsageError
        Unknown name, with the nearest.
    """
    word = name.strip().lower()
    word = {"pytorch": "torch", "cv2": "opencv", "im": "imagemagick", "pil": "pillow", "libvips": "vips",
            "tensorflow": "keras", "ndimage": "scipy", "magick": "imagemagick"}.get(word, word)  # fmt: skip
    if word not in CONVENTIONS:
        hint = did_you_mean(word, CONVENTIONS, f"choose {', '.join(CONVENTIONS)}")
        raise UsageError(f"unknown tool '{name}'", where="--as", hint=hint)
    return CONVENTIONS[word]
