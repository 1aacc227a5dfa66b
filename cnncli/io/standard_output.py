"""Large data on standard output, complete or with an error."""

from __future__ import annotations

import sys

from cnncli.errors import CnnError


def write_standard_output(data: bytes | bytearray | str) -> None:
    """Write everything to standard output and flush it.

    A short write is continued: without its own buffer (PYTHONUNBUFFERED) Python would drop the rest without a word.

    Raises
    ------
    CnnError
        It cannot be written, for instance on a full disk.
    BrokenPipeError
        The reader has gone.
    """
    encoding = sys.stdout.encoding or "utf-8"
    view = memoryview(data.encode(encoding, "backslashreplace") if isinstance(data, str) else data)
    try:
        sys.stdout.flush()
        while view:
            view = view[sys.stdout.buffer.write(view) :]
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CnnError(f"cannot write to standard output: {reason}", hint="free some space") from None
