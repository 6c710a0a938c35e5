"""Several sources become one without being read, and graphs without being joined."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy import sparse

from isthmus import BadInput, Domain, Graph, Labelled, Relation, Schema, Task, rows
from isthmus.images import ImageFiles, Resized
from isthmus.stacked import Stacked, disjoint_union

RNG = np.random.default_rng(0)
A = RNG.integers(0, 256, (5, 4, 4, 1), np.uint8)
B = RNG.integers(0, 256, (3, 4, 4, 1), np.uint8)


class Lazy:
    """An array that counts how many of its rows were read."""

    def __init__(self, x):
        self.x, self.shape, self.read = x, x.shape, 0

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        self.read += len(self.x[index])
        return self.x[index]

    def take(self, index):
        return Lazy(self.x[index])

    def row_keys(self):
        return rows.row_keys(self.x)


@pytest.fixture
def files(tmp_path):
    for i, image in enumerate(A):
        Image.fromarray(image[:, :, 0]).save(tmp_path / f"{i}.png")
    return ImageFiles(sorted(tmp_path.glob("*.png")), (4, 4), channels=1)


@pytest.mark.parametrize(
    "index",
    [slice(None), slice(6, 2, -1), np.array([7, 0, 5, 5]), [1, -1], np.arange(8) % 3 == 0, 6, -8],
    ids=str,
)
def test_reads_like_the_concatenated_array(files, index):
    whole = np.concatenate([A, B])
    stacked = Stacked([files, B])
    np.testing.assert_array_equal(stacked[index], whole[index])
    assert stacked[index].dtype == np.uint8
    if not isinstance(index, int):
        view = stacked.take(index)
        assert view.shape == whole[index].shape
        np.testing.assert_array_equal(view[:], whole[index])
        np.testing.assert_array_equal(view.take([0, 0])[:], whole[index][[0, 0]])
        alone = np.concatenate([files.row_keys(), rows.row_keys(B)])
        np.testing.assert_array_equal(view.row_keys(), alone[index])


def test_no_row_asked_for_means_no_row_read():
    parts = [Lazy(A), Lazy(B)]
    stacked = rows.concatenate(parts)
    assert stacked[np.zeros(0, int)].shape == (0, 4, 4, 1)
    assert len(stacked.take([6, 1])) == 2
    assert (parts[0].read, parts[1].read) == (0, 0)
    np.testing.assert_array_equal(stacked[[6]], B[[1]])
    assert (parts[0].read, parts[1].read) == (0, 1)


def test_resized_images_are_floats_beside_bytes():
    stacked = Stacked([A, Resized(B, (4, 4, 1))])
    assert stacked[[0]].dtype == np.uint8
    assert stacked[[0, 6]].dtype == np.float32
    assert stacked.dtype == np.float32
    np.testing.assert_allclose(stacked[:], np.concatenate([A, B]))


def test_different_shapes_are_refused():
    with pytest.raises(BadInput, match="different shapes"):
        Stacked([A, RNG.integers(0, 256, (3, 8, 4, 1), np.uint8)])


def test_a_task_pools_image_files_unread(files):
    schema = Schema(kind="image", shape=(4, 4, 1), classes=("a", "b"))
    one = Labelled(name="one", schema=schema, x=files, y=np.arange(5) % 2)
    two = Labelled(name="two", schema=schema, x=B, y=np.arange(3) % 2)
    task = Task(sources=(one, two), target=Domain(name="t", schema=schema, x=A))
    assert isinstance(task.source.x, Stacked)
    shuffled = task.source.take([7, 0, 3])
    np.testing.assert_array_equal(shuffled.x[:], np.concatenate([A, B])[[7, 0, 3]])
    np.testing.assert_array_equal(shuffled.y, [0, 0, 1])


def ring(n, features, **given):
    index = np.stack([np.arange(n), (np.arange(n) + 1) % n])
    return Graph(features, (Relation(index=index, **given),))


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
def test_graphs_become_their_disjoint_union(kind):
    x, y = RNG.normal(size=(4, 3)).astype(np.float32), RNG.normal(size=(6, 3)).astype(np.float32)
    a, b = ring(4, kind(x)), ring(6, kind(y))
    union = rows.concatenate([a, b])
    np.testing.assert_array_equal(rows.dense(union.features), np.concatenate([x, y]))
    assert len(union.relations) == 1
    expected = np.concatenate([a.edges(), b.edges() + 4], axis=1)
    assert {tuple(e) for e in union.edges().T} == {tuple(e) for e in expected.T}
    np.testing.assert_array_equal(union[np.arange(4)].edges(), a.edges())
    np.testing.assert_array_equal(union[np.arange(4, 10)].edges(), b.edges())
    keys = np.concatenate([a.row_keys(), b.row_keys()])
    np.testing.assert_array_equal(union.row_keys(), keys)


def test_relations_keep_name_direction_and_weight():
    x = np.zeros((3, 1), np.float32)
    weighted = ring(3, x, weight=np.full(3, 2, np.float32))
    union = disjoint_union([ring(3, x), weighted, ring(3, x, directed=True), ring(3, x, name="n")])
    assert [(r.name, r.directed, r.index.shape[1]) for r in union.relations] == [
        ("edge", False, 6),
        ("edge", True, 3),
        ("n", False, 3),
    ]
    np.testing.assert_array_equal(union.relations[0].weight, [1, 1, 1, 2, 2, 2])
    assert union.relations[1].weight is None


def test_a_task_pools_graphs():
    schema = Schema(kind="graph", shape=(3,), classes=("a", "b"))
    x = RNG.normal(size=(4, 3)).astype(np.float32)
    sources = tuple(
        Labelled(name=n, schema=schema, x=ring(4, x), y=np.arange(4) % 2) for n in ("a", "b")
    )
    task = Task(sources=sources, target=Domain(name="t", schema=schema, x=ring(4, x)))
    assert len(task.source) == 8
    assert task.source.x.edges().shape == (2, 16)
