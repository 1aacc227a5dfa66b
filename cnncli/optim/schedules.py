"""Learning rate over the steps of a run: warm-up, then constant or cosine."""

from __future__ import annotations

import math

SCHEDULES = {
    "cosine": "falls to zero along half a cosine",
    "constant": "stays as it is",
}


def learning_rate(schedule: str, base: float, step: int, total: int, warmup: int = 0) -> float:
    r"""Return the learning rate of one step.

    During warm-up :math:`\eta (t + 1) / w`; afterwards, with :math:`u = (t - w) / (T - w)`, either :math:`\eta` or
    :math:`\eta\,(1 + \cos \pi u) / 2`.

    Parameters
    ----------
    schedule : str
        A key of `SCHEDULES`.
    base : float
        The learning rate :math:`\eta` that was asked for.
    step, total : int
        Steps done, from 0, and planned.
    warmup : int
        Steps of linear warm-up.

    References
    ----------
    Loshchilov and Hutter 2017, "SGDR", arXiv:1608.03983, equation 5; Goyal et al. 2017, arXiv:1706.02677, section 2.2.

    Examples
    --------
    >>> learning_rate("cosine", 0.1, 50, 100)
    0.05
    >>> learning_rate("constant", 0.1, 0, 100, warmup=10)
    0.01
    """
    if step < warmup:
        return base * (step + 1) / warmup
    if schedule == "constant":
        return base
    progress = (step - warmup) / max(total - warmup, 1)
    return base * 0.5 * (1 + math.cos(math.pi * progress))
