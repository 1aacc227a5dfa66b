"""Text that any terminal or file can take."""

from __future__ import annotations

from typing import TextIO

_ASCII = str.maketrans({"·": "|", "×": "x", "→": "->", "…": "...", "≈": "~"})


def encodable(text: str, stream: TextIO) -> str:
    r"""Return `text` with what the stream cannot encode replaced: signs by ASCII, the rest by escapes.

    Examples
    --------
    >>> import io
    >>> encodable("a · ü", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    'a | \\xfc'
    """
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(encoding, "backslashreplace").decode(encoding)
    return text


def write_line(text: str, stream: TextIO) -> None:
    """Write one line and flush it, so that a reader of a pipe sees it at once."""
    stream.write(encodable(text, stream) + "\n")
    stream.flush()
