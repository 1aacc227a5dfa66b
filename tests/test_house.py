"""Rules of the source code: which package may import which, no import cycles, no forbidden calls, short functions.

The import rules are the import-linter contracts in pyproject.toml. They are checked here without import-linter, so that
every test run checks them, and with it where it is installed.
"""

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "cnncli"
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS = SETTINGS["tool"]["importlinter"]["contracts"]
MODULES = sorted(PACKAGE.rglob("*.py"))
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports(path: Path) -> tuple[tuple[str, bool], ...]:
    """Return the modules that a file imports and whether the import runs when the file is imported."""
    tree = ast.parse(path.read_text())
    lazy = set()
    for node in ast.walk(tree):
        guarded = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        if guarded or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lazy.update(id(child) for child in ast.walk(node))
    found = []
    known = {name_of(module) for module in MODULES}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) not in lazy) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(name if name in known else node.module, id(node) not in lazy) for name in whole]
    return tuple(found)


def is_inside(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def test_imports_go_to_lower_layers():
    layers = next(contract["layers"] for contract in CONTRACTS if contract["type"] == "layers")
    level = {name.strip(): number for number, line in enumerate(layers) for name in line.split("|")}
    folder_of = {path: next((name for name in level if is_inside(name_of(path), name)), None) for path in MODULES}
    unplaced = [str(path) for path, folder in folder_of.items() if folder is None]
    assert {Path(path).name for path in unplaced} <= {"__init__.py", "__main__.py"}, unplaced
    wrong = []
    for path, folder in folder_of.items():
        for module, _ in imports(path):
            target = next((name for name in level if is_inside(module, name)), None)
            if folder and target and target != folder and level[target] <= level[folder]:
                wrong.append(f"{name_of(path)} imports {module}")
    assert wrong == []


def test_the_contributing_guide_shows_the_same_layers():
    layers = next(contract["layers"] for contract in CONTRACTS if contract["type"] == "layers")
    wanted = [{name.strip().removeprefix("cnncli.") for name in line.split("|")} for line in layers]
    picture = next(block for block in GUIDE.split("```")[1::2] if "reporting" in block)
    shown = [re.split(r"\s{2,}", line.strip())[0] for line in picture.strip().splitlines()]
    assert [{name.strip() for name in line.split("|")} for line in shown] == wanted


def test_the_contributing_guide_names_files_that_exist():
    named = re.findall(r"`((?:cnncli|tests|samples|benchmarks)/[\w./-]+)`", GUIDE)
    assert len(named) > 10
    assert [path for path in named if "NAME" not in path and not (ROOT / path).exists()] == []


def test_third_party_packages_are_imported_only_where_allowed():
    wrong = []
    for contract in (contract for contract in CONTRACTS if contract["type"] == "forbidden"):
        for path in MODULES:
            if any(is_inside(name_of(path), source) for source in contract["source_modules"]):
                forbidden = contract["forbidden_modules"]
                wrong += [
                    f"{name_of(path)} imports {module}"
                    for module, _ in imports(path)
                    if any(is_inside(module, package) for package in forbidden)
                ]
    assert wrong == []


def test_no_import_cycles():
    names = {name_of(path): path for path in MODULES}
    graph = {
        name: {module for module, at_once in imports(path) if at_once and module in names and module != name}
        for name, path in names.items()
    }
    done: set[str] = set()
    cycles = []

    def visit(name: str, trail: list[str]) -> None:
        if name in trail:
            cycles.append(" -> ".join([*trail[trail.index(name) :], name]))
        elif name not in done:
            for module in sorted(graph[name]):
                visit(module, [*trail, name])
            done.add(name)

    for name in sorted(graph):
        visit(name, [])
    assert cycles == []


def test_import_linter_agrees():
    if importlib.util.find_spec("importlinter") is None:
        pytest.skip("import-linter is not installed (pip install '.[dev]')")
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


FORBIDDEN = {
    r"^\s*(import|from) .*pickle": "pickle",
    r"\beval\(": "eval",
    r"\bexec\(": "exec",
    r"yaml\.load\(": "yaml.load",
    r"typ=.unsafe": "unsafe YAML",
    r"shell=True": "a shell",
    r"\.extractall\(": "extraction of archives",
    r"allow_pickle=(?!False)": "pickles in NumPy files",
    r"fastmath=True": "fastmath",
    r"^\s*assert ": "assert",
    r"^\s*print\(": "print",
}


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_no_forbidden_call_in_the_package(pattern):
    found = []
    for path in MODULES:
        code = ast.unparse(without_docstrings(ast.parse(path.read_text())))
        found += [f"{path.relative_to(ROOT)}: {line}" for line in code.splitlines() if re.search(pattern, line)]
    assert found == [], FORBIDDEN[pattern]


def without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            node.body = body[1:] or [ast.Pass()]
    return tree


MOST_LINES = 60  # of a function, its docstring included


def test_functions_are_short():
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= MOST_LINES
    ]
    assert long == []


def test_files_are_short_and_named_for_their_content():
    assert {str(path) for path in MODULES if len(path.read_text().splitlines()) > 450} == set()
    assert not {path.name for path in MODULES} & {"utils.py", "helpers.py", "common.py", "core.py", "misc.py"}


def test_kernels_do_not_read_their_arguments_by_number():
    found = []
    for path in (
        path for path in MODULES if path.is_relative_to(PACKAGE / "kernels") or path.is_relative_to(PACKAGE / "compute")
    ):
        code = ast.unparse(without_docstrings(ast.parse(path.read_text())))
        lines = [line for line in code.splitlines() if re.search(r"\b(d|words)\[\d", line)]
        found += [f"{path.relative_to(ROOT)}: {line.strip()}" for line in lines]
    assert found == []


MANY_FILES = {
    "cli": "one file for each command",
    "layers": "one file for each kind of layer",
}


def test_a_folder_holds_at_most_fifteen_files():
    count = Counter(path.parent for path in MODULES if path.name != "__init__.py")
    crowded = {folder.relative_to(PACKAGE).as_posix() for folder, files in count.items() if files > 15}
    assert crowded <= MANY_FILES.keys()


def test_options_of_commands_are_fields_and_not_looked_up_by_name():
    found = []
    for path in (path for path in MODULES if path.parent in (PACKAGE / "cli", PACKAGE / "reporting")):
        lines = path.read_text().splitlines()
        found += [
            f"{path.name}: {line.strip()}" for line in lines if re.search(r"\b(options|given|arguments)\[[\"']", line)
        ]
    assert found == []


def test_init_files_only_import_and_assign():
    for path in MODULES:
        # that of the package itself hands its names on when they are first used
        if path.name == "__init__.py" and path.parent != PACKAGE:
            kinds = {type(node).__name__ for node in ast.parse(path.read_text()).body}
            assert kinds <= {"Expr", "Import", "ImportFrom", "Assign", "AnnAssign"}, path


@pytest.mark.parametrize(
    "arguments", [["--help"], ["params", "lenet5"], ["shape", "28x28x3", "-k", "5"], ["train", "-h"]]
)
def test_quick_commands_do_not_import_numba(arguments):
    program = (
        "import sys\nfrom cnncli.cli.main import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
        "sys.exit(1 if 'numba' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_imports_nothing_large():
    program = (
        "import sys, cnncli\n"
        "assert 'filter' in dir(cnncli)\n"
        "found = {'numpy', 'numba', 'click', 'rich', 'PIL'} & set(sys.modules)\n"
        "found |= {name for name in sys.modules if name.startswith('cnncli.')}\n"
        "sys.exit(', '.join(sorted(found)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_nothing_in_the_repository_names_a_machine():
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not files:
        pytest.skip("not a git checkout")
    here = Path(__file__).relative_to(ROOT).as_posix()
    pattern = re.compile(r"(?<![\w.])/(home|root|work|Users)/")
    for name in files:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".yaml", ".txt"} and name != here and path.exists():
            assert not pattern.search(path.read_text()), name
