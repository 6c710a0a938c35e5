from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import linalg, sparse
from sklearn.linear_model import LogisticRegression, Ridge

from isthmus import BadInput, Labelled, Schema, Task, UnsupportedTask
from isthmus.learners.linear import Linear, LinearPart
from isthmus.learners.neighbours import NearestNeighbours
from isthmus_alignment.shallow.feature_augmentation import (
    BlocksPart,
    FeatureAugmentation,
    augmented,
    in_blocks,
)
from isthmus_baselines.source_only import SourceOnly
from isthmus_baselines.target_only import TargetOnly

D = 12
CLASSES = Schema(kind="table", shape=(D,), classes=("a", "b", "c"))
VALUES = Schema(kind="table", shape=(D,), outputs=("u", "v"))


def task_of(schema: Schema, n: int = 300, m: int = 25, sources: int = 1) -> tuple[Task, Labelled]:
    """Domains whose linear models agree in most of their weights."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(D, schema.width))

    def draw(name: str, n: int, own: Any) -> Labelled:
        x = rng.normal(size=(n, D)).astype(np.float32)
        scores = x @ (common + own) + 0.1 * rng.normal(size=(n, schema.width))
        y = scores.astype(np.float32) if schema.is_regression else scores.argmax(1)
        return Labelled(name=name, schema=schema, x=x, y=y)

    own = [np.zeros((D, schema.width)) for _ in range(sources + 1)]
    for i, block in enumerate(own):
        block[3 * i : 3 * i + 3] = 2 * rng.normal(size=(3, schema.width))
    given = tuple(draw(f"source {i}", n, own[i]) for i in range(sources))
    support, heldout = draw("support", m, own[-1]), draw("heldout", 1000, own[-1])
    return Task(sources=given, target=heldout, support=support), heldout


def by_hand(task: Task, x: Any) -> Any:
    """Blocks as dense arrays, scikit-learn's solver, and the target's two blocks of its weights."""
    assert task.support is not None
    given = [np.float64(d.x) for d in (*task.sources, task.support)]
    both, y = np.concatenate(given), np.concatenate([task.source.y, task.support.y])
    scale = np.maximum(both.std(0), np.median(both.std(0)))
    given, x = [(z - both.mean(0)) / scale for z in given], (x - both.mean(0)) / scale
    blocks = np.hstack([np.concatenate(given), linalg.block_diag(*given)])
    new = np.hstack([x, *[0 * x for _ in task.sources], x])
    if task.schema.is_regression:
        return Ridge(alpha=1.0).fit(blocks, y).predict(new)
    return LogisticRegression(C=1.0, tol=1e-8, max_iter=5000).fit(blocks, y).predict_proba(new)


@pytest.mark.parametrize("sources", [1, 2])
@pytest.mark.parametrize("schema", [CLASSES, VALUES])
def test_it_is_the_learner_on_the_papers_blocks(schema: Schema, sources: int) -> None:
    task, heldout = task_of(schema, sources=sources)
    found = FeatureAugmentation(share=None).adapt(task).predict(heldout.x)
    np.testing.assert_allclose(found, by_hand(task, heldout.x), atol=1e-3)


@pytest.mark.parametrize("schema", [CLASSES, VALUES])
def test_it_beats_either_domain_alone(schema: Schema) -> None:
    task, heldout = task_of(schema, m=15)

    def error(strategy: Any) -> float:
        p = strategy.adapt(task).predict(heldout.x)
        if schema.is_regression:
            return float(np.square(p - heldout.y).mean())
        return float((p.argmax(1) != heldout.y).mean())

    alone = min(error(SourceOnly()), error(TargetOnly()))
    assert error(FeatureAugmentation()) < 0.9 * alone


def test_inner_products_double_within_a_domain() -> None:
    """The kernel of the paper: 2 K(x, x') in one domain, K(x, x') across."""
    rng = np.random.default_rng(1)
    domains = [rng.normal(size=(n, 4)).astype(np.float32) for n in (3, 5, 2)]
    blocks = augmented([domains[0], sparse.csr_matrix(domains[1]), domains[2]])
    assert sparse.issparse(blocks)
    assert blocks.nnz == 2 * 10 * 4
    assert blocks.shape == (10, 4 * 4)
    of, x = np.repeat([0, 1, 2], [3, 5, 2]), np.concatenate(domains)
    wanted = x @ x.T * (1 + (of[:, None] == of))
    np.testing.assert_allclose((blocks @ blocks.T).toarray(), wanted, atol=1e-5)


def test_a_linear_head_folds_to_what_blocks_compute() -> None:
    rng = np.random.default_rng(2)
    head = LinearPart.of(rng.normal(size=(12, 3)), rng.normal(size=3), classes=True)
    factors = [1.0, 0.5, 0.0]
    blocks = BlocksPart(head, 4, 3)
    blocks.factors = torch.tensor(factors)
    folded = in_blocks(head, factors)
    x = torch.tensor(rng.normal(size=(6, 4)), dtype=torch.float32)
    assert isinstance(folded, LinearPart)
    assert folded.weight.shape == (3, 4)
    torch.testing.assert_close(folded(x), blocks(x))


def test_neighbours_of_the_own_domain_are_nearer() -> None:
    """With 1-NN, which reads all blocks; a row of the support finds itself."""
    task, _ = task_of(CLASSES)
    assert task.support is not None
    adapted = FeatureAugmentation(learner=NearestNeighbours()).adapt(task)
    np.testing.assert_array_equal(adapted.predict(task.support.x).argmax(1), task.support.y)
    source = adapted.for_source().predict(task.source.x).argmax(1)
    np.testing.assert_array_equal(source, task.source.y)


def test_the_source_is_read_with_its_own_block() -> None:
    task, heldout = task_of(CLASSES, m=150)
    adapted = FeatureAugmentation().adapt(task)
    own = (adapted.for_source().predict(task.source.x).argmax(1) == task.source.y).mean()
    other = (adapted.predict(task.source.x).argmax(1) == task.source.y).mean()
    assert own > 0.9 > other


def test_the_order_of_sources_does_not_matter() -> None:
    task, heldout = task_of(CLASSES, sources=3)
    turned = replace(task, sources=task.sources[::-1])
    p, q = (FeatureAugmentation().adapt(t) for t in (task, turned))
    np.testing.assert_allclose(q.predict(heldout.x), p.predict(heldout.x), atol=1e-3)
    x = task.source.x
    np.testing.assert_allclose(q.for_source().predict(x), p.for_source().predict(x), atol=1e-3)


def test_sparse_rows_stay_sparse_and_unscaled() -> None:
    task, heldout = task_of(CLASSES)
    assert task.support is not None

    def csr(d: Any) -> Any:
        return replace(d, x=sparse.csr_matrix(d.x))

    thin = Task(sources=(csr(task.source),), target=csr(task.target), support=csr(task.support))
    p = FeatureAugmentation(share=None, learner=Linear(penalty=2.0)).adapt(thin).predict(heldout.x)
    s, t = np.float64(task.source.x), np.float64(task.support.x)
    blocks = np.block([[s, s, 0 * s], [t, 0 * t, t]])
    model = LogisticRegression(C=0.5, tol=1e-8, max_iter=5000)
    model.fit(blocks, np.concatenate([task.source.y, task.support.y]))
    wanted = model.predict_proba(np.hstack([heldout.x, 0 * heldout.x, heldout.x]))
    np.testing.assert_allclose(p, wanted, atol=1e-3)


def test_the_share_of_the_target_is_that_of_its_weight() -> None:
    """At 1 the source says nothing: what is left is the support alone, of which x counts twice."""
    task, heldout = task_of(CLASSES, m=60)
    lonely = FeatureAugmentation(share=1.0).adapt(task).predict(heldout.x)
    other = replace(task.source, y=2 - task.source.y)
    turned = FeatureAugmentation(share=1.0).adapt(replace(task, sources=(other,)))
    np.testing.assert_allclose(turned.predict(heldout.x), lonely, atol=1e-5)
    n, m = len(task.source), 60
    alike = FeatureAugmentation(share=m / (n + m)).adapt(task).predict(heldout.x)
    plain = FeatureAugmentation(share=None).adapt(task).predict(heldout.x)
    np.testing.assert_allclose(alike, plain, atol=1e-4)


def test_refuses_what_makes_no_sense() -> None:
    task, _ = task_of(CLASSES)
    with pytest.raises(BadInput, match="share=2"):
        FeatureAugmentation(share=2.0)
    with pytest.raises(UnsupportedTask, match="feature-augmentation needs labelled target"):
        FeatureAugmentation().adapt(replace(task, support=None))
