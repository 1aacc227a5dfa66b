"""The examples in docstrings give the results written there."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import cnncli

# kernels run compiled: their docstrings have no examples that Python could check
MODULES = [
    module.name
    for module in pkgutil.walk_packages(cnncli.__path__, "cnncli.")
    if not module.name.startswith(("cnncli.kernels", "cnncli.compute", "cnncli.__main__"))
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    count = sum(bool(test.examples) for name in MODULES for test in finder.find(importlib.import_module(name)))
    assert count > 20
