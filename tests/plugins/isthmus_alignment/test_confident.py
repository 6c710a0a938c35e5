from __future__ import annotations

import numpy as np

from isthmus_alignment.shallow.confident import highest, surest


def test_the_surest_share_of_each_label_is_trusted() -> None:
    rng = np.random.default_rng(3)
    p = rng.dirichlet([0.5, 1.0, 2.0], 100)
    for share in (0.1, 0.5, 1.0):
        kept = surest(p, share)
        for c in range(3):
            mine = p.argmax(1) == c
            assert (kept & mine).sum() == np.ceil(share * mine.sum() - 1e-9)
            if 0 < (kept & mine).sum() < mine.sum():
                assert p[kept & mine].max(1).min() >= p[mine & ~kept].max(1).max()
    assert surest(p, 1.0).all()


def test_the_highest_scores_of_each_group_are_counted() -> None:
    rng = np.random.default_rng(0)
    score, group = rng.normal(size=50), rng.integers(0, 4, 50)
    count = np.array([3, 0, 99, 1])
    kept = highest(score, group, count)
    for g in range(4):
        own = np.sort(score[group == g])[::-1]
        np.testing.assert_array_equal(np.sort(score[kept & (group == g)])[::-1], own[: count[g]])
    order = rng.permutation(50)
    np.testing.assert_array_equal(highest(score[order], group[order], count), kept[order])
