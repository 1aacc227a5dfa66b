"""Runs the installed program on a terminal of a given width."""

import os
import pty
import subprocess

from faults.installed import CNN


def read_terminal(arguments, folder, env=None, columns=80):
    """Run `cnn` on a terminal and return what it showed and its exit status."""
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm", **(env or {})}
    process = subprocess.Popen([CNN, *arguments], cwd=folder, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    shown = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(master)
    return shown.decode(), process.wait()
