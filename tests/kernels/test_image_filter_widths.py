"""The same bits from every vector width; memory that does not grow with the image."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = """
import hashlib, sys
import numpy as np
from cnncli.filtering.apply import FilterPlan, apply_filter
from cnncli.filters import Kernel, KernelStep
from cnncli.tasks.filter.read_steps import parse_steps
image = np.random.default_rng(1).integers(0, 256, (97, 131, 3), dtype=np.uint8)
digest = hashlib.sha256()
for spec in ("sharpen", "highpass", "sobel", "box:9", "kirsch", "motion:15,45"):
    for kind in ("clip", "raw"):
        plan = FilterPlan(parse_steps([spec]), range=kind)
        digest.update(apply_filter(image, plan, compiled=True).pixels.tobytes())
random, integers = np.random.default_rng(2), hashlib.sha256()
for size in (3, 9):
    plan = FilterPlan((KernelStep(Kernel("drawn", random.standard_normal((1, 1, size, size)) / size)),), range="clip")
    result = apply_filter(image, plan, compiled=True)
    digest.update(result.pixels.tobytes() + repr((result.minimum, result.maximum)).encode())
for weights in (random.integers(-9, 9, (4, 3)), random.integers(-90, 90, (11, 12)), random.random((13, 11)) / 70):
    plan = FilterPlan((KernelStep(Kernel("drawn", weights[None, None].astype(float))),), range="clip")
    result = apply_filter(image, plan, compiled=True)
    integers.update(result.pixels.tobytes() + repr((result.below, result.above)).encode())
print(digest.hexdigest(), integers.hexdigest())
"""


def digest(lanes, **more):
    environment = {**os.environ, **({"CNN_SIMD": str(lanes)} if lanes else {}), **more}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.slow
def test_same_bits_from_4_8_and_the_host_s_lanes():
    assert digest(4) == digest(8) == digest(None)
    # integers without instructions that multiply and add pairs of them, on a processor without fused products
    assert digest(4, NUMBA_CPU_NAME="generic")[1] == digest(None)[1]
    assert len(digest(None)[0]) == 2 * hashlib.sha256().digest_size


MEMORY = """
import resource, sys
import numpy as np
from cnncli.filtering.apply import FilterPlan, apply_filter
from cnncli.tasks.filter.read_steps import parse_steps
specs = sys.argv[1].split()
small = np.zeros((200, 4000, 3), np.uint8)
small[::7] = 200
plan = FilterPlan(parse_steps(specs), range="clip")
apply_filter(small, plan, threads=2, compiled=True)
image = np.zeros((4000, 4000, 3), np.uint8)
image[::7] = 200
shape = (2000, 2000, 3) if "maxpool:2" in specs else image.shape
out = np.ones(shape, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
apply_filter(image, plan, threads=2, compiled=True, out=out)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.parametrize("specs", ["sharpen", "box:31", "gaussian:3 relu sharpen", "sharpen relu maxpool:2"])
def test_at_most_64_mib_beside_input_and_output(specs):
    done = subprocess.run([sys.executable, "-c", MEMORY, specs], capture_output=True, text=True, check=True)
    assert float(done.stdout) <= 64


def test_an_image_wider_than_every_block():
    from cnncli.filtering.apply import FilterPlan, apply_filter
    from cnncli.filters import Border
    from cnncli.tasks.filter.read_steps import parse_steps

    image = np.random.default_rng(3).integers(0, 256, (9, 30000, 3), dtype=np.uint8)
    plan = FilterPlan(parse_steps(["box:5"]), border=Border("wrap"))
    wide = apply_filter(image, plan, compiled=True).pixels
    shifted = apply_filter(np.roll(image, 12345, axis=1), plan, compiled=True).pixels
    assert np.array_equal(np.roll(wide, 12345, axis=1), shifted)


@pytest.mark.parametrize("shift", [0, 1, 7])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_results_written_around_the_caches_are_the_same(shift, dtype, monkeypatch):
    from cnncli.filtering.apply import FilterPlan, apply_filter
    from cnncli.kernels.image_filter import job as image_filter_job
    from cnncli.tasks.filter.read_steps import parse_steps

    white = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    image = (np.random.default_rng(4).random((61, 1331, 3), dtype=np.float32) * white).astype(dtype)
    plan = FilterPlan(parse_steps(["gaussian:1"]))
    plain = apply_filter(image, plan, compiled=True).pixels
    monkeypatch.setattr(image_filter_job, "_STREAMED", 0)
    place = np.zeros(image.size + shift, dtype)[shift:].reshape(image.shape)
    assert np.array_equal(apply_filter(image, plan, compiled=True, out=place).pixels, plain)
