"""Whole files: read once, written completely or not at all."""

import errno
import os
import stat
import subprocess
import sys
import types

import pytest
from faults.installed import bound_by_permissions

from cnncli.errors import CnnError, ExitCode, InvalidInputError
from cnncli.io import atomic
from cnncli.io.atomic import (
    ensure_writable,
    make_directory,
    read_regular_file,
    remove_stale_temporaries,
    temporaries,
    write_atomically,
)


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_round_trip_and_nothing_left_beside_it(tmp_path):
    write_atomically("a.bin", b"x" * 100_000)
    assert read_regular_file("a.bin", 1 << 20) == b"x" * 100_000
    assert os.listdir(tmp_path) == ["a.bin"]


def test_new_file_follows_the_umask_and_an_old_one_keeps_its_mode(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically("new", b"1")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    (tmp_path / "old").write_bytes(b"1")
    (tmp_path / "old").chmod(0o604)
    write_atomically("old", b"2")
    assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o604


def test_existing_file_is_refused_without_overwrite(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    for function in (
        lambda: write_atomically("a", b"new", overwrite=False),
        lambda: ensure_writable("a", overwrite=False),
    ):
        with pytest.raises(CnnError, match="a: exists; use -f"):
            function()
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path, monkeypatch):
    check = atomic._check_target

    def check_then_create(name, overwrite):
        check(name, overwrite)
        (tmp_path / "a").write_bytes(b"other")

    monkeypatch.setattr(atomic, "_check_target", check_then_create)
    with pytest.raises(CnnError, match="a: exists"):
        write_atomically("a", b"mine", overwrite=False)
    assert (tmp_path / "a").read_bytes() == b"other"
    assert os.listdir(tmp_path) == ["a"]


def test_a_link_is_followed(tmp_path):
    (tmp_path / "target").write_bytes(b"old")
    os.symlink("target", "link")
    write_atomically("link", b"new")
    assert os.path.islink("link")
    assert (tmp_path / "target").read_bytes() == b"new"


def test_short_writes_are_continued(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(atomic.os, "write", lambda fd, data: write(fd, bytes(data[:7])))
    write_atomically("a", bytes(range(256)))
    assert (tmp_path / "a").read_bytes() == bytes(range(256))


@pytest.mark.parametrize(
    ("call", "number", "text"),
    [
        ("write", errno.ENOSPC, "no space left on the disk .needs 3 B.; free some space"),
        ("write", errno.EFBIG, "larger than the allowed file size"),
        ("fsync", errno.EIO, "cannot be written: Input/output error"),
        ("replace", errno.EDQUOT, "no space left"),
    ],
)
def test_a_failing_call_keeps_the_old_content_and_leaves_no_temporary(tmp_path, monkeypatch, call, number, text):
    (tmp_path / "a").write_bytes(b"old")

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(atomic.os, call, fail)
    with pytest.raises(CnnError, match=text) as caught:
        write_atomically("a", b"new")
    assert caught.value.where == "a"
    assert caught.value.exit_code == ExitCode.FAILURE
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("size", [10, 2 << 20], ids=["at once", "in parts"])
def test_a_head_that_is_known_last_takes_its_place_before_the_file_is_synced(tmp_path, monkeypatch, size):
    rest, fsync, seen = b"r" * size, os.fsync, []

    def look(descriptor):
        seen.append((tmp_path / f".a.tmp.{os.getpid()}").read_bytes() if not seen else b"")
        fsync(descriptor)

    monkeypatch.setattr(atomic.os, "fsync", look)
    write_atomically("a", [memoryview(b"0000"), memoryview(rest)], head=lambda: memoryview(b"head"))
    assert seen[0] == (tmp_path / "a").read_bytes() == b"head" + rest

    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically("a", [memoryview(b"0000"), memoryview(rest)], head=fail)
    assert (tmp_path / "a").read_bytes() == b"head" + rest
    assert os.listdir(tmp_path) == ["a"]


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically("a", b"new")
    assert os.listdir(tmp_path) == []


def test_file_is_synced_before_and_the_folder_after_the_rename(monkeypatch):
    calls = []

    def traced(name, real):
        def call(*arguments):
            kind = "" if name != "fsync" else (" folder" if stat.S_ISDIR(os.fstat(arguments[0]).st_mode) else " file")
            calls.append(name + kind)
            return real(*arguments)

        return call

    for name in ("fsync", "replace"):
        monkeypatch.setattr(atomic.os, name, traced(name, getattr(os, name)))
    write_atomically("a", b"new")
    assert calls == ["fsync file", "replace", "fsync folder"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("no/such/a", "the folder no/such does not exist; mkdir -p no/such"),
        (".", "is a directory"),
        ("x" * 300, "the name is too long"),
        ("file/a", "a part of this path is a file"),
        ("a\0b", "zero byte"),
        ("/dev/full", "no space left"),
    ],
)
def test_places_that_cannot_be_written(tmp_path, path, text):
    (tmp_path / "file").touch()
    with pytest.raises(CnnError, match=text):
        write_atomically(path, b"x")
    assert os.listdir(tmp_path) == ["file"]


def test_a_name_of_full_length_is_written(tmp_path):
    write_atomically("x" * 255, b"1")
    assert os.listdir(tmp_path) == ["x" * 255]


def test_a_stale_temporary_of_our_own_number_is_replaced(tmp_path):
    (tmp_path / f".a.tmp.{os.getpid()}").write_bytes(b"stale")
    write_atomically("a", b"new")
    assert os.listdir(tmp_path) == ["a"]


def test_stale_temporaries_are_removed_and_nothing_else(tmp_path):
    for name in (".a.tmp.17", ".best.safetensors.tmp.4711", "a.tmp.17", ".hidden", ".a.tmp.x"):
        (tmp_path / name).touch()
    assert remove_stale_temporaries(tmp_path) == 2
    assert sorted(os.listdir(tmp_path)) == [".a.tmp.x", ".hidden", "a.tmp.17"]


def test_only_a_process_that_has_ended_abandons_its_temporaries(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    numbers = {os.getpid(): False, 1: False, ended.pid: True, 10**30: True}
    for number in numbers:
        (tmp_path / f".a.tmp.{number}").touch()
    (tmp_path / f".b.tmp.{ended.pid}").mkdir()
    found = {temporary.pid: temporary.is_abandoned() for temporary in temporaries(tmp_path)}
    assert found == numbers
    assert temporaries("no such folder") == []


def test_somebody_elses_process_has_not_ended(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError

    (tmp_path / ".a.tmp.17").touch()
    monkeypatch.setattr(atomic.os, "kill", refuse)
    assert not temporaries(tmp_path)[0].is_abandoned()


def test_without_hard_links_a_new_file_is_renamed(tmp_path, monkeypatch):
    """Such as on FAT; a file that has appeared meanwhile is refused there as well."""

    def refuse(*_):
        raise PermissionError(errno.EPERM, "no hard links")

    monkeypatch.setattr(atomic.os, "link", refuse)
    write_atomically("a", b"new", overwrite=False)
    assert os.listdir(tmp_path) == ["a"]
    check = atomic._check_target
    seen = []

    def check_then_create(name, overwrite):
        check(name, overwrite)
        if not seen:
            (tmp_path / "b").write_bytes(b"other")
        seen.append(name)

    monkeypatch.setattr(atomic, "_check_target", check_then_create)
    with pytest.raises(CnnError, match="b: exists"):
        write_atomically("b", b"mine", overwrite=False)
    assert (tmp_path / "b").read_bytes() == b"other"
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


@pytest.mark.parametrize(("number", "fails"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_a_folder_that_cannot_be_synced(tmp_path, monkeypatch, number, fails):
    """Some network file systems cannot sync a folder; an error of the disk is reported."""
    fsync = os.fsync

    def fail_for_folders(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(atomic.os, "fsync", fail_for_folders)
    if fails:
        with pytest.raises(CnnError, match="a: cannot be written: Input/output error; check the disk"):
            write_atomically("a", b"new")
    else:
        write_atomically("a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a"]


def test_a_read_only_file_system_is_foreseen(tmp_path, monkeypatch):
    """`access` refuses there as well, even root, and would lead to a useless chmod."""
    real = os.statvfs(tmp_path)
    state = types.SimpleNamespace(f_flag=real.f_flag | os.ST_RDONLY)
    monkeypatch.setattr(atomic.os, "statvfs", lambda folder: state)
    monkeypatch.setattr(atomic.os, "access", lambda *_: False)
    with pytest.raises(CnnError, match="a: the file system is read-only; choose another folder"):
        ensure_writable("a")


def test_a_mounted_read_only_file_system(tmp_path):
    (tmp_path / "disk").mkdir()
    program = (
        "from cnncli.errors import CnnError\n"
        "from cnncli.io.atomic import ensure_writable, make_directory, write_atomically\n"
        "for act in (ensure_writable, make_directory, lambda name: write_atomically(name, b'1')):\n"
        "    try:\n        act('disk/a')\n    except CnnError as error:\n        print(error)\n"
    )
    script = f'mount -t tmpfs -o ro none disk && exec "{sys.executable}" -c "$0"'
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script, program], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no mounts here: {done.stderr[:80]}")
    assert done.stdout == "disk/a: the file system is read-only; choose another folder\n" * 3


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.EACCES, "permission denied; chmod \\+r"),
        (errno.EPERM, "permission denied"),
        (errno.ENXIO, "is not a regular file; use - to read a stream"),
        (errno.EIO, "cannot be read: Input/output error; check the disk"),
    ],
)
@pytest.mark.parametrize("call", ["open", "read"])
def test_errors_of_reading(tmp_path, monkeypatch, call, number, text):
    (tmp_path / "a").write_bytes(b"1")

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(atomic.os, call, fail)
    with pytest.raises(CnnError, match=f"a: {text}"):
        read_regular_file("a", 10)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.EACCES, "permission denied; choose a folder you may write, or chmod \\+w"),
        (errno.EROFS, "the file system is read-only; choose another folder"),
        (errno.EMFILE, "cannot be written: Too many open files; check the disk"),
    ],
)
def test_errors_of_creating(tmp_path, monkeypatch, number, text):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(atomic.os, "open", fail)
    with pytest.raises(CnnError, match=f"a: {text}"):
        write_atomically("a", b"1")
    assert os.listdir(tmp_path) == []


def test_a_closed_pipe_is_passed_on(monkeypatch):
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    write = os.write

    def close_then_write(*arguments):
        os.close(reader)
        return write(*arguments)

    monkeypatch.setattr(atomic.os, "write", close_then_write)
    with pytest.raises(BrokenPipeError):
        write_atomically("pipe", b"1")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("seven.pgn", "seven.pgn: no such file; did you mean seven.png"),
        ("no/a", "the folder no does not exist"),
        ("folder", "folder: is a directory"),
        ("fifo", "fifo: is not a regular file"),
        ("/dev/zero", "/dev/zero: is not a regular file"),
        ("dangling", "dangling: link to nowhere, which does not exist"),
        ("circle", "circle: symbolic links go round in a circle"),
        ("https://example.com/a.png", "downloads are not supported; fetch the file first"),
        ("x" * 300, "the name is too long"),
        ("seven.png/a", "a part of this path is a file"),
        ("a\0b", "zero byte"),
        ("big", "file has 20 B, the limit is 10 B"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, path, text):
    (tmp_path / "seven.png").write_bytes(b"1234")
    (tmp_path / "big").write_bytes(b"x" * 20)
    (tmp_path / "folder").mkdir()
    os.mkfifo("fifo")
    os.symlink("nowhere", "dangling")
    os.symlink("circle", "circle")
    with pytest.raises(InvalidInputError, match=text):
        read_regular_file(path, 10)


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"x" * 100)
    monkeypatch.setattr(atomic.os, "read", lambda fd, count: b"")
    with pytest.raises(InvalidInputError, match="changed while it was read"):
        read_regular_file("a", 1000)


PERMISSIONS = """
from cnncli.errors import CnnError
from cnncli.io.atomic import ensure_writable, read_regular_file
for work in (lambda: ensure_writable("locked/a"), lambda: read_regular_file("secret", 10)):
    try:
        work()
    except CnnError as error:
        print(error)
"""


def test_permissions(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o555)
    (tmp_path / "secret").touch(mode=0)
    command = [*bound_by_permissions(), sys.executable, "-c", PERMISSIONS]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=600)
    first, second = done.stdout.splitlines()
    assert first.startswith("locked/a: permission denied")
    assert second.startswith("secret: permission denied; chmod +r")


def test_make_directory(tmp_path):
    make_directory("a/b")
    make_directory("a/b")
    assert (tmp_path / "a/b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(CnnError, match="file: is a file, not a folder"):
        make_directory("file")
    with pytest.raises(CnnError, match="file/a: a part of this path is a file"):
        make_directory("file/a")
    with pytest.raises(CnnError, match="the name holds a zero byte"):
        make_directory("a\0b")
    with pytest.raises(CnnError, match="/proc/a: no folder can be made here; choose another folder"):
        make_directory("/proc/a")
    with pytest.raises(CnnError, match=r"/proc/a\.png: no file can be made in /proc; choose another folder"):
        write_atomically("/proc/a.png", b"1")


def test_a_folder_that_may_not_be_written(monkeypatch):
    monkeypatch.setattr(atomic.os, "access", lambda *_: False)
    with pytest.raises(CnnError, match="a: permission denied; choose a folder you may write"):
        make_directory("a")
    with pytest.raises(CnnError, match="b: permission denied; choose a folder you may write"):
        ensure_writable("b")
