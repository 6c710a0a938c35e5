"""Rows are read, hashed and ordered alike, whatever holds them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from isthmus import Graph, Relation, rows

RNG = np.random.default_rng(0)
DENSE = RNG.normal(size=(40, 7)).astype(np.float32)
SPARSE = sparse.random(40, 30, 0.2, "csr", np.float32, random_state=0)
IMAGES = RNG.integers(0, 256, (40, 3, 3, 1), np.uint8)
GRAPH = Graph(DENSE, (Relation(index=RNG.integers(0, 40, (2, 80))),))
HOLDERS = {"dense": DENSE, "sparse": SPARSE, "images": IMAGES, "graph": GRAPH}


@pytest.fixture(params=list(HOLDERS))
def x(request):
    return HOLDERS[request.param]


def test_keys_go_with_their_rows(x):
    order = np.random.default_rng(1).permutation(40)
    keys = rows.row_keys(x)
    assert keys.shape == (40,)
    assert keys.dtype == np.uint64
    assert len(set(keys.tolist())) == 40
    np.testing.assert_array_equal(rows.row_keys(x[order]), keys[order])


def test_canonical_order_forgets_the_order_of_the_caller(x):
    shuffled = np.random.default_rng(1).permutation(40)
    y = np.arange(40) % 3
    for a, b in ((None, None), (y, y[shuffled])):
        mine, theirs = rows.canonical_order(x, a), rows.canonical_order(x[shuffled], b)
        np.testing.assert_array_equal(mine, shuffled[theirs])


def test_labels_order_rows_that_are_alike():
    same, y = np.zeros((6, 2)), np.array([0, 1, 2, 0, 1, 2])
    shuffled = np.random.default_rng(2).permutation(6)
    a = y[rows.canonical_order(same, y)]
    b = y[shuffled][rows.canonical_order(same, y[shuffled])]
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64, np.uint8])
@pytest.mark.parametrize("width", [2, 3, 5, 8])
def test_keys_tell_apart_what_a_sum_would_not(dtype, width):
    row = np.arange(1, width + 1).astype(dtype)
    variants = [row, row[::-1], np.roll(row, 1)]
    for i in range(width):
        for j in range(i):
            swapped = row.copy()
            swapped[[i, j]] = swapped[[j, i]]
            variants.append(swapped)
            if np.issubdtype(dtype, np.signedinteger) or np.issubdtype(dtype, np.floating):
                flipped = row.copy()
                flipped[[i, j]] *= -1
                variants.append(flipped)
    x = np.unique(np.stack(variants), axis=0)
    for held in (x, sparse.csr_matrix(x) if dtype in (np.float32, np.float64) else x):
        assert len(set(rows.row_keys(held).tolist())) == len(x)


def test_all_sign_patterns_differ():
    signs = np.array(np.meshgrid(*[[-1, 1]] * 8)).reshape(8, -1).T
    for dtype in (np.float32, np.float64):
        x = (signs * np.float32(0.5)).astype(dtype)
        assert len(set(rows.row_keys(x).tolist())) == len(x)
        assert len(set(rows.row_keys(sparse.csr_matrix(x)).tolist())) == len(x)


def test_binary_rows_of_bytes_differ():
    x = np.unpackbits(np.arange(2**12, dtype=">u2").view(np.uint8).reshape(-1, 2), axis=1)
    assert len(set(rows.row_keys(x).tolist())) == len(x)


def test_sparse_keys_do_not_depend_on_how_the_matrix_is_stored():
    stored = sparse.csr_matrix(
        (np.array([2, 1, 3], np.float32), np.array([4, 0, 1]), np.array([0, 2, 3])), shape=(2, 5)
    )
    clean = sparse.csr_matrix(stored.toarray())
    np.testing.assert_array_equal(rows.row_keys(stored), rows.row_keys(clean))
    wide = clean.astype(np.float64)
    np.testing.assert_array_equal(rows.row_keys(wide), rows.row_keys(clean))
    with_zero = sparse.csr_matrix(
        (np.array([1, 0, 2, 3], np.float32), np.array([0, 2, 4, 1]), np.array([0, 3, 4])),
        shape=(2, 5),
    )
    np.testing.assert_array_equal(rows.row_keys(with_zero), rows.row_keys(clean))


def test_duplicates_have_one_key_dense_and_sparse():
    x = np.repeat(np.eye(3, dtype=np.float32), 2, 0)
    for held in (x, sparse.csr_matrix(x)):
        keys = rows.row_keys(held)
        np.testing.assert_array_equal(keys[::2], keys[1::2])
        assert len(set(keys.tolist())) == 3


def test_empty_rows_and_no_rows():
    assert len(rows.row_keys(np.zeros((0, 3)))) == 0
    assert rows.row_keys(np.zeros((2, 0))).tolist() == [0, 0]
    assert len(rows.row_keys(sparse.csr_matrix((0, 3)))) == 0
    assert rows.row_keys(sparse.csr_matrix((2, 3))).tolist() == [0, 0]
    assert rows.canonical_order(np.zeros((0, 3))).tolist() == []


def test_fingerprint_sees_rows_order_and_labels():
    y = np.arange(40)
    seen = {
        rows.fingerprint(DENSE),
        rows.fingerprint(DENSE[::-1]),
        rows.fingerprint(DENSE, y),
        rows.fingerprint(DENSE, y[::-1]),
        rows.fingerprint(DENSE[:39]),
    }
    assert len(seen) == 5
    assert rows.fingerprint(DENSE.copy(), y.copy()) in seen


def test_take_and_count(x):
    part = rows.take(x, np.array([5, 2]))
    assert rows.count(x) == 40
    assert rows.count(part) == 2


def test_take_asks_a_lazy_container_for_a_view():
    class Lazy:
        def __getitem__(self, index):
            raise AssertionError("rows were read")

        def take(self, index):
            return ("view", index)

    assert rows.take(Lazy(), 3) == ("view", 3)


def test_concatenate_dense_and_sparse():
    both = rows.concatenate([SPARSE[:2], SPARSE[2:5]])
    np.testing.assert_array_equal(both.toarray(), SPARSE[:5].toarray())
    mixed = rows.concatenate([SPARSE[:2], SPARSE[2:5].toarray()])
    np.testing.assert_array_equal(mixed.toarray(), SPARSE[:5].toarray())
    np.testing.assert_array_equal(rows.concatenate([DENSE[:2], DENSE[2:]]), DENSE)


def test_dense():
    assert rows.dense(SPARSE).dtype == np.float32
    np.testing.assert_array_equal(rows.dense(SPARSE), SPARSE.toarray())


def test_chunks_cover_everything_once():
    assert [list(range(10))[c] for c in rows.chunks(10, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert list(rows.chunks(0, 4)) == [slice(0, 0)]
