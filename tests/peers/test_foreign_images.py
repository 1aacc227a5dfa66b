"""Image files of other programs through the installed `cnn`, against decoders that share no code with it.

One part makes its files with tifffile, Pillow, OpenCV and, where they are installed, ImageMagick and vips: kinds x
depths x compressions x strips and tiles. The other takes a folder of any images from CNN_FOREIGN_IMAGES.
"""

import os
import shutil
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

pytestmark = pytest.mark.peers
CNN = str(Path(sys.executable).parent / "cnn")
RNG = np.random.default_rng(20261121)
HEIGHT, WIDTH = 83, 70  # no multiple of a tile; several strips
SHARPEN = np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], float)


def noise(channels, dtype):
    shape = (HEIGHT, WIDTH, channels)
    if np.dtype(dtype).kind == "f":
        return RNG.random(shape, dtype)
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def sharpened(pixels):
    """Return cross-correlation with replicated edges in float64, rounded half to even and clipped."""
    padded = np.pad(pixels.astype(np.float64), ((1, 1), (1, 1), (0, 0)), "edge")
    height, width = pixels.shape[:2]
    out = sum(SHARPEN[i, j] * padded[i : i + height, j : j + width] for i in range(3) for j in range(3))
    if pixels.dtype.kind == "f":
        return out.astype(pixels.dtype)
    return np.clip(np.rint(out), 0, np.iinfo(pixels.dtype).max).astype(pixels.dtype)


def filtered(files, folder, *options):
    """Run one `cnn filter` over many files; return the results of those it wrote as (H, W, C), and what it said."""
    folder.mkdir()
    listed = folder / "list"
    listed.write_bytes(b"".join(os.fsencode(file) + b"\0" for file in files.values()))
    command = [CNN, "filter", "--files-from", listed, "-o", folder / "{stem}.npy", "-v", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode in (0, 7), done.stderr
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr
    arrays = {name: np.load(folder / f"{name}.npy") for name in files if (folder / f"{name}.npy").exists()}
    return {name: array.reshape(*array.shape[:2], -1) for name, array in arrays.items()}, done.stderr


def differences(files, expected, folder):
    """Return what differs, in words, after identity and after a kernel, for files whose samples are known."""
    plain, said = filtered(files, folder / "identity", "-k", "identity", "--alpha", "drop")
    sharp, _ = filtered(files, folder / "sharpen", "-k", "sharpen", "--alpha", "drop")
    whole, _ = filtered(files, folder / "alpha", "-k", "identity")
    found = []
    for name, (pixels, alpha) in expected.items():
        if name not in plain:
            found.append(f"{name}: not read: {[line for line in said.splitlines() if name in line]}")
            continue
        pairs = [("identity", plain[name], pixels), ("sharpen", sharp[name], sharpened(pixels))]
        if alpha is not None:
            pairs.append(("alpha", whole[name][..., -1], alpha))
        for step, ours, theirs in pairs:
            if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
                found.append(f"{name} {step}: {ours.shape} {ours.dtype}, not {theirs.shape} {theirs.dtype}")
            elif theirs.dtype.kind == "f" and step == "sharpen":
                scale = max(float(np.abs(theirs).max()), 1e-30)
                if np.abs(ours - theirs).max() > 1e-5 * scale:
                    found.append(f"{name} {step}: off by {np.abs(ours - theirs).max()}")
            elif not np.array_equal(ours, theirs, equal_nan=theirs.dtype.kind == "f"):
                wrong = (ours != theirs).mean()
                found.append(f"{name} {step}: {wrong:.1%} of the samples differ")
    return found


# -- files made here


def by_tifffile(folder):
    """Yield (file, pixels, alpha): gray to 7 channels, integers and floats, every layout that tifffile writes."""
    for dtype in ("uint8", "uint16", "float32"):
        for channels in (1, 2, 3, 4, 7):
            samples = noise(channels, dtype)
            alpha = samples[..., -1] if channels in (2, 4) else None
            pixels = samples if alpha is None else samples[..., :-1]
            extra = ["unassalpha"] if alpha is not None else ["unspecified"] * (channels - (3 if channels == 3 else 1))
            for tile, planar, order, compression in (
                (None, "contig", "<", None), (None, "contig", ">", "zlib"), ((16, 32), "contig", ">", None),
                ((32, 16), "separate", "<", "zlib"), (None, "separate", ">", None),
            ):  # fmt: skip
                if planar == "separate" and channels == 1:
                    continue
                stored = np.moveaxis(samples, 2, 0) if planar == "separate" else samples
                file = (
                    folder / f"tifffile-{dtype}-{channels}-{tile and tile[0]}-{planar}-{ord(order)}-{compression}.tif"
                )
                tifffile.imwrite(
                    file, stored if channels > 1 else samples[..., 0], byteorder=order, tile=tile,
                    photometric="rgb" if channels in (3, 4) else "minisblack",
                    planarconfig=planar if channels > 1 else None, compression=compression,
                    rowsperstrip=None if tile else 7, extrasamples=extra or None,
                    bigtiff=order == ">" and not compression,
                )  # fmt: skip
                yield file, pixels, alpha


def by_pillow(folder):
    """Yield (file, pixels, alpha) of what Pillow writes without loss."""
    for mode, channels in (("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4)):
        samples = noise(channels, "uint8")
        picture = Pillow.fromarray(samples if channels > 1 else samples[..., 0], mode)
        pixels, alpha = (samples[..., :-1], samples[..., -1]) if channels in (2, 4) else (samples, None)
        tiffs = [("tif", {"compression": c}) for c in (None, "tiff_lzw", "packbits", "tiff_deflate", "zstd", "lzma")]
        for extension, options in (*tiffs, ("png", {}), ("webp", {"lossless": True, "exact": True}), ("bmp", {})):
            if (extension == "webp" and channels < 3) or (extension == "bmp" and channels in (2, 4)):
                continue
            file = folder / f"pillow-{mode}-{options.get('compression')}-{extension}.{extension}"
            picture.save(file, **options)
            yield file, pixels, alpha
    gray16, floats = noise(1, "uint16"), noise(1, "float32")
    for compression in (None, "tiff_lzw", "packbits", "tiff_deflate", "zstd"):
        for name, samples in (("I16", gray16), ("F", floats)):
            file = folder / f"pillow-{name}-{compression}.tif"
            Pillow.fromarray(samples[..., 0]).save(file, compression=compression)
            yield file, samples, None


def by_opencv(folder):
    """Yield (file, pixels, alpha) of OpenCV: 16-bit colour in strips, stored, LZW, deflate; PNG."""
    cv2 = pytest.importorskip("cv2")
    for dtype in ("uint8", "uint16", "float32"):
        for channels in (1, 3, 4):
            samples = noise(channels, dtype)
            order = [0] if channels == 1 else [2, 1, 0, 3][:channels]
            pixels, alpha = (samples[..., :3], samples[..., 3]) if channels == 4 else (samples, None)
            kinds = [("tif", [cv2.IMWRITE_TIFF_COMPRESSION, n, cv2.IMWRITE_TIFF_ROWSPERSTRIP, 9]) for n in (1, 5, 8)]
            if dtype != "float32":
                kinds.append(("png", []))
            for extension, options in kinds:
                file = folder / f"opencv-{dtype}-{channels}-{''.join(map(str, options))}-{extension}.{extension}"
                assert cv2.imwrite(str(file), np.ascontiguousarray(samples[..., order]), options)
                yield file, pixels, alpha


def by_programs(folder):
    """Yield (file, pixels, alpha) of ImageMagick and vips, from 16-bit and 8-bit PNG files."""
    cv2 = pytest.importorskip("cv2")
    convert, vips = shutil.which("convert"), shutil.which("vips")
    if not convert and not vips:
        pytest.skip("neither ImageMagick nor vips is installed")
    for dtype in ("uint8", "uint16"):
        for channels in (1, 3):
            pixels = noise(channels, dtype)
            source = folder / f"source-{dtype}-{channels}.png"
            assert cv2.imwrite(str(source), np.ascontiguousarray(pixels[..., ::-1]))
            for compression in ("none", "lzw", "zip", "rle") if convert else ():
                for more in ([], ["-define", "tiff:tile-geometry=32x16"], ["-interlace", "plane"]):
                    file = folder / f"magick-{dtype}-{channels}-{compression}-{len(''.join(more))}.tif"
                    options = ["-compress", compression, *more, "-depth", str(pixels.itemsize * 8)]
                    subprocess.run([convert, source, *options, file], check=True)
                    yield file, pixels, None
            for compression in ("none", "lzw", "deflate", "packbits", "zstd") if vips else ():
                for layout in ("", ",tile,tile_width=32,tile_height=16", ",bigtiff", ",predictor=none"):
                    file = folder / f"vips-{dtype}-{channels}-{compression}-{len(layout)}.tif"
                    subprocess.run([vips, "copy", source, f"{file}[compression={compression}{layout}]"], check=True)
                    yield file, pixels, None


@pytest.mark.parametrize("maker", [by_tifffile, by_pillow, by_opencv, by_programs], ids=lambda maker: maker.__name__)
def test_files_of_other_programs(maker, tmp_path):
    """Every sample that a program was given comes back, bit for bit, and stands in the right place for a kernel."""
    files, expected = {}, {}
    (tmp_path / "made").mkdir()
    for file, pixels, alpha in maker(tmp_path / "made"):
        files[file.stem], expected[file.stem] = file, (pixels, alpha)
    assert len(files) > 10
    found = differences(files, expected, tmp_path)
    assert not found, "\n".join(found)


# -- files of a folder


def decoded(file):
    """Yield (pixels, alpha) by each independent decoder that holds the file at its depth."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for decoder in (_by_pillow, _by_tifffile, _by_opencv):
            try:
                answer = decoder(file)
            except Exception:  # each decoder has its own; what none reads is not compared
                continue
            if answer is not None:
                yield answer


def _split(samples, has_alpha):
    return (samples[..., :-1], samples[..., -1]) if has_alpha else (samples, None)


def _by_pillow(file):
    with Pillow.open(file) as picture:
        if picture.format == "PNG" and file.read_bytes()[24] == 16 and picture.mode in ("RGB", "RGBA", "LA"):
            return None  # drops the low bytes
        if picture.format == "TIFF" and max(picture.tag_v2.get(258, (1,))) not in (1, 2, 4, 8, 32):
            return None
        from PIL import ImageOps

        keyed = "transparency" in picture.info
        gray = picture.mode in ("1", "L") or (
            picture.mode == "P" and all(r == g == b for r, g, b in zip(*[iter(picture.getpalette())] * 3, strict=True))
        )
        upright = ImageOps.exif_transpose(picture)
        if picture.mode in ("F", "I", "I;16", "I;16B"):
            dtype = np.uint16 if picture.mode.startswith("I;16") else np.float32
            return np.asarray(upright).astype(dtype)[..., None], None
        if picture.mode == "CMYK":
            inks = 255 - np.asarray(upright).astype(np.uint32)
            return ((inks[..., :3] * inks[..., 3:] + 127) // 255).astype(np.uint8), None
        mode = "RGBA" if keyed or picture.mode in ("RGBA", "PA") else "LA" if picture.mode == "LA" else "RGB"
        if keyed and gray and picture.mode != "P":
            mode = "LA"
        elif gray and not keyed:
            mode = "L"
        samples = np.asarray(upright.convert(mode))
        return _split(samples.reshape(*samples.shape[:2], -1), mode in ("LA", "RGBA"))


def _by_tifffile(file):
    with tifffile.TiffFile(file) as opened:
        page = opened.pages[0]
        if page.photometric not in (1, 2) or (274 in page.tags and page.tags[274].value != 1):
            return None
        samples = page.asarray()
        extra = [int(kind) for kind in page.extrasamples]
        if extra not in ([], [0], [2]) or samples.ndim > 3:
            return None
        if page.planarconfig == 2 and samples.ndim == 3:
            samples = np.moveaxis(samples, 0, -1)
    samples = samples.reshape(*samples.shape[:2], -1)
    if samples.dtype not in (np.uint8, np.uint16):
        samples = samples.astype(np.float32)
    return _split(samples, extra == [2])


def _by_opencv(file):
    cv2 = pytest.importorskip("cv2")
    samples = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if samples is None or samples.dtype not in (np.uint8, np.uint16, np.float32):
        return None
    samples = samples.reshape(*samples.shape[:2], -1)
    if samples.shape[2] >= 3:
        samples = samples[..., [2, 1, 0, 3][: samples.shape[2]]]
    return _split(samples, samples.shape[2] == 4)


def agrees(pixels, alpha, theirs):
    """Whether the colours are the same, and the opacity where both have one."""
    their_pixels, their_alpha = theirs
    same = pixels.shape == their_pixels.shape and pixels.dtype == their_pixels.dtype
    same = same and np.array_equal(pixels, their_pixels, equal_nan=pixels.dtype.kind == "f")
    return same and (alpha is None or their_alpha is None or np.array_equal(alpha, their_alpha))


@pytest.mark.skipif("CNN_FOREIGN_IMAGES" not in os.environ, reason="CNN_FOREIGN_IMAGES names no folder of images")
def test_files_of_a_folder(tmp_path):
    """Every file that `cnn` and another decoder read has the same samples, and the same result of a kernel."""
    top = Path(os.environ["CNN_FOREIGN_IMAGES"])
    names = [".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".pgm", ".ppm", ".pnm", ".pbm"]
    found = sorted(file for file in top.rglob("*") if file.suffix.lower() in names and file.is_file())
    assert found, f"no image below {top}"
    (tmp_path / "in").mkdir()
    files = {}
    for number, file in enumerate(found):  # numbers: two names may differ only in their extension
        files[f"{number:05}"] = tmp_path / "in" / f"{number:05}{file.suffix.lower()}"
        shutil.copyfile(file, files[f"{number:05}"])
    plain, _ = filtered(files, tmp_path / "identity", "-k", "identity", "--alpha", "drop", "--nan-to", "0")
    sharp, _ = filtered(files, tmp_path / "sharpen", "-k", "sharpen", "--alpha", "drop", "--nan-to", "0")
    whole, _ = filtered(files, tmp_path / "alpha", "-k", "identity", "--nan-to", "0")
    count, wrong = Counter(), []
    for name, file in files.items():
        if name not in plain:
            count["refused"] += 1
            continue
        pixels = plain[name]
        alpha = whole[name][..., -1] if whole[name].shape[2] == pixels.shape[2] + 1 else None
        answers = list(decoded(file))
        if not answers:
            count["read only by cnn"] += 1
            continue
        count["compared"] += 1
        if not any(agrees(pixels, alpha, answer) for answer in answers):
            shapes = [(answer[0].shape, str(answer[0].dtype)) for answer in answers]
            wrong.append(f"{found[int(name)]}: {pixels.shape} {pixels.dtype} differs from {shapes}")
        expected = sharpened(pixels)
        tolerance = 1e-5 * float(np.abs(expected).max()) if expected.dtype.kind == "f" else 0
        if np.abs(sharp[name].astype(np.float64) - expected).max() > tolerance:
            wrong.append(f"{found[int(name)]}: sharpen differs from NumPy")
    assert count["compared"], count
    assert not wrong, f"{dict(count)}\n" + "\n".join(wrong)
