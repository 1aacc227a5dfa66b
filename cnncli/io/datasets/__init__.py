"""Labelled images: the bundled digits and the sets that are read from disk or fetched."""

from cnncli.io.datasets.catalogue import DATASETS, load_dataset
from cnncli.io.datasets.placement import Placement

__all__ = ["DATASETS", "Placement", "load_dataset"]
