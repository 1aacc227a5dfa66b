"""Settings of every test."""

import compileall
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# a first call may compile a kernel, and the machine may be busy: time is measured by benchmarks, not here
settings.register_profile("same cases", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("new cases", settings.get_profile("same cases"), derandomize=False)


def pytest_configure(config: pytest.Config) -> None:
    """Generate the same cases in every run, under ``-m slow`` new ones in each; let signals be as on a terminal."""
    # most trainings here take less time than the pictures of a run; the tests of `cnn report` ask for them
    os.environ.setdefault("CNN_TRAIN_REPORT", "no")
    # byte code is written here and by nobody later: a process whose files may not grow would leave a part of it
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(Path(__file__).parents[1] / "cnncli", quiet=2)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.dont_write_bytecode = True
    settings.load_profile("new cases" if config.getoption("markexpr") == "slow" else "same cases")
    # in the background of a script and under nohup they are ignored, children inherit that, and cnn respects it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


# what takes longest, most of it spent on compiling kernels: begun first, so that two processes end together
LONGEST = (
    "tasks/predict/test_prepared_pictures.py",
    "engine/test_session_oracle.py",
    "engine/test_guarded_memory.py",
    "engine/test_preset_steps.py",
    "engine/test_same_bits.py",
    "engine/test_random_graphs.py",
    "faults/test_train_predict_faults.py",
    "faults/test_filter_faults.py",
    "faults/test_kill_sweep.py",
    "faults/test_resume_faults.py",
    "kernels/test_store.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files in front; pytest-xdist keeps that order with --no-loadscope-reorder."""
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.nodeid.partition("::")[0].removeprefix("tests/"), len(LONGEST)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say for each reason how many tests were skipped."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reports)
    for reason, count in sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0])):
        terminalreporter.write_line(f"skipped {count}: {reason}")
