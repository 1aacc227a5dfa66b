"""Where the makers of a data set of single characters put the ink."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Placement:
    """How the makers of a digit set put the ink into the picture.

    Attributes
    ----------
    box : int
        Longer side of the ink's bounding box [px].
    centre : str
        ``mass``: the centre of mass lies in the middle (MNIST); ``box``: the bounding box does (UCI digits).

    References
    ----------
    LeCun, Cortes and Burges, "The MNIST database": size normalised to fit a 20x20 box, then centred by mass.
    """

    box: int
    centre: str
