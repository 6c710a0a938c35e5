from __future__ import annotations

from typing import Any

import numpy as np
import torch

from isthmus import Schema
from isthmus.artefact import TorchAdapted, load
from isthmus.learners.linear import LinearPart
from isthmus_reweighting.committee import CommitteePart

X = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))


def heads(count: int, classes: bool, width: int = 2) -> list[Any]:
    rng = np.random.default_rng(0)
    return [
        LinearPart.of(rng.normal(size=(3, width)), rng.normal(size=width), classes)
        for _ in range(count)
    ]


def test_votes_are_counted_by_weight() -> None:
    each, weight = heads(4, True, 3), np.array([1.0, 2.0, 0.5, 3.0])
    got = CommitteePart.of(each, weight, "vote")(X).detach().numpy()
    wanted = np.zeros((40, 3))
    for head, w in zip(each, weight, strict=True):
        wanted[np.arange(40), head(X).argmax(1).numpy()] += w
    np.testing.assert_allclose(got, wanted / weight.sum(), atol=1e-6)


def test_an_undecided_head_splits_its_vote() -> None:
    flat = LinearPart.of(np.zeros((3, 2)), np.zeros(2), True)
    np.testing.assert_allclose(CommitteePart.of([flat], np.ones(1), "vote")(X).detach(), 0.5)


def test_the_median_is_the_weighted_one() -> None:
    each, weight = heads(5, False), np.array([1.0, 0.2, 2.0, 0.7, 0.4])
    got = CommitteePart.of(each, weight, "median")(X).detach().numpy()
    p = np.stack([h(X).detach().numpy() for h in each])
    order = p.argsort(0)
    heavy = weight[order].cumsum(0) >= weight.sum() / 2  # Drucker: the first at half the weight
    wanted = np.take_along_axis(np.take_along_axis(p, order, 0), heavy.argmax(0)[None], 0)[0]
    np.testing.assert_array_equal(got, wanted)


def test_three_equal_weights_give_the_middle_value() -> None:
    each = heads(3, False)
    got = CommitteePart.of(each, np.ones(3), "median")(X)
    wanted = torch.stack([h(X) for h in each]).median(dim=0).values
    torch.testing.assert_close(got, wanted)


def test_heads_without_weight_are_left_out_and_it_survives_saving(tmp_path: Any) -> None:
    part = CommitteePart.of(heads(4, True), np.array([1.0, 0.0, 0.0, 2.0]), "vote")
    assert len(part.heads) == 2
    schema = Schema(kind="table", shape=(3,), classes=("a", "b"))
    adapted = TorchAdapted(part=part, schema=schema)
    adapted.save(tmp_path / "model")
    again, _ = load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(X.numpy()), adapted.predict(X.numpy()))
