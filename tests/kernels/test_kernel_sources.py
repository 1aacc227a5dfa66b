"""A kernel's name on disk comes from the sources that were imported, not from what is in the file at its first use."""

import subprocess
import sys


def test_sources_are_read_when_the_kernels_are_imported():
    program = (
        "from cnncli.kernels.cache import sources_digest\nimport cnncli.kernels.softmax as s\n"
        "before = sources_digest.cache_info()\nsources_digest(s.__name__)\nafter = sources_digest.cache_info()\n"
        "print(after.misses - before.misses)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
