"""Whether parameters may have changed: what is derived from them need not be derived again for every image."""

from __future__ import annotations

import weakref

import numpy as np

from cnncli.compute.program import Program
from cnncli.errors import CancelledError


class Watched:
    """Arrays that are given away to be written, and the question whether somebody may have done that.

    An array counts as changing from the moment it is given away until nobody holds it, or a part of it, any more: there
    is no other way for a caller to write to it.
    """

    def __init__(self) -> None:
        self._changes = 0
        self._lent: list[weakref.ref[np.ndarray]] = []

    def lend(self, array: np.ndarray) -> np.ndarray:
        """Return a view of an array; every part of it that a caller makes keeps it alive."""
        # parts of a view belong to the owner of the memory; a buffer has none, so they belong to this view
        view = np.asarray(memoryview(array))  # type: ignore[arg-type]
        self._lent.append(weakref.ref(view))
        self._forget_dead()
        return view

    def changed(self) -> None:
        """Say that the arrays have been written."""
        self._changes += 1

    def version(self) -> int:
        """Return a number that is the same as before only if nothing can have been written since."""
        if self._lent:
            self._forget_dead()
        return self._changes

    def _forget_dead(self) -> None:
        self._changes += 1
        self._lent = [one for one in self._lent if one() is not None]


class Prepared:
    """A program that derives something from watched arrays, run only when they may have changed.

    Parameters
    ----------
    program : Program
    watched : Watched
    """

    def __init__(self, program: Program, watched: Watched) -> None:
        self._program, self._watched = program, watched
        self._version = -1

    def bring_up_to_date(self) -> None:
        """Run the program if need be.

        Raises
        ------
        CancelledError
            If it was cancelled.
        """
        version = self._watched.version()
        if version != self._version:
            run_whole(self._program)
            self._version = version


def run_whole(program: Program) -> None:
    """Run a program.

    Raises
    ------
    CancelledError
        If it was cancelled.
    """
    if not program.run():
        raise CancelledError
