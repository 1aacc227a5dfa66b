"""A log that a killed run leaves readable."""

import errno
import os
import stat
from pathlib import Path

import pytest

from cnncli.errors import CnnError, InvalidInputError
from cnncli.io import json_lines
from cnncli.io.json_lines import JsonLinesWriter, read_json_lines


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_lines_are_appended_and_read_back():
    assert read_json_lines("m") == []
    for number in range(2):
        with JsonLinesWriter("m") as log:
            log.write({"n": number, "name": "\udcff\n"})
    assert read_json_lines("m") == [{"n": number, "name": "\udcff\n"} for number in range(2)]
    assert Path("m").read_bytes().count(b"\n") == 2


def test_a_torn_last_line_is_left_out_and_cut_off():
    Path("m").write_bytes(b'{"n": 0}\n{"n": ')
    assert read_json_lines("m") == [{"n": 0}]
    with JsonLinesWriter("m") as log:
        log.write({"n": 1})
    assert read_json_lines("m") == [{"n": 0}, {"n": 1}]


@pytest.mark.parametrize("line", [b"[1]", b"{", b"\xff", b"[" * 100_000])
def test_other_lines_are_refused_with_their_number(line):
    Path("m").write_bytes(b'{"n": 0}\n\n' + line + b'\n{"n": 1}\n')
    with pytest.raises(InvalidInputError, match="m:3: is not a JSON object; name another file, or delete this one"):
        read_json_lines("m")


def test_the_log_is_on_the_disk_when_it_is_closed(monkeypatch):
    synced = []
    fsync = os.fsync

    def record(descriptor):
        synced.append(Path(f"/proc/self/fd/{descriptor}").resolve().name)
        fsync(descriptor)

    monkeypatch.setattr(json_lines.os, "fsync", record)
    log = JsonLinesWriter("m")
    log.write({"n": 0})
    assert synced == []
    log.close()
    assert synced == ["m"]


def test_a_pipe_cannot_be_synced_and_need_not_be():
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    with JsonLinesWriter("pipe") as log:
        log.write({"n": 0})
    assert os.read(reader, 100) == b'{"n": 0}\n'
    os.close(reader)


def test_errors_of_writing(monkeypatch):
    with pytest.raises(CnnError, match="the folder no does not exist"):
        JsonLinesWriter("no/m")
    with pytest.raises(CnnError, match="zero byte"):
        JsonLinesWriter("a\0b")
    log = JsonLinesWriter("/dev/full")
    with pytest.raises(CnnError, match="/dev/full: no space left on the disk"):
        log.write({"n": 0})
    log.close()
    log = JsonLinesWriter("m")
    write = os.write
    monkeypatch.setattr(json_lines.os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    with pytest.raises(CnnError, match=r"m: no space left on the disk .needs 9 B.; free some space"):
        log.write({"n": 0})
    log.close()


def test_a_disk_that_fails_at_the_end_is_told_and_the_file_closed(monkeypatch):
    def fail(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    log = JsonLinesWriter("m")
    monkeypatch.setattr(json_lines.os, "fsync", fail)
    with pytest.raises(CnnError, match="m: cannot be written: Input/output error"):
        log.close()
    names = [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if _is_open(name)]
    assert not [name for name in names if name.endswith("/m")]


def _is_open(name: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(f"/proc/self/fd/{name}").st_mode)
    except OSError:
        return False
