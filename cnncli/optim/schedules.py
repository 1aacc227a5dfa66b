"""Learning rate over the steps of a run: warm-up, then a schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass

SCHEDULES = {
    "constant": "stays as it is",
    "step": "a tenth after 1/2 of the run, a hundredth after 3/4",
    "cosine": "falls to zero along half a cosine",
    "plateau": "a tenth when val_loss has not fallen for more than 3 epochs",
    "one-cycle": "rises from 1/25 over 30 % of the run, then falls to nearly zero",
}
_FIRST, _LAST, _RISE = 25, 25e4, 0.3  # of one-cycle: peak / first, peak / last, share of the run
_PATIENCE, _FALL, _THRESHOLD = 3, 0.1, 1e-4  # of plateau: epochs, factor, relative


def learning_rate(schedule: str, base: float, step: int, total: int, warmup: int = 0) -> float:
    r"""Return the learning rate of one step.

    During warm-up :math:`\eta (t + 1) / w`; afterwards, with :math:`u = (t - w) / (T - w)`, for ``cosine``
    :math:`\eta\,(1 + \cos \pi u) / 2`, for ``step`` :math:`\eta`, :math:`\eta / 10` from u = 1/2 and
    :math:`\eta / 100` from u = 3/4 on, else :math:`\eta`; `Plateau` holds the factor of ``plateau``. The rise of
    ``one-cycle`` is its warm-up: along half a cosine, in `warmup` steps or in 30 % of all.

    Parameters
    ----------
    schedule : str
        A key of `SCHEDULES`.
    base : float
        The learning rate :math:`\eta` that was asked for.
    step, total : int
        Steps done, from 0, and planned.
    warmup : int
        Steps of warm-up.

    References
    ----------
    Loshchilov and Hutter 2017, "SGDR", arXiv:1608.03983, equation 5; Goyal et al. 2017, arXiv:1706.02677, section 2.2;
    He et al. 2016, arXiv:1512.03385, section 4.2; Smith and Topin 2018, arXiv:1708.07120, in the form of PyTorch's
    OneCycleLR.

    Examples
    --------
    >>> learning_rate("cosine", 0.1, 50, 100)
    0.05
    >>> learning_rate("constant", 0.1, 0, 100, warmup=10)
    0.01
    """
    if schedule == "one-cycle":
        return _one_cycle(base, step, total, warmup or _RISE * total)
    if step < warmup:
        return base * (step + 1) / warmup
    progress = (step - warmup) / max(total - warmup, 1)
    if schedule == "cosine":
        return base * 0.5 * (1 + math.cos(math.pi * progress))
    if schedule == "step":
        return base * (1 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01)
    return base


def _one_cycle(peak: float, step: int, total: int, rise: float) -> float:
    top = rise - 1  # the step with the peak
    if step <= top:
        return _between(peak / _FIRST, peak, step / top if top > 0 else 1)
    return _between(peak, peak / _LAST, (step - top) / (total - 1 - top) if total - 1 > top else 1)


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


@dataclass
class Plateau:
    """The factor of the learning rate that falls when the validation loss does not, as PyTorch's ReduceLROnPlateau.

    After more than 3 epochs in a row without a loss below the best one by a ten-thousandth of it, the factor falls to
    a tenth.

    Attributes
    ----------
    factor : float
        Of the learning rate.
    best : float or None
        Lowest validation loss so far; None before the first.
    waited : int
        Epochs since.
    """

    factor: float = 1.0
    best: float | None = None
    waited: int = 0

    def add(self, loss: float) -> None:
        """Take the validation loss of one more epoch."""
        if self.best is None or loss < self.best * (1 - _THRESHOLD):
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited > _PATIENCE:
            self.factor, self.waited = self.factor * _FALL, 0
