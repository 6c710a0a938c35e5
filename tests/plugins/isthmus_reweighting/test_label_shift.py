"""Label shift: what all methods of the family share, and each against its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import optimize

from isthmus import BadInput, Labelled, Run, Schema, Task, UnsupportedTask
from isthmus.artefact import TorchAdapted
from isthmus.learners import Logistic, NearestNeighbours
from isthmus.learners.prior_corrected import calibrate
from isthmus.testing.domains import MAKERS
from isthmus_baselines.source_only import SourceOnly
from isthmus_reweighting.bbse import BBSE
from isthmus_reweighting.cross_fitting import cross_fit, fold_of
from isthmus_reweighting.label_shift import Evidence, LabelShift
from isthmus_reweighting.mlls import MLLS
from isthmus_reweighting.rlls import RLLS, solve

SEED = np.random.default_rng
SCHEMA = Schema(kind="table", shape=(2,), classes=("a", "b", "c"))
CENTRES = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
EVEN, SKEWED = np.full(3, 1 / 3), np.array([0.7, 0.25, 0.05])
METHODS = [BBSE(), BBSE(soft=False), RLLS(), MLLS()]
NAMES = ["bbse", "bbse-hard", "rlls", "mlls"]


def draw(seed: int, n: int, shares: Any, schema: Schema = SCHEMA) -> Labelled:
    rng = SEED(seed)
    y = rng.choice(3, n, p=shares)
    x = CENTRES[y] + rng.normal(size=(n, 2))
    return Labelled(name="d", schema=schema, x=x.astype(np.float32), y=y)


def task_of(n: int, source: Any = EVEN, target: Any = SKEWED, seed: int = 0) -> Task:
    return Task(sources=(draw(seed, n, source),), target=draw(seed + 100, n, target))


def target_shares(adapted: Any) -> Any:
    assert isinstance(adapted, TorchAdapted)
    return np.asarray(adapted.diagnostics["shares"]["target"])


def evidence_of(n: int, seed: int = 0) -> Evidence:
    """Return evidence with predictions that are right: p(y | x) under even shares."""

    def p(x: Any) -> Any:
        d = np.exp(-np.square(x[:, None] - CENTRES).sum(2) / 2)
        return d / d.sum(1, keepdims=True)

    source, target = draw(seed, n, EVEN), draw(seed + 100, n, SKEWED)
    share = np.bincount(source.y) / n
    return Evidence(source=p(source.x), y=source.y, target=p(target.x), share=share)


@pytest.mark.parametrize("method", METHODS, ids=NAMES)
def test_shares_approach_the_truth(method: LabelShift) -> None:
    errors = []
    for n in (300, 10_000):
        each = [
            np.abs(target_shares(method.adapt(task_of(n, seed=s))) - SKEWED).max() for s in range(3)
        ]
        errors.append(np.mean(each))
    assert errors[1] < errors[0]
    assert errors[1] < 0.02


@pytest.mark.parametrize("correct", ["weights", "output"])
@pytest.mark.parametrize("method", [BBSE, RLLS, MLLS], ids=["bbse", "rlls", "mlls"])
def test_beats_source_only_and_nears_the_best_possible(
    method: type[LabelShift], correct: Any
) -> None:
    task, heldout = task_of(3000), draw(7, 5000, SKEWED)

    def accuracy(p: Any) -> float:
        return float((p.argmax(1) == heldout.y).mean())

    density = np.exp(-np.square(heldout.x[:, None] - CENTRES).sum(2) / 2)
    bayes, floor = accuracy(density * SKEWED), accuracy(SourceOnly().adapt(task).predict(heldout.x))
    got = accuracy(method(correct=correct).adapt(task).predict(heldout.x))
    assert got > floor + 0.04
    assert got > bayes - 0.01


@pytest.mark.parametrize("method", METHODS, ids=NAMES)
def test_equal_shares_change_little(method: LabelShift) -> None:
    found = target_shares(method.adapt(task_of(5000, EVEN, EVEN)))
    np.testing.assert_allclose(found, EVEN, atol=0.04)


@pytest.mark.parametrize("method", METHODS, ids=NAMES)
def test_a_class_that_the_target_lacks_gets_next_to_nothing(method: LabelShift) -> None:
    found = target_shares(method.adapt(task_of(3000, EVEN, [0.6, 0.4, 0.0])))
    assert found[2] < 0.02


@pytest.mark.parametrize("correct", ["weights", "output"])
@pytest.mark.parametrize("method", [BBSE, RLLS, MLLS], ids=["bbse", "rlls", "mlls"])
def test_a_class_without_source_rows_is_left_out(method: type[LabelShift], correct: Any) -> None:
    adapted = method(correct=correct).adapt(task_of(400, [0.5, 0.5, 0.0]))
    assert target_shares(adapted)[2] == 0
    p = adapted.predict(draw(3, 50, EVEN).x)
    assert np.isfinite(p).all()
    assert p[:, 2].max() < 1e-6


def test_bbse_solves_the_papers_equation() -> None:
    """Where the inverse has no negative entry, least squares is the inverse."""
    e = evidence_of(4000)
    confusion = np.zeros((3, 3))
    for p, y in zip(e.source, e.y, strict=True):
        confusion[:, y] += p / len(e.y)
    wanted = np.linalg.solve(confusion, e.target.mean(0))
    assert (wanted >= 0).all()
    np.testing.assert_allclose(BBSE().ratios(e), wanted)


@pytest.mark.parametrize("penalty", [0.0, 1e-3, 0.02, 0.2, 10.0])
def test_rlls_minimises_its_objective(penalty: float) -> None:
    e = evidence_of(300)
    joint, q = e.joint(), e.target.mean(0)
    b = q - joint.sum(1)

    def objective(theta: Any) -> Any:
        return np.linalg.norm(joint @ theta - b) + penalty * np.linalg.norm(theta)

    best = min(
        optimize.minimize(
            objective, start, method="SLSQP", bounds=[(-1, None)] * 3, options={"ftol": 1e-14}
        ).fun
        for start in (np.full(3, 0.1), np.array([0.5, -0.5, -0.5]), np.zeros(3))
    )
    theta = solve(joint, b, penalty)
    assert theta.min() >= -1
    assert objective(theta) <= best + 1e-7


def test_rlls_stays_nearer_to_no_shift_the_larger_its_penalty() -> None:
    e = evidence_of(300)
    size = [np.linalg.norm(RLLS(penalty=v).ratios(e) - 1) for v in (0.0, 0.02, 0.1, 10.0)]
    assert size == sorted(size, reverse=True)
    assert size[-1] < 1e-6
    np.testing.assert_allclose(RLLS(penalty=0.0).ratios(e), BBSE().ratios(e), atol=1e-8)
    half = RLLS(trust=0.5).ratios(e) - 1
    np.testing.assert_allclose(half, 0.5 * (RLLS().ratios(e) - 1))


def test_mlls_ends_where_expectation_maximisation_does() -> None:
    e = evidence_of(500)
    fitted = calibrate(e.source, e.y, "bias-corrected")
    p, share = fitted.apply(e.target), fitted.apply(e.source).mean(0)
    found = share.copy()
    for _ in range(5000):  # Saerens' iteration
        r = p * found / share
        found = (r / r.sum(1, keepdims=True)).mean(0)
    np.testing.assert_allclose(MLLS().ratios(e), found / share, atol=1e-4)


def test_mlls_needs_its_calibration() -> None:
    """Probabilities twice too sure mislead the likelihood; calibrated, they do not."""
    e = evidence_of(5000)

    def sharper(p: Any) -> Any:
        return p**3 / (p**3).sum(1, keepdims=True)

    sure = Evidence(source=sharper(e.source), y=e.y, target=sharper(e.target), share=e.share)
    error = {
        how: np.abs(MLLS(calibration=how).ratios(sure) * e.share - SKEWED).max()  # type: ignore[arg-type]
        for how in ("none", "bias-corrected")
    }
    assert error["bias-corrected"] < 0.03
    assert error["none"] > 2 * error["bias-corrected"]


def test_folds_spread_every_class_and_follow_their_rows() -> None:
    d = draw(0, 103, SKEWED)
    fold = fold_of(d.x, d.y, 5, strata=True)
    for c in range(3):
        counts = np.bincount(fold[d.y == c], minlength=5)
        assert counts.max() - counts.min() <= 1
    assert np.ptp(np.bincount(fold)) <= 1
    order = SEED(0).permutation(103)
    np.testing.assert_array_equal(fold_of(d.x[order], d.y[order], 5, strata=True), fold[order])


def test_cross_fitted_rows_were_not_seen() -> None:
    """1-NN knows every row it has seen; labels that mean nothing cannot be known otherwise."""
    rng = SEED(0)
    d = Labelled(
        name="d",
        schema=SCHEMA,
        x=rng.normal(size=(300, 2)).astype(np.float32),
        y=rng.integers(0, 3, 300),
    )
    held = cross_fit(NearestNeighbours(), Task(sources=(d,), target=d), Run(), 5)
    assert (held.source.argmax(1) == d.y).mean() < 0.5
    assert held.target.shape == (5 * 300, 3)


def test_classes_that_look_alike_are_said() -> None:
    rng = SEED(0)
    d = Labelled(
        name="d",
        schema=SCHEMA,
        x=rng.normal(size=(300, 2)).astype(np.float32),
        y=rng.integers(0, 3, 300),
    )
    said: list[str] = []
    found = RLLS().adapt(Task(sources=(d,), target=d), Run(say=said.append))
    assert any("hardly tells some classes apart" in s for s in said)
    assert np.isfinite(target_shares(found)).all()


def test_the_weights_of_rows_are_diagnosed() -> None:
    found = BBSE().adapt(task_of(1000)).diagnostics
    assert 300 < found["weights"]["effective_sample_size"] < 1000
    assert found["unexplained"] < 0.02
    assert MLLS().adapt(task_of(1000)).diagnostics["temperature"] == pytest.approx(1, abs=0.3)


def test_several_sources_are_pooled() -> None:
    whole = task_of(600)
    s = whole.source
    parts = (s.take(np.arange(200)), s.take(np.arange(200, 600)))
    two = MLLS().adapt(Task(sources=parts, target=whole.target))
    x = draw(3, 40, EVEN).x
    np.testing.assert_allclose(two.predict(x), MLLS().adapt(whole).predict(x), atol=1e-4)


def test_another_learner_serves() -> None:
    task, heldout = task_of(1500), draw(7, 2000, SKEWED)
    learner = NearestNeighbours(k=25)
    score = [
        (s.adapt(task).predict(heldout.x).argmax(1) == heldout.y).mean()
        for s in (SourceOnly(learner=learner), MLLS(learner=learner), BBSE(learner=Logistic()))
    ]
    assert min(score[1:]) > score[0] + 0.03


def test_refuses_regression_and_a_single_fold() -> None:
    with pytest.raises(UnsupportedTask, match="bbse"):
        BBSE().adapt(MAKERS["table:values"](0)[0])
    with pytest.raises(BadInput, match="folds=1"):
        MLLS(folds=1)
    with pytest.raises(BadInput, match="penalty"):
        RLLS(penalty=-1.0)
