"""A file's name in the store comes from the sources that were imported, not from what they are at the first use."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cnncli

SCRIPT = """
import sys
from pathlib import Path
from cnncli.compute import notices, store
assert Path(store.__file__).is_relative_to(Path.cwd())
notices.on_compile.append(lambda name: print("compile", name))
if sys.argv[1] == "edit":
    path = Path("cnncli", "kernels", "pool2d.py")
    path.write_text(path.read_text() + "\\n# another source\\n")
store.routine("elementwise.copy").address()
"""


def run(folder, word):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, word],
        cwd=folder,  # the copy of the package is imported from there
        env=os.environ | {"CNN_CACHE_DIR": str(folder / "cache")},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_any_source_of_the_folder_names_the_code_and_an_old_one_lends_its_name_to_nothing(tmp_path):
    shutil.copytree(Path(cnncli.__file__).parent, tmp_path / "cnncli")
    kept = tmp_path / "cache" / "kernels"
    assert run(tmp_path, "edit") == ["compile copy-float32"]
    assert list(kept.glob("*.code")) == []
    assert run(tmp_path, "") == ["compile copy-float32"]
    assert run(tmp_path, "") == []
    path = tmp_path / "cnncli" / "kernels" / "losses.py"
    path.write_text(path.read_text() + "# another source")
    assert run(tmp_path, "") == ["compile copy-float32"]
    assert len(list(kept.glob("*.code"))) == 2
