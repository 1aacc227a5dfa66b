"""Prediction of few images: one at a time, with channels in the lanes of a vector where a batch has images.

A vector of images costs the same however few of its lanes hold one. Both ways give the same bits, so which one is taken
is a question of speed alone.
"""

from __future__ import annotations

import numpy as np

from cnncli.compute.host import LANES
from cnncli.compute.program import Program
from cnncli.engine.few.changes import Prepared, Watched, run_whole
from cnncli.engine.layout import Layout

#: share of the speed of a batch that one image at a time reaches where lanes are full: measured
_EFFICIENCY = 0.6


class FewImages:
    """What predicts few images, made when it is first needed; it takes memory of its own.

    Parameters
    ----------
    layout : Layout
    watched : Watched
        The parameters.
    """

    def __init__(self, layout: Layout, watched: Watched) -> None:
        self._layout, self._watched = layout, watched
        self._most = _most_images(layout)
        self._prepared: Prepared | None = None
        self._program: Program | None = None

    def serves(self, count: int, *, is_all: bool) -> bool:
        """Return whether `count` images should be predicted one at a time; they are all, or the rest of many."""
        if count > self._most:
            return False
        if self._program is None and is_all:
            self._make()
        return self._program is not None

    def _make(self) -> None:
        bound = self._layout.bind_few()
        if bound is None:
            self._most = 0
            return
        threads, dtype = self._layout.threads, self._layout.dtype
        self._prepared = Prepared(Program(bound.prologue, threads, dtype), self._watched)
        self._program = Program(bound.phases, threads, dtype)

    def answer(self, chosen: np.ndarray, answers: np.ndarray, logits: np.ndarray) -> None:
        """Write the rows `answers` and `logits` of the images at `chosen`.

        Raises
        ------
        CancelledError
            If it was cancelled.
        """
        if self._program is None or self._prepared is None:
            raise RuntimeError("not for so many images")
        layout, classes = self._layout, answers.shape[1]
        self._prepared.bring_up_to_date()
        for row, index in enumerate(chosen.tolist()):
            layout.picks[0] = index
            run_whole(self._program)
            answers[row] = layout.probs[:classes]
            logits[row] = layout.logits[:classes]


def _most_images(layout: Layout) -> int:
    """Return up to how many images are predicted faster one at a time than a vector of them.

    From the vectors of multiply-adds: a batch fills its lanes with images, one image with the filters of a layer.
    """
    batch = one = 0.0
    for node in layout.model.nodes:
        filters = node.out_shape[0]
        batch += node.macs
        one += node.macs / filters * -(-filters // LANES)
    return min(LANES - 1, int(_EFFICIENCY * batch / one)) if one else 0
