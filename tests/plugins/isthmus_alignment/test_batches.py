from __future__ import annotations

import numpy as np
import pytest

from isthmus import BadInput
from isthmus_alignment.transport.batches import Batches


def pairs(batches, n, m):
    return list(batches.pairs(n, m, np.random.default_rng(0)))


def test_up_to_4000_rows_are_one_problem():
    for n, m in ((4000, 10), (3, 4000)):
        ((s, t),) = pairs(Batches(), n, m)
        np.testing.assert_array_equal(s, np.arange(n))
        np.testing.assert_array_equal(t, np.arange(m))
        assert Batches().count(n, m) == 1


@pytest.mark.parametrize(("n", "m"), [(4001, 4001), (9000, 500), (300, 12000)])
def test_beyond_that_no_problem_is_large_and_every_row_has_its_turn(n, m):
    batches = Batches(rounds=3)
    found = pairs(batches, n, m)
    assert len(found) == batches.count(n, m)
    assert max(max(len(s), len(t)) for s, t in found) <= 1000
    turns_s = np.bincount(np.concatenate([s for s, _ in found]), minlength=n)
    turns_t = np.bincount(np.concatenate([t for _, t in found]), minlength=m)
    larger, smaller = (turns_s, turns_t) if n >= m else (turns_t, turns_s)
    assert (larger == 3).all()
    assert (smaller >= 3).all()
    assert all(len(set(s)) == len(s) and len(set(t)) == len(t) for s, t in found)


def test_rounds_differ():
    found = pairs(Batches(size=10, rounds=2), 20, 20)
    assert set(found[0][0]) not in ({*found[2][0]}, {*found[3][0]})


@pytest.mark.parametrize("setting", [{"size": 1}, {"rounds": 0}])
def test_impossible_settings_are_refused(setting):
    with pytest.raises(BadInput, match="expected at least"):
        Batches(**setting)


def test_every_part_has_rows_of_every_stratum():
    stratum = np.repeat([0, 1, 2], [300, 90, 4])  # four rows, ten parts
    found = list(Batches(size=40, rounds=2).pairs(394, 100, np.random.default_rng(0), stratum))
    assert len(found) == 20
    for s, _ in found:
        assert len(set(s)) == len(s) <= 41
        assert set(stratum[s]) == {0, 1, 2}
        assert abs((stratum[s] == 1).sum() - 9) <= 1
    turns = np.bincount(np.concatenate([s for s, _ in found]), minlength=394)
    assert (turns[:390] == 2).all()
    assert (turns[390:] >= 4).all()
