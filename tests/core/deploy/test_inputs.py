import numpy as np
import pytest
from PIL import Image
from scipy import sparse

from isthmus.deploy.inputs import read_inputs
from isthmus.deploy.manifest import read_manifest
from isthmus.deploy.predictor import Predictor
from isthmus.errors import BadInput


@pytest.fixture(scope="module")
def manifests(bundles):
    return {name: read_manifest(folder) for name, folder in bundles.items()}


def only(found):
    assert len(found) == 1
    return found[0]


def test_npz_rows_and_splits(manifests, tmp_path, rows):
    path = tmp_path / "a.npz"
    np.savez(path, x=rows, x_test=rows[:3], other=rows[:2])
    table = manifests["table"]
    found = only(read_inputs([str(path)], table))
    np.testing.assert_array_equal(found.x, rows)
    assert found.names[:2] == ["a.npz:0", "a.npz:1"]
    np.testing.assert_array_equal(only(read_inputs([f"{path}#split=test"], table)).x, rows[:3])
    np.testing.assert_array_equal(only(read_inputs([f"npz:{path}#x=other"], table)).x, rows[:2])


def test_npz_splits_by_a_mask(manifests, tmp_path, rows):
    path = tmp_path / "a.npz"
    mask = np.arange(len(rows)) % 4 != 1
    np.savez(path, x=rows, train=mask)
    found = only(read_inputs([f"{path}#split=test"], manifests["table"]))
    np.testing.assert_array_equal(found.x, rows[~mask])
    assert found.names[:2] == ["a.npz:1", "a.npz:5"]
    np.savez(path, x=rows)
    with pytest.raises(BadInput, match="no test split"):
        read_inputs([f"{path}#split=test"], manifests["table"])


def test_sparse_rows_predict_like_dense_ones(bundles, manifests, tmp_path, rows, monkeypatch):
    thin = np.where(rows > 0.5, rows, 0)
    m = sparse.csr_matrix(thin)
    path = tmp_path / "s.npz"
    arrays = {"x_data": m.data, "x_indices": m.indices, "x_indptr": m.indptr, "n_features": 5}
    np.savez(path, **arrays)
    monkeypatch.setattr("isthmus.deploy.predictor.ROWS", 7)
    served = Predictor(bundles["table"], "cpu")
    found = only(read_inputs([str(path)], manifests["table"]))
    np.testing.assert_allclose(served.predict(found.x), served.predict(thin), atol=1e-6)
    mask = np.arange(len(rows)) % 4 != 1
    np.savez(path, **arrays, train=mask)
    found = only(read_inputs([f"{path}#split=test"], manifests["table"]))
    np.testing.assert_array_equal(found.x[:], thin[~mask])
    assert len(found.x.values) < m.nnz  # the other rows are not kept
    np.savez(path, **arrays, train=mask[1:])
    with pytest.raises(BadInput, match=f"x has {len(rows)} rows, train has {len(rows) - 1}"):
        read_inputs([f"{path}#split=test"], manifests["table"])
    np.savez(path, **{**arrays, "x_indices": m.indices + 9})
    with pytest.raises(BadInput, match="not a CSR"):
        read_inputs([str(path)], manifests["table"])


def test_graphs_are_read_with_both_directions(bundles, manifests, tmp_path, rows):
    path = tmp_path / "g.npz"
    np.savez(path, x=rows, edges=np.array([[0, 1, 1], [1, 2, 0]]))
    found = only(read_inputs([str(path)], manifests["graph"]))
    assert found.x.edges().T.tolist() == [[0, 1], [1, 0], [1, 2], [2, 1]]
    assert Predictor(bundles["graph"], "cpu").predict(found.x).shape == (40, 3)
    np.savez(path, x=rows)
    with pytest.raises(BadInput, match="'edges'"):
        read_inputs([str(path)], manifests["graph"])


def test_csv_columns_by_the_width_of_the_bundle(manifests, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("id,a,b,c,d,e,y\n" + "u1,1,2,3,4,5,9\nu2,5,4,3,2,1,8\n")
    table = manifests["table"]
    with pytest.raises(BadInput, match="6 columns of numbers, expected 5") as caught:
        read_inputs([str(path)], table)
    assert "#drop=y" in caught.value.hint
    for option in ("#drop=y", "#label=y", "#drop=y,id"):
        found = only(read_inputs([f"{path}{option}"], table))
        assert found.x.tolist() == [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1]]
    assert found.names == ["t.csv:0", "t.csv:1"]
    with pytest.raises(BadInput, match="no column 'z'"):
        read_inputs([f"{path}#drop=z"], table)


def test_image_files_and_folders_are_joined_in_order(bundles, manifests, tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "shots" / "deep").mkdir(parents=True)
    places = ["one.png", "shots/b.png", "shots/deep/a.JPG"]
    for i, place in enumerate(places):
        pixels = rng.integers(0, 256, (20 + i, 30, 3)).astype(np.uint8)
        Image.fromarray(pixels if i else pixels[..., 0]).save(tmp_path / place)
    (tmp_path / "shots" / "notes.txt").write_text("not an image")
    found = only(
        read_inputs([str(tmp_path / "one.png"), str(tmp_path / "shots")], manifests["image"])
    )
    assert [name.removeprefix(f"{tmp_path}/") for name in found.names] == places
    assert found.x[1].shape == (21, 30, 3)
    assert Predictor(bundles["image"], "cpu").predict(found.x).shape == (3, 3)


def test_images_in_an_archive(manifests, tmp_path):
    np.savez(tmp_path / "i.npz", x=np.zeros((4, 9, 9), np.uint8))
    assert only(read_inputs([str(tmp_path / "i.npz")], manifests["grey"])).x.shape == (4, 9, 9, 1)


def test_files_are_sought_under_the_data_root(manifests, tmp_path, rows, monkeypatch):
    (tmp_path / "sub").mkdir()
    np.savez(tmp_path / "sub" / "a.npz", x=rows)
    monkeypatch.setenv("ISTHMUS_DATA", str(tmp_path))
    assert len(read_inputs(["sub/a.npz", "sub/a.npz"], manifests["table"])) == 2
    with pytest.raises(BadInput, match="there is no"):
        read_inputs(["sub/b.npz"], manifests["table"])


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("a.png", "table", "predicts on table data"),
        ("a.csv", "image", "predicts on image data"),
        ("a.txt", "table", "predicts on table data, got a.txt"),
        ("empty", "image", "folder without images"),
        ("a.csv#spilt=test", "table", "no option 'spilt'"),
        ("a.npz#split=dev", "table", "expected train or test"),
    ],
)
def test_wrong_files_are_refused(manifests, tmp_path, monkeypatch, name, kind, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save("a.png")
    (tmp_path / "a.csv").write_text("a\n1\n")
    (tmp_path / "a.txt").write_text("a")
    np.savez("a.npz", x=np.zeros((1, 5)))
    with pytest.raises(BadInput, match=said) as caught:
        read_inputs([name], manifests[kind])
    assert caught.value.exit == 2


def test_what_hides_in_a_folder_is_no_image(manifests, tmp_path):
    from PIL import Image

    for name in ("a.png", "._a.png", ".cache/b.png", "in/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    found = only(read_inputs([str(tmp_path)], manifests["image"]))
    assert found.names == [str(tmp_path / "a.png"), str(tmp_path / "in" / "c.png")]


def test_rows_of_files_with_one_name_are_told_apart(manifests, tmp_path, rows):
    paths = [tmp_path / name / "x.npz" for name in "ab"]
    for path in paths:
        path.parent.mkdir()
        np.savez(path, x=rows[:1])
    found = read_inputs([str(p) for p in paths], manifests["table"])
    assert [name for f in found for name in f.names] == [f"{p}:0" for p in paths]


def test_text_in_a_column_of_features_is_refused_by_name(manifests, tmp_path):
    (tmp_path / "x.csv").write_text("a,b,c,d,e\n1,x,3,4,5\n")
    manifest = {**manifests["table"], "features": [*"abcde"]}
    with pytest.raises(BadInput, match="column 'b' holds text"):
        read_inputs([str(tmp_path / "x.csv")], manifest)


@pytest.mark.parametrize("is_sparse", [False, True])
def test_both_splits_are_read_in_order_when_asked_for(manifests, tmp_path, rows, is_sparse):
    path, arrays = tmp_path / "a.npz", {"x": rows[:6], "x_test": rows[6:9]}
    if is_sparse:
        arrays = {"n_features": 5} | {
            f"{name}_{part}": getattr(sparse.csr_matrix(x), part)
            for name, x in arrays.items()
            for part in ("data", "indices", "indptr")
        }
    np.savez(path, **arrays)
    found = read_inputs([f"{path}#split=all"], manifests["table"])
    np.testing.assert_array_equal(np.concatenate([f.x[:] for f in found]), rows[:9])
    assert [n for f in found for n in f.names] == [f"a.npz:{i}" for i in range(9)]


def test_a_split_of_a_graph_is_predicted_among_all_its_nodes(manifests, tmp_path, rows):
    path, mask = tmp_path / "g.npz", np.arange(40) % 4 != 1
    np.savez(path, x=rows, edges=np.array([[0, 1], [1, 2]]), train=mask)
    found = only(read_inputs([f"{path}#split=test"], manifests["graph"]))
    assert len(found.x) == 40
    assert found.kept.tolist() == np.flatnonzero(~mask).tolist()
    assert found.names[:2] == ["g.npz:1", "g.npz:5"]


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"n_features": np.array([5])}, "table", "n_features is no whole number"),
        ({"n_features": np.array("five")}, "table", "n_features is no whole number"),
        ({"x_data": np.array(["a"])}, "table", "not a CSR"),
        ({"x_data": np.array([1j])}, "table", "not a CSR"),
        ({}, "image", "holds a sparse matrix"),
    ],
)
def test_odd_sparse_matrices_are_refused(manifests, tmp_path, change, kind, said):
    arrays = {
        "x_data": np.ones(1), "x_indices": np.zeros(1, int), "x_indptr": np.array([0, 1]),
        "n_features": 5,
    }  # fmt: skip
    np.savez(tmp_path / "s.npz", **{**arrays, **change})
    with pytest.raises(BadInput, match=said):
        read_inputs([str(tmp_path / "s.npz")], manifests[kind])
