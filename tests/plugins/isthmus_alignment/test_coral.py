from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import linalg, sparse

from isthmus import BadInput, Labelled, Run, Schema, Task
from isthmus.deploy.export import export
from isthmus.learners.linear import Linear, Logistic
from isthmus.learners.neighbours import NearestNeighbours
from isthmus_alignment.shallow.coral import CORAL, recolouring
from isthmus_baselines.source_only import SourceOnly

CLASSES = Schema(kind="table", shape=(4,), classes=("a", "b", "c"))
VALUES = Schema(kind="table", shape=(4,), outputs=("u", "v"))
MIX = np.array([[1, 0.9, 0, 0], [0.9, 1, 0, 0], [0, 0, 2, -0.8], [0, 0, -0.8, 0.5]])


def zscore(x: Any) -> Any:
    x = np.asarray(x, np.float64)
    return (x - x.mean(0)) / x.std(0)


def draw(seed: int, n: int, shifted: bool, schema: Schema = CLASSES) -> Labelled:
    """Three classes, or two linear outputs; a shifted domain is mixed and moved."""
    rng = np.random.default_rng(seed)
    y: Any = rng.integers(0, 3, n)
    x = rng.normal(size=(n, 4))
    if schema.is_regression:
        y = x @ np.random.default_rng(0).normal(size=(4, 2)) + 0.1 * rng.normal(size=(n, 2))
    else:
        x += 2 * np.eye(4)[y]
    x = x @ MIX + 5 if shifted else x
    return Labelled(name="d", schema=schema, x=x.astype(np.float32), y=y)


def test_covariances_become_equal() -> None:
    rng = np.random.default_rng(0)
    x_s, x_t = rng.normal(size=(50, 4)), rng.normal(size=(70, 4)) @ MIX
    np.testing.assert_allclose(
        np.cov((x_s @ recolouring(x_s, x_t, 0.0)).T), np.cov(x_t.T), atol=1e-10
    )


@pytest.mark.parametrize("shrinkage", [0.0, 1.0])
def test_a_domain_is_mapped_to_itself_unchanged(shrinkage: float) -> None:
    x = np.random.default_rng(1).normal(size=(30, 4)) @ MIX
    np.testing.assert_allclose(x @ recolouring(x, x[::-1], shrinkage), x, atol=1e-10)


@pytest.mark.parametrize("shrinkage", [0.5, 1.0])
def test_the_map_is_the_matrix_square_root_of_the_paper(shrinkage: float) -> None:
    rng = np.random.default_rng(2)
    x_s, x_t = rng.normal(size=(40, 4)) @ MIX.T, rng.normal(size=(60, 4)) @ MIX
    c_s, c_t = (np.cov(x.T) + shrinkage * np.eye(4) for x in (x_s, x_t))
    wanted = x_s @ linalg.inv(linalg.sqrtm(c_s)) @ linalg.sqrtm(c_t)
    np.testing.assert_allclose(x_s @ recolouring(x_s, x_t, shrinkage), wanted, atol=1e-9)


@pytest.mark.parametrize("shrinkage", [0.0, 1e-6, 1.0])
def test_fewer_rows_than_columns_stay_bounded(shrinkage: float) -> None:
    rng = np.random.default_rng(3)
    x_s, x_t = rng.normal(size=(5, 20)), rng.normal(size=(7, 20))
    got = x_s @ recolouring(x_s, x_t, shrinkage)
    # Whitened rows have norm at most sqrt(n - 1), and the target's colour stretches by its own.
    largest = np.sqrt(np.linalg.eigvalsh(np.cov(x_t.T))[-1] + shrinkage)
    centred = got - got.mean(0)
    assert np.linalg.norm(centred, axis=1).max() <= np.sqrt(len(x_s) - 1) * largest * (1 + 1e-9)


def test_without_shrinkage_only_the_span_of_the_source_is_recoloured() -> None:
    """Rank-deficient covariances: a pseudo-inverse, not an explosion of rounding errors."""
    rng = np.random.default_rng(4)
    x_s = np.column_stack([rng.normal(size=(50, 2)), np.zeros((50, 2))])
    x_t = rng.normal(size=(60, 4)) @ MIX
    got = x_s @ recolouring(x_s, x_t, 0.0)
    assert np.linalg.matrix_rank(got) == 2
    assert np.abs(got).max() < 100


@pytest.mark.parametrize("schema", [CLASSES, VALUES], ids=["classes", "values"])
@pytest.mark.parametrize("learner", [Linear(), NearestNeighbours(k=3)], ids=["linear", "knn"])
def test_predicts_as_the_learner_on_aligned_rows(schema: Schema, learner: Any) -> None:
    """The target's z-scores are part of the artefact; only the source is recoloured."""
    source, target = draw(0, 120, False, schema), draw(1, 100, True, schema)
    adapted = CORAL(learner=learner, shrinkage=0.3).adapt(Task(sources=(source,), target=target))
    z = zscore(source.x)
    aligned = (z @ recolouring(z, zscore(target.x), 0.3)).astype(np.float32)
    inner = learner.fit(aligned, source.y, None, schema, Run())
    wanted = inner.predict(zscore(target.x).astype(np.float32))
    np.testing.assert_allclose(adapted.predict(target.x), wanted, atol=2e-4)
    # What was held out of the source is read as the training source was: recoloured.
    found = adapted.for_source().predict(source.x)
    np.testing.assert_allclose(found, inner.predict(aligned), atol=2e-4)


@pytest.mark.parametrize("learner", [Linear(), NearestNeighbours(k=3)], ids=["linear", "knn"])
def test_the_exported_map_is_the_pipeline(learner: Any, tmp_path: Path) -> None:
    import onnxruntime

    source, target = draw(0, 120, False), draw(1, 100, True)
    adapted = CORAL(learner=learner).adapt(Task(sources=(source,), target=target))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        export(adapted.onnx(), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    got = session.run(None, {"x": target.x})[0]
    np.testing.assert_allclose(got, adapted.predict(target.x), atol=1e-4)


def test_undoes_a_linear_shift_that_source_only_does_not() -> None:
    """A symmetric map is what covariances can show; no rotation of it could be seen."""
    task = Task(sources=(draw(0, 600, False),), target=draw(1, 600, True))
    heldout = draw(2, 600, True)
    score = {
        s.name: (s.adapt(task).predict(heldout.x).argmax(1) == heldout.y).mean()
        for s in (SourceOnly(), CORAL())
    }
    assert score["coral"] > score["source-only"] + 0.1


def test_units_do_not_matter() -> None:
    source, target = draw(0, 150, False), draw(1, 150, True)
    unit = np.array([1000, 1, 0.01, 1], np.float32)
    p = CORAL().adapt(Task(sources=(source,), target=target)).predict(target.x)
    moved = [Labelled(name="m", schema=CLASSES, x=d.x * unit + 3, y=d.y) for d in (source, target)]
    got = CORAL().adapt(Task(sources=(moved[0],), target=moved[1])).predict(moved[1].x)
    np.testing.assert_allclose(got, p, atol=2e-3)


def test_several_sources_are_pooled() -> None:
    whole, target = draw(0, 200, False), draw(1, 150, True)
    parts = (whole.take(np.arange(80)), whole.take(np.arange(80, 200)))
    one = CORAL().adapt(Task(sources=(whole,), target=target)).predict(target.x)
    two = CORAL().adapt(Task(sources=parts, target=target)).predict(target.x)
    np.testing.assert_allclose(two, one, atol=1e-5)


def test_sparse_rows_align_as_dense_ones() -> None:
    source, target = draw(0, 100, False), draw(1, 80, True)
    rows = [
        Labelled(name="s", schema=CLASSES, x=sparse.csr_matrix(d.x), y=d.y)
        for d in (source, target)
    ]
    dense = CORAL().adapt(Task(sources=(source,), target=target)).predict(target.x)
    got = CORAL().adapt(Task(sources=(rows[0],), target=rows[1])).predict(rows[1].x)
    np.testing.assert_allclose(got, dense, atol=1e-6)


def test_without_normalising_the_raw_rows_are_recoloured() -> None:
    source, target = draw(0, 100, False), draw(1, 80, True)
    task = Task(sources=(source,), target=target)
    adapted = CORAL(normalise=False, learner=Logistic()).adapt(task)
    x = source.x.astype(np.float64)
    aligned = x @ recolouring(x, target.x.astype(np.float64), 1.0)
    inner = Logistic().fit(aligned.astype(np.float32), source.y, None, CLASSES, Run())
    np.testing.assert_allclose(adapted.predict(target.x), inner.predict(target.x), atol=1e-4)


@pytest.mark.parametrize("shrinkage", [-0.3, float("nan"), float("inf")])
def test_a_shrinkage_that_is_none_is_refused(shrinkage: float) -> None:
    with pytest.raises(BadInput, match="coral: shrinkage"):
        CORAL(shrinkage=shrinkage)
