"""Every form of archive that is read, and the sentence for every one that is not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from isthmus import BadInput, Graph, Labelled

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 3))
Y = np.arange(12, dtype=np.uint8) % 3
CSR = sparse.random(12, 40, 0.3, "csr", np.float32, random_state=0)
EDGES = np.array([[0, 1, 2, 3, 0], [1, 2, 3, 4, 5]], np.int32)


@pytest.fixture
def write(tmp_path):
    def write(**arrays):
        np.savez(tmp_path / "a.npz", **arrays)

    return write


def csr(matrix, name="x", data=True):
    arrays = {
        f"{name}_indices": matrix.indices.astype(np.uint16),
        f"{name}_indptr": matrix.indptr,
        "n_features": np.array(matrix.shape[1]),
    }
    return arrays | ({f"{name}_data": matrix.data} if data else {})


def test_table(write, load):
    write(x=X, y=Y, classes=np.array(["a", "b", "c"]))
    d = load("npz:a.npz")
    assert isinstance(d, Labelled)
    assert d.name == "a"
    assert d.schema.kind == "table"
    assert d.schema.shape == (3,)
    assert d.schema.classes == ("a", "b", "c")
    assert d.x.dtype == np.float32
    assert d.y.dtype == np.int64
    np.testing.assert_allclose(d.x, X, rtol=1e-6)


def test_without_labels_and_without_names(write, load):
    write(x=X)
    assert not isinstance(load("npz:a.npz"), Labelled)
    write(x=X, y=Y, x_test=X[:2], y_test=np.array([4, 0]))
    assert load("npz:a.npz").schema.classes == ("0", "1", "2", "3", "4")  # test ids count too
    write(x=X, y=Y > 0)
    assert load("npz:a.npz").schema.classes == ("0", "1")


def test_splits(write, load):
    write(x=X, y=Y, x_test=X[:5] + 9, y_test=Y[:5])
    assert [len(load(f"npz:a.npz#split={s}")) for s in ("train", "test", "all")] == [12, 5, 17]
    np.testing.assert_allclose(load("npz:a.npz#split=test").x, X[:5] + 9, rtol=1e-6)
    write(x=X, y=Y)
    assert len(load("npz:a.npz#split=all")) == 12
    with pytest.raises(BadInput, match=r"a\.npz has no test split"):
        load("npz:a.npz#split=test")


def test_a_mask_is_a_split_and_rows_can_be_chosen_by_value(write, load):
    write(x=X, y=Y, train=np.arange(12) < 8, subject=np.arange(12) // 2)
    assert [len(load(f"npz:a.npz#split={s}")) for s in ("train", "test", "all")] == [8, 4, 12]
    d = load("npz:a.npz#where=subject:1,5&split=all")
    np.testing.assert_allclose(d.x, X[[2, 3, 10, 11]], rtol=1e-6)
    assert load("npz:a.npz#where=subject:1,5").y.tolist() == Y[[2, 3]].tolist()
    with pytest.raises(BadInput, match="no row has subject:7"):
        load("npz:a.npz#where=subject:7")
    with pytest.raises(BadInput, match="no array 'subjekt'"):
        load("npz:a.npz#where=subjekt:7")
    with pytest.raises(BadInput, match="expected ARRAY:VALUE"):
        load("npz:a.npz#where=subject")


def test_other_names(write, load):
    write(features=X, target=Y, features_test=X[:2], target_test=Y[:2])
    assert load("npz:a.npz#x=features&y=target").y.tolist() == Y.tolist()
    assert len(load("npz:a.npz#x=features&y=target&split=test")) == 2
    with pytest.raises(BadInput, match="no array 'x'") as caught:
        load("npz:a.npz")
    assert "features" in caught.value.hint
    with pytest.raises(BadInput, match="no array 'tarjet'") as caught:
        load("npz:a.npz#x=features&y=tarjet")
    assert "'target'" in caught.value.hint


@pytest.mark.parametrize("shape", [(12, 4, 5, 1), (12, 4, 5, 3), (12, 4, 5)])
def test_images(write, load, shape):
    x = RNG.integers(0, 256, shape, np.uint8)
    write(x=x, y=Y)
    d = load("npz:a.npz")
    assert d.schema.kind == "image"
    assert d.x.dtype == np.uint8
    assert d.x.shape[1:] == d.schema.shape == (4, 5, shape[3] if len(shape) == 4 else 1)
    flat = load("npz:a.npz#as=table")
    np.testing.assert_allclose(flat.x, x.reshape(12, -1) / 255, rtol=1e-6)
    with pytest.raises(BadInput, match="normalise and fill are for features"):
        load("npz:a.npz#normalise=zscore")


def test_bytes_in_two_axes_are_counts_not_pixels(write, load):
    write(x=np.full((12, 3), 200, np.uint8), y=Y)
    assert load("npz:a.npz").x.max() == 200


@pytest.mark.parametrize("data", [True, False])
def test_csr(write, load, data):
    write(**csr(CSR, data=data) | csr(CSR[:4], "x_test", data), y=Y, y_test=Y[:4])
    want = CSR.toarray() if data else (CSR.toarray() != 0)
    d = load("npz:a.npz")
    assert sparse.isspmatrix_csr(d.x)
    assert d.x.dtype == np.float32
    assert d.schema.shape == (40,)
    np.testing.assert_array_equal(d.x.toarray(), want)
    np.testing.assert_array_equal(load("npz:a.npz#split=test").x.toarray(), want[:4])
    assert load("npz:a.npz#split=all").x.shape == (16, 40)


def test_csr_that_is_broken(write, load):
    arrays = csr(CSR)
    write(**arrays | {"n_features": np.array(3)})
    with pytest.raises(BadInput, match=r"a\.npz: x is not a CSR matrix"):
        load("npz:a.npz")
    write(**arrays | {"x_indptr": CSR.indptr[::-1]})
    with pytest.raises(BadInput, match="x is not a CSR matrix"):
        load("npz:a.npz")
    arrays.pop("n_features")
    write(**arrays)
    with pytest.raises(BadInput, match="needs the array 'n_features'"):
        load("npz:a.npz")


def test_graphs(write, load):
    write(**csr(CSR), edges=EDGES, y=Y)
    d = load("npz:a.npz")
    assert d.schema.kind == "graph"
    assert d.schema.shape == (40,)
    assert isinstance(d.x, Graph)
    assert d.x.edges().shape == (2, 10)
    assert load("npz:a.npz#as=table").schema.kind == "table"
    write(x=X, edges=EDGES, y=Y)
    assert load("npz:a.npz").x.features.dtype == np.float32


def test_a_graph_without_features_is_described_by_degrees(write, load):
    star = np.array([[0] * 8 + [1, 2], list(range(1, 9)) + [0, 2]])  # a repeat and a loop
    write(edges=star, y=np.zeros(10, np.uint8))
    d = load("npz:a.npz")
    assert d.schema.shape == (16,)
    assert d.x.features.argmax(1).tolist() == [3] + [1] * 8 + [0]  # degrees 8, 1 and 0
    np.testing.assert_array_equal(d.x.features.sum(1), 1)
    write(edges=star)
    assert len(load("npz:a.npz")) == 9


def test_graphs_that_are_broken(write, load):
    write(x=X, edges=EDGES + 9)
    with pytest.raises(BadInput, match=r"a\.npz: relation 'edge' names node 14, but there are 12"):
        load("npz:a.npz")
    write(x=X, edges=EDGES - 1)
    with pytest.raises(BadInput, match="names node -1"):
        load("npz:a.npz")
    write(x=X, edges=EDGES.T)
    with pytest.raises(BadInput, match=r"edges has shape \(5, 2\), expected \(2, m\)"):
        load("npz:a.npz")
    write(x=X)
    with pytest.raises(BadInput, match="no array 'edges', which as=graph needs"):
        load("npz:a.npz#as=graph")


def test_regression(write, load):
    write(x=X, y=X[:, 0])
    d = load("npz:a.npz")
    assert d.schema.outputs == ("y",)
    assert d.y.shape == (12, 1)
    write(x=X, y=X[:, :2], outputs=np.array(["u", "v"]))
    assert load("npz:a.npz").schema.outputs == ("u", "v")
    write(x=X, y=X[:, :2])
    assert load("npz:a.npz").schema.outputs == ("y0", "y1")


def test_labels_can_be_names(write, load):
    write(x=X, y=np.array(["b", "a", "c"])[Y])
    d = load("npz:a.npz")
    assert d.schema.classes == ("a", "b", "c")
    assert d.y[:3].tolist() == [1, 0, 2]


def test_class_ids_that_are_codes_make_as_many_classes(write, load):
    write(x=X, y=np.array([94110, 10, 501])[Y], y_test=np.array([7]), x_test=X[:1])
    d = load("npz:a.npz")
    assert d.schema.classes == ("7", "10", "501", "94110")
    assert [d.schema.classes[i] for i in d.y[:3]] == ["94110", "10", "501"]
    assert load("npz:a.npz#split=test").y.tolist() == [0]


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"x": X, "y": Y[:5]}, "x has 12 rows, y has 5"),
        ({"x": X, "y": Y, "classes": np.array(["a", "b"])}, "class id 2, but there are 2 classes"),
        ({"x": X, "y": Y.astype(int) - 1}, "class id -1"),
        ({"x": X, "y": np.eye(12, 3, dtype=np.uint8)}, "expected one class id per row"),
        ({"x": X, "y": np.array(5)}, "y has one value"),
        ({"x": np.array(5.0)}, "x is one value"),
        ({"x": X.astype(str)}, "expected numbers"),
        ({"x": X[:, 0], "y": Y}, r"float64 \(12,\)"),
        ({"x": np.zeros((12, 4, 4, 3), np.float32)}, "uint8 images"),
        ({"x": X, "y": np.array(["a", "b", "z"])[Y], "classes": np.array(["a", "b"])}, "'z'"),
    ],
)
def test_arrays_that_do_not_fit(write, load, arrays, sentence):
    write(**arrays)
    with pytest.raises(BadInput, match=sentence):
        load("npz:a.npz")


def test_series_are_read_as_they_are_and_can_be_flattened(write, load):
    x = np.arange(12 * 9 * 4).reshape(12, 9, 4).astype(np.float16)
    write(x=x, y=Y)
    domain = load("npz:a.npz")
    assert (domain.schema.kind, domain.schema.shape, domain.x.dtype) == (
        "series",
        (9, 4),
        np.float32,
    )
    np.testing.assert_array_equal(domain.x, x)
    assert load("npz:a.npz#as=table").schema.shape == (36,)
    with pytest.raises(BadInput, match="not for series domains"):
        load("npz:a.npz#normalise=zscore")
    write(x=X, y=Y)
    with pytest.raises(BadInput, match=r"needs numbers \(n, channels, time\)"):
        load("npz:a.npz#as=series")


def test_normalising(write, load):
    x = np.abs(X).astype(np.float32)
    x[0, 0] = np.nan
    x[:, 2] = 5
    write(x=x, y=Y, x_test=x[:4] + 1, y_test=Y[:4])
    z = load("npz:a.npz#normalise=zscore").x
    assert np.isnan(z).sum() == 1
    np.testing.assert_allclose(np.nanmean(z, 0), 0, atol=1e-6)
    np.testing.assert_allclose(np.nanstd(z[:, :2], 0), 1, rtol=1e-5)
    np.testing.assert_array_equal(z[:, 2], 0)
    test = load("npz:a.npz#normalise=zscore&split=test").x[1:, :2]  # by the training rows
    want = (x[1:4, :2] + 1 - np.nanmean(x, 0)[:2]) / np.nanstd(x, 0)[:2]
    np.testing.assert_allclose(test, want, rtol=1e-4)
    unit = load("npz:a.npz#normalise=l2").x
    np.testing.assert_allclose(np.linalg.norm(unit[1:], axis=1), 1, rtol=1e-6)
    write(x=x[1:], y=Y[1:])
    share = x[1:] / x[1:].sum(1, keepdims=True)
    surf = load("npz:a.npz#normalise=sum-zscore").x
    np.testing.assert_allclose(surf, (share - share.mean(0)) / share.std(0), rtol=1e-3, atol=1e-4)


def test_filling_holes(write, load):
    x = np.array([[1, np.nan, np.nan], [3, 10, np.nan], [8, 30, np.nan]], np.float32)
    write(x=x, y=np.array([0, 1, 1]), x_test=x[:1] + 1, y_test=np.array([0]))
    assert np.isnan(load("npz:a.npz").x).sum() == 4
    holes = {"zero": (0, 0), "mean": (20, 0), "median": (20, 0)}
    for how, (second, third) in holes.items():
        d = load(f"npz:a.npz#fill={how}").x
        np.testing.assert_allclose(d, [[1, second, third], [3, 10, third], [8, 30, third]])
        assert d.dtype == np.float32
        test = load(f"npz:a.npz#fill={how}&split=test").x  # by the training rows
        np.testing.assert_allclose(test, [[2, second, third]])
    z = load("npz:a.npz#normalise=zscore&fill=mean").x
    np.testing.assert_allclose(z[0, 1:], 0, atol=1e-6)
    with pytest.raises(BadInput, match="fill=men"):
        load("npz:a.npz#fill=men")


def test_normalising_sparse_rows_and_graphs(write, load):
    write(**csr(CSR), y=Y, edges=EDGES)
    unit = load("npz:a.npz#normalise=l2").x.features
    np.testing.assert_allclose(unit.multiply(unit).sum(1), 1, rtol=1e-5)
    with pytest.raises(BadInput, match="would fill in a sparse matrix"):
        load("npz:a.npz#normalise=zscore")


def test_a_random_subset_keeps_the_proportions(write, load):
    y = np.repeat([0, 1, 2], [60, 30, 2])
    write(x=np.arange(92.0)[:, None], y=y)
    d = load("npz:a.npz#rows=20")
    assert np.bincount(d.y).tolist() == [13, 6, 1]
    assert (np.diff(d.x[:, 0]) > 0).all()
    np.testing.assert_array_equal(y[d.x[:, 0].astype(int)], d.y)
    np.testing.assert_array_equal(load("npz:a.npz#rows=20").x, d.x)
    assert (load("npz:a.npz#rows=20", seed=1).x != d.x).any()
    np.testing.assert_array_equal(load("npz:a.npz#rows=20&seed=0", seed=1).x, d.x)
    assert len(load("npz:a.npz#rows=500")) == 92
    assert len(load("npz:a.npz#rows=1")) == 1
    for bad in ("0", "-3", "ten", "2.5"):
        with pytest.raises(BadInput, match=f"rows={bad}, expected an integer of at least 1"):
            load(f"npz:a.npz#rows={bad}")


def test_a_subset_of_a_graph_is_its_induced_subgraph(write, load):
    write(x=X, y=Y, edges=EDGES)
    d = load("npz:a.npz#rows=6")
    assert len(d) == len(d.y) == 6
    assert d.x.relations[0].index.max(initial=0) < 6


def test_mistakes_in_the_uri(write, load):
    write(x=X, y=Y)
    with pytest.raises(BadInput, match="no option 'spilt'") as caught:
        load("npz:a.npz#spilt=test")
    assert "'split'" in caught.value.hint
    with pytest.raises(BadInput, match="split=tset is not one of train, test, all"):
        load("npz:a.npz#split=tset")
    with pytest.raises(BadInput, match=r"there is no .*b\.npz"):
        load("npz:b.npz")
