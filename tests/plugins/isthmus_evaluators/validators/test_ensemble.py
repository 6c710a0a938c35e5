"""EnsV: agreement with the average of the candidates."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus import BadInput, PluginError
from isthmus_evaluators.validators.ensemble import ensv


def test_scores_are_agreements_with_the_average():
    rng = np.random.default_rng(0)
    candidates = {f"model {i}": rng.dirichlet(np.ones(4), 100) for i in range(5)}
    label = np.mean(list(candidates.values()), axis=0).argmax(1)
    got = ensv(candidates)
    assert got == pytest.approx({n: (p.argmax(1) == label).mean() for n, p in candidates.items()})
    assert list(got) == list(candidates)


def test_the_odd_one_out_is_last_and_the_majority_first():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 300)
    good = {f"good {i}": 0.6 * np.eye(3)[y] + 0.4 * rng.dirichlet(np.ones(3), 300) for i in (1, 2)}
    got = ensv({**good, "bad": np.eye(3)[(y + 1) % 3] * 0.9 + 0.1 / 3})
    assert got["bad"] < 0.2 < 0.8 < min(got["good 1"], got["good 2"])


def test_one_candidate_agrees_with_itself_and_twins_score_alike():
    p = np.random.default_rng(2).dirichlet(np.ones(3), 10)
    assert ensv({"a": p}) == {"a": 1.0}
    assert ensv({"a": p, "b": p}) == {"a": 1.0, "b": 1.0}


def test_order_of_candidates_rows_and_names_of_classes_do_not_matter():
    rng = np.random.default_rng(3)
    p = {n: rng.dirichlet(np.ones(5), 60).astype(np.float32) for n in "abc"}
    one = ensv(p)
    assert ensv({n: p[n] for n in "cab"}) == one
    order, naming = rng.permutation(60), rng.permutation(5)
    assert ensv({n: v[order][:, naming] for n, v in p.items()}) == one


def test_unusable_candidates_are_named():
    fine = np.full((4, 2), 0.5)
    with pytest.raises(BadInput, match="at least one candidate"):
        ensv({})
    with pytest.raises(BadInput, match=r"those of b have shape \(3, 2\), those of a \(4, 2\)"):
        ensv({"a": fine, "b": fine[:3]})
    with pytest.raises(BadInput, match=r"those of a have shape \(4,\)"):
        ensv({"a": fine[:, 0]})
    with pytest.raises(PluginError, match="predictions of b are NaN or infinite in 4 of 4"):
        ensv({"a": fine, "b": fine * np.nan})
    with pytest.raises(PluginError, match="predictions of b are not probabilities: row 0"):
        ensv({"a": fine, "b": fine * 3})
