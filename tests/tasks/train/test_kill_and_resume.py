"""A run killed at any change of the file system, and continued, ends with the same bytes as one that was left alone.

SQLite's method: the n-th system call is the last one, for n = 1, 2, 3 ... until the run comes to its end.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

import pytest
from tasks.train.continued import assert_same, begin, go_on
from tasks.train.fake_session import FakeSession

from cnncli.errors import CnnError
from cnncli.io.checkpoint import read_checkpoint
from cnncli.tasks.train.run_directory import last_checkpoints

CHANGES = ("write", "fsync", "replace", "rename", "link", "unlink", "open", "mkdir", "ftruncate")
OPTIONS = {"epochs": 2, "save_every": "3steps", "keep": 3}


class Killed(BaseException):
    """Stands for SIGKILL: nothing of this process happens after it."""


class FileSystem:
    """Counts the calls that change files; from the n-th on none of them does anything."""

    def __init__(self, monkeypatch, last: int, *, part: float = 0.0) -> None:
        self.count, self.last, self.part, self.open = 0, last, part, set()
        for name in CHANGES:
            monkeypatch.setattr(os, name, self._counted(name, getattr(os, name)))

    def _counted(self, name, real):
        def call(*arguments, **options):
            if name == "open" and not arguments[1] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
                return real(*arguments, **options)
            self.count += 1
            if self.count >= self.last:
                if self.count == self.last and name == "write" and self.part:
                    real(arguments[0], arguments[1][: int(len(arguments[1]) * self.part)])
                raise Killed
            result = real(*arguments, **options)
            if name == "open":
                self.open.add(result)
            return result

        return call

    def close(self) -> None:
        """Give back what the system takes from a process that has ended: its files and its locks."""
        for descriptor in self.open:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def killed_at(number, path, action, part=0.0) -> bool:
    """Do something that is killed at a system call; return whether it was."""
    with pytest.MonkeyPatch.context() as patch:
        files = FileSystem(patch, number, part=part)
        try:
            action(path)
        except Killed:
            return True
        finally:
            patch.undo()
            files.close()
    return False


def start_or_go_on(path: Path) -> None:
    """What a user does who finds the run directory as it is."""
    if path.is_dir() and last_checkpoints(path):
        go_on(path)
    else:
        if path.exists():
            for file in path.iterdir():
                file.unlink()
        begin(path, **OPTIONS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    begin(path, **OPTIONS)
    return path


def sweep(folder: Path, whole: Path, action, part=0.0, first=1, step=1) -> int:
    """Kill at the first, second, ... change; continue; compare. Return how many changes there are."""
    number = first
    while True:
        path = folder / f"{number}-{part}"
        was_killed = killed_at(number, path, action, part)
        if not was_killed:
            return number - 1
        start_or_go_on(path)
        assert_same(path, whole)
        assert not [name for name in os.listdir(path) if ".tmp." in name]
        number += step


@pytest.mark.parametrize(
    ("first", "step"), [pytest.param(1, 1, marks=pytest.mark.slow), pytest.param(2, 5, id="every fifth")]
)
def test_row119_a_kill_at_any_change_of_the_file_system_loses_nothing(first, step, whole, tmp_path):
    assert sweep(tmp_path, whole, lambda path: begin(path, **OPTIONS), first=first, step=step) > 80


@pytest.mark.slow
def test_row119_a_kill_in_the_middle_of_any_write_loses_nothing(whole, tmp_path):
    sweep(tmp_path, whole, lambda path: begin(path, **OPTIONS), part=0.5, step=3)


@pytest.mark.slow
def test_row119_a_kill_while_a_run_is_continued_loses_nothing(whole, tmp_path):
    """Killed, continued, killed again."""

    for first in (45, 70):
        number = 1
        while True:
            path = tmp_path / f"{first}-{number}"
            assert killed_at(first, path, lambda path: begin(path, **OPTIONS))
            if not killed_at(number, path, go_on):
                break
            start_or_go_on(path)
            assert_same(path, whole)
            number += 4


def test_row119_a_write_that_is_not_atomic_is_noticed(whole, tmp_path, monkeypatch):
    """The sweep itself is tested: it must find a writer that replaces files in place."""

    def in_place(path, data, **_):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            os.write(descriptor, b"".join(data))
        finally:
            os.close(descriptor)

    monkeypatch.setattr("cnncli.io.checkpoint.write_atomically", in_place)
    with pytest.raises((AssertionError, CnnError)):
        sweep(tmp_path, whole, lambda path: begin(path, **OPTIONS), part=0.5, step=2)


def test_row119_a_momentum_that_is_not_saved_is_noticed(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(FakeSession, "load_optimizer_state", lambda self, state: None)
    with pytest.raises(AssertionError, match="best"):
        sweep(tmp_path, whole, lambda path: begin(path, **OPTIONS), step=10)


class Failing:
    """A system call that is refused once."""

    def __init__(self, name, number, code) -> None:
        self.name, self.number, self.code, self.count = name, number, code, 0
        self.patch = pytest.MonkeyPatch()

    def __enter__(self):
        real = getattr(os, self.name)

        def call(*arguments, **options):
            self.count += 1
            if self.count == self.number:
                raise OSError(self.code, os.strerror(self.code))
            return real(*arguments, **options)

        self.patch.setattr(os, self.name, call)
        return self

    def __exit__(self, *_):
        self.patch.undo()


@pytest.mark.parametrize(("call", "code"), [("write", errno.ENOSPC), ("fsync", errno.EIO), ("replace", errno.ENOSPC)])
def test_row93_an_error_of_any_call_stops_with_one_line_and_keeps_the_last_checkpoint(call, code, whole, tmp_path):
    for number in (1, 3, 6, 8, 11):
        path = tmp_path / str(number)
        with Failing(call, number, code), pytest.raises(CnnError) as caught:
            begin(path, **OPTIONS)
        assert caught.value.where
        assert caught.value.exit_code == 1
        if path.exists():
            assert not [name for name in os.listdir(path) if ".tmp." in name]
            read_checkpoint(last_checkpoints(path)[0])
        start_or_go_on(path)
        assert_same(path, whole)


def test_row119_a_file_system_without_hard_links_loses_nothing_either(whole, tmp_path, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    sweep(tmp_path, whole, lambda path: begin(path, **OPTIONS), first=33, step=7)
