from __future__ import annotations

import numpy as np
import torch
from scipy import sparse

from isthmus import Schema
from isthmus.artefact import TorchAdapted, build_part, describe_part
from isthmus.learners import displaced as module
from isthmus.learners.displaced import displaced
from isthmus.learners.linear import LinearPart

SCHEMA = Schema(kind="table", shape=(3,), outputs=("u", "v", "w"))
HEAD = LinearPart.of(np.eye(3), np.zeros(3), False)  # shows what it was given


def draw(seed, n=20):
    return np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)


def predict(part, x):
    return TorchAdapted(part=part, schema=SCHEMA).predict(x)


def test_known_rows_go_where_they_went():
    x, moved = draw(0), draw(1)
    np.testing.assert_allclose(predict(displaced(HEAD, x, moved), x), moved, atol=1e-6)


def test_new_rows_move_as_their_nearest():
    x, moved, new = draw(0), draw(1), draw(2, 7)
    nearest = np.square(new[:, None] - x).sum(2).argmin(1)
    got = predict(displaced(HEAD, x, moved), new)
    np.testing.assert_allclose(got, new + (moved - x)[nearest], atol=1e-6)


def test_csr_rows_do_as_dense_ones():
    x, moved = draw(0), draw(1)
    part = displaced(HEAD, sparse.csr_matrix(x), sparse.csr_matrix(moved))
    np.testing.assert_allclose(predict(part, sparse.csr_matrix(x)), moved, atol=1e-6)


def test_few_rows_are_kept_and_the_same_in_any_order(monkeypatch):
    monkeypatch.setattr(module, "KNOWN", 8)
    x, moved, new = draw(0), draw(1), draw(2, 30)
    part = displaced(HEAD, x, moved)
    assert part.field.rows.shape == (8, 3)
    other = np.random.default_rng(3).permutation(20)
    again = displaced(HEAD, x[other], moved[other])
    np.testing.assert_allclose(predict(part, new), predict(again, new), atol=1e-6)


def test_is_described_and_rebuilt():
    part = displaced(HEAD, draw(0), draw(1))
    again = build_part(describe_part(part))
    again.load_state_dict(part.state_dict())
    x = torch.tensor(draw(2))
    torch.testing.assert_close(again(x), part(x))
    features, values = part.observe(x)
    torch.testing.assert_close(features, values)  # of this head
    (example,) = part.example()[0].values()
    assert part(example).shape == (2, 3)
