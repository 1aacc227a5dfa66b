"""The validation split and the order of an epoch follow from the seed alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnncli.errors import UsageError
from cnncli.tasks.train.splitting import epoch_order, stratified_split


@given(
    st.lists(st.integers(0, 4), min_size=20, max_size=200),
    st.floats(0.05, 0.9),
    st.integers(0, 2**64 - 1),
)
def test_split_is_a_partition_with_every_class_in_its_share(labels, fraction, seed):
    labels = np.array(labels, np.int64)
    training, validation = stratified_split(labels, fraction, seed)
    assert sorted([*training, *validation]) == list(range(len(labels)))
    assert len(training) == int(len(labels) * (1 - fraction) + 1e-9)
    for label in np.unique(labels):
        share = (labels[validation] == label).sum()
        assert abs(share - len(validation) * (labels == label).mean()) < 1


def test_split_depends_on_the_seed_only():
    labels = np.repeat(np.arange(10), 60)
    first, again, other = (stratified_split(labels, 0.1, seed)[1] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(np.bincount(labels[first]), np.full(10, 6))


def test_mnist_keeps_6000_for_validation():
    labels = np.repeat(np.arange(10), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949])
    assert len(stratified_split(labels, 0.1, 0)[1]) == 6000


def test_a_split_that_leaves_nothing_is_a_usage_error():
    with pytest.raises(UsageError, match=r"--val-split 0\.999 of 100 images leaves none for training"):
        stratified_split(np.zeros(100, np.int64), 0.999, 0)
    with pytest.raises(UsageError, match=r"--val-split 0\.001 of 100 images leaves 0 for validation"):
        stratified_split(np.zeros(100, np.int64), 0.001, 0)


def test_order_is_a_permutation_keyed_by_seed_and_epoch():
    indices = np.arange(100, 200)
    first, again, next_epoch = (epoch_order(indices, 7, epoch) for epoch in (1, 1, 2))
    assert np.array_equal(first, again)
    assert np.array_equal(np.sort(next_epoch), indices)
    assert not np.array_equal(first, next_epoch)
