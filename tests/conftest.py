"""Settings of every test."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# a first call may compile a kernel, and the machine may be busy: time is measured by benchmarks, not here
settings.register_profile("same cases", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("new cases", settings.get_profile("same cases"), derandomize=False)


def pytest_configure(config: pytest.Config) -> None:
    """Generate the same cases in every run, under ``-m slow`` new ones in each; let signals be as on a terminal."""
    # most trainings here take less time than the pictures of a run; the tests of `cnn report` ask for them
    os.environ.setdefault("CNN_TRAIN_REPORT", "no")
    settings.load_profile("new cases" if config.getoption("markexpr") == "slow" else "same cases")
    # in the background of a script and under nohup they are ignored, children inherit that, and cnn respects it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
