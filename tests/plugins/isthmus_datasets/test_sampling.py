"""Seeded choices keep the proportions of the classes, down to the smallest class."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus_datasets.sampling import held_out, subset


def test_held_out_leaves_every_class_on_both_sides():
    y = np.repeat([0, 1, 2, 3], [100, 10, 2, 1])
    for fraction in (0.01, 0.3, 0.99):
        mask = held_out(y, fraction, seed=0)
        assert set(y[~mask]) == {0, 1, 2, 3}
        assert set(y[mask]) == {0, 1, 2}
    assert np.bincount(y[held_out(y, 0.3, 0)]).tolist() == [30, 3, 1]


@pytest.mark.parametrize("n", [1, 3, 4, 7, 50, 112, 113, 500])
def test_subset_has_the_size_asked_for(n):
    y = np.repeat([0, 1, 2, 5], [100, 10, 2, 1])
    kept = subset(y, n, seed=0)
    assert len(kept) == len(set(kept.tolist())) == min(n, 113)
    if n >= 4:
        assert set(y[kept]) == {0, 1, 2, 5}
