"""Labelled images: the bundled digits and the sets that are read from disk or fetched."""

from cnncli.io.datasets.catalogue import DATASETS, load_dataset
from cnncli.io.datasets.dataset import Dataset, Placement, Split

__all__ = ["DATASETS", "Dataset", "Placement", "Split", "load_dataset"]
