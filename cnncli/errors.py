"""Exceptions that become one line for the user and an exit code for the caller."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of every `cnn` command."""

    OK = 0
    FAILURE = 1  # I/O, memory, permission, output exists
    USAGE = 2  # wrong options or arguments, kernel text included
    INVALID_INPUT = 3  # image, kernel file, architecture, data set, checkpoint
    MISMATCH = 4  # `--expect` or `check` found another value
    UNAVAILABLE = 5  # download, checksum, offline and not cached, missing optional package
    NUMERIC = 6  # NaN or infinite loss
    PARTIAL = 7  # a batch finished, some of its files failed
    INTERRUPTED = 130


class CnnError(Exception):
    """An error a user can act on.

    Parameters
    ----------
    message : str
        What is wrong, with numbers; lower case, no full stop.
    where : str, optional
        ``FILE``, ``FILE:line`` or ``FILE:line:col`` as the user typed it.
    hint : str, optional
        What to do about it.
    """

    exit_code = ExitCode.FAILURE

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        """Return ``where: message; hint`` on one line."""
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}; {self.hint}" if self.hint else text

    def located(self, where: str) -> CnnError:
        """Return the same error at `where`, unless it names a location already."""
        return self if self.where else type(self)(self.message, where=where, hint=self.hint)


class UsageError(CnnError):
    """Options or arguments that cannot be understood."""

    exit_code = ExitCode.USAGE


class InvalidInputError(CnnError):
    """A file whose content is not what it should be."""

    exit_code = ExitCode.INVALID_INPUT


class ShapeError(InvalidInputError):
    """Shapes that do not fit each other."""


class MismatchError(CnnError):
    """A value differs from the one that `--expect` names."""

    exit_code = ExitCode.MISMATCH


class UnavailableError(CnnError):
    """Something that is not on this machine and could not be fetched."""

    exit_code = ExitCode.UNAVAILABLE


class NumericError(CnnError):
    """A computation that left the finite numbers."""

    exit_code = ExitCode.NUMERIC


class PartialFailureError(CnnError):
    """A batch that finished although some of its items failed."""

    exit_code = ExitCode.PARTIAL


class CancelledError(Exception):
    """Raised when `Session.cancel` ended a run early; not an error of the user, the caller decides what follows."""


class InterruptedRunError(CnnError):
    """A run that was asked to stop and has saved what it had.

    Parameters
    ----------
    signal_number : int
        The signal that asked for it: SIGINT ends with 130, SIGTERM with 143, SIGHUP with 129.
    """

    exit_code = ExitCode.INTERRUPTED

    def __init__(self, message: str, *, where: str = "", hint: str = "", signal_number: int = 2) -> None:
        super().__init__(message, where=where, hint=hint)
        self.signal_number = signal_number


def did_you_mean(word: str, known: Iterable[str], otherwise: str, *, cutoff: float = 0.6) -> str:
    """Return a hint that names the known word nearest to `word`, or `otherwise` where none is as similar as `cutoff`.

    Examples
    --------
    >>> did_you_mean("kernal", ("kernel", "stride"), "see --help")
    'did you mean kernel?'
    """
    from difflib import get_close_matches  # only where something is wrong

    near = get_close_matches(word, list(known), 1, cutoff)
    return f"did you mean {near[0]}?" if near else otherwise


def printable(text: str) -> str:
    r"""Return `text` with control characters and undecodable bytes as escapes, so that a name cannot steer a terminal.

    Examples
    --------
    >>> printable("a\x1b[31m.png")
    'a\\x1b[31m.png'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
