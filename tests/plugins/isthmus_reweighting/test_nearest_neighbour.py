from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from scipy.spatial import cKDTree

from isthmus import BadInput
from isthmus_reweighting.kernels import Standardised
from isthmus_reweighting.nearest_neighbour import NearestNeighbourWeights

SEED = np.random.default_rng


@pytest.mark.parametrize(("n_source", "n_target"), [(80, 80), (100, 300), (300, 100)])
@pytest.mark.parametrize("smoothing", [0.0, 1.0])
def test_cells_count_the_target_rows_nearest_to_them(
    n_source: int, n_target: int, smoothing: float, gaussians: Callable[..., Any]
) -> None:
    x_s, x_t, _ = gaussians(n_source, n_target, 3, 0.5)
    view = Standardised(x_s, x_t)
    _, nearest = cKDTree(view.read(x_s)).query(view.read(x_t))
    wanted = np.bincount(nearest, minlength=n_source) + smoothing
    got = NearestNeighbourWeights(smoothing=smoothing).weigh(x_s, x_t, SEED(0))
    np.testing.assert_allclose(got, wanted / wanted.mean())


@pytest.mark.parametrize("k", [1, 7])
def test_balls_count_the_target_rows_inside(k: int, gaussians: Callable[..., Any]) -> None:
    x_s, x_t, _ = gaussians(90, 120, 3, 0.5)
    view = Standardised(x_s, x_t)
    z_s, z_t = view.read(x_s), view.read(x_t)
    radius = np.atleast_2d(cKDTree(z_s).query(z_s, k=[k + 1])[0])[:, 0]  # the first is itself
    counts = np.array([len(c) for c in cKDTree(z_t).query_ball_point(z_s, radius)])
    got = NearestNeighbourWeights(neighbours=k, smoothing=0.0).weigh(x_s, x_t, SEED(0))
    np.testing.assert_allclose(got, counts / counts.mean())


def test_balls_approach_the_true_ratio(
    gaussians: Callable[..., Any], error: Callable[..., float]
) -> None:
    errors = []
    for n, k in ((300, 20), (3000, 100)):
        x_s, x_t, truth = gaussians(n, n, 2, 0.5)
        method = NearestNeighbourWeights(neighbours=k, smoothing=0.0)
        errors.append(error(method.weigh(x_s, x_t, SEED(0)), truth))
    assert errors[1] < errors[0]
    assert errors[1] < 0.06


def test_cells_follow_the_direction_of_the_shift(gaussians: Callable[..., Any]) -> None:
    x_s, x_t, truth = gaussians(1000, 3000, 2, 0.7)
    w = NearestNeighbourWeights().weigh(x_s, x_t, SEED(0))
    assert np.corrcoef(w, truth)[0, 1] > 0.5
    plain = NearestNeighbourWeights(smoothing=0.0).weigh(x_s, x_t, SEED(0))
    assert np.average(x_s.mean(1), weights=plain) == pytest.approx(0.7, abs=0.05)
    # One more per row is a share of 1/4 of the source among 3 target rows to one.
    assert np.average(x_s.mean(1), weights=w) == pytest.approx(0.75 * 0.7, abs=0.05)


def test_rows_that_are_alike_share_their_count() -> None:
    x_s = np.array([[0.0], [0.0], [5.0]], np.float32)
    x_t = np.array([[0.1], [0.2], [-0.1], [-0.2], [5.0]], np.float32)
    got = NearestNeighbourWeights().weights(x_s, x_t, SEED(0)).values
    np.testing.assert_allclose(got, [4 / 2 + 1, 4 / 2 + 1, 1 + 1])


@pytest.mark.parametrize("neighbours", [None, 5])
@pytest.mark.parametrize("landmarks", [4000, 40])
def test_weights_follow_their_rows_and_no_seed(
    neighbours: int | None, landmarks: int, gaussians: Callable[..., Any]
) -> None:
    x_s, x_t, _ = gaussians(200, 150, 3, 0.5)
    x_s[5] = x_s[60]
    a, b = SEED(1).permutation(200), SEED(2).permutation(150)
    method = NearestNeighbourWeights(neighbours=neighbours, landmarks=landmarks)
    w = method.weigh(x_s, x_t, SEED(0))
    np.testing.assert_allclose(method.weigh(x_s[a], x_t[b], SEED(9)), w[a], rtol=1e-9)


def test_landmarks_are_said_and_give_ratios_of_shares(gaussians: Callable[..., Any]) -> None:
    x_s, x_t, truth = gaussians(3000, 3000, 1, 0.5)
    weighted = NearestNeighbourWeights(landmarks=50).weighted(x_s, x_t, SEED(0))
    assert "50 landmarks of 3000 source rows" in weighted.said
    assert len(np.unique(weighted.values)) <= 50
    assert np.corrcoef(weighted.values, truth)[0, 1] > 0.9


@pytest.mark.parametrize("neighbours", [None, 3])
def test_sparse_rows_weigh_as_dense_ones(neighbours: int | None) -> None:
    rng = SEED(5)
    x_s, x_t = rng.normal(size=(90, 12)), rng.normal(size=(70, 12))
    x_s, x_t = (np.where(x > 0.5, x, 0).astype(np.float32) for x in (x_s, x_t))
    method = NearestNeighbourWeights(neighbours=neighbours)
    dense = method.weigh(x_s, x_t, SEED(0))
    got = method.weigh(sparse.csr_matrix(x_s), sparse.csr_matrix(x_t), SEED(0))
    np.testing.assert_allclose(got, dense, rtol=1e-6)


@pytest.mark.parametrize("neighbours", [None, 3])
def test_one_row_counts_once(neighbours: int | None) -> None:
    x = np.zeros((1, 2), np.float32)
    got = NearestNeighbourWeights(neighbours=neighbours).weigh(x, x + 1, SEED(0))
    np.testing.assert_array_equal(got, [1.0])


@pytest.mark.parametrize("setting", [{"neighbours": 0}, {"smoothing": -1.0}, {"landmarks": 0}])
def test_refuses_what_has_no_solution(setting: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=next(iter(setting))):
        NearestNeighbourWeights(**setting)
