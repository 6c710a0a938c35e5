import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse

from isthmus.deploy import predictor as module
from isthmus.deploy.predictor import Predictor
from isthmus.errors import BadInput, GateFailed
from isthmus.graph import Graph, Relation


@pytest.fixture(scope="module")
def served(bundles):
    return {name: Predictor(folder, "cpu") for name, folder in bundles.items()}


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(2)
    sizes = [(24, 20), (60, 31), (24, 20), (9, 90), (60, 31), (200, 130)]
    return [rng.integers(0, 256, (*s, 3)).astype(np.uint8) for s in sizes]


def test_rows_are_predicted_as_torch_does(served, torch_says, rows):
    got = served["table"].predict(rows)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, torch_says("table", rows), atol=1e-6)
    names = served["table"].classes
    assert served["table"].labels(rows) == [names[i] for i in got.argmax(1)]
    assert served["table"].provider == "CPUExecutionProvider"


def test_rows_come_in_any_container(served, rows):
    expected = served["table"].predict(rows)
    for x in (rows.astype(np.float64), rows.tolist(), sparse.csr_matrix(rows), {"x": rows}):
        np.testing.assert_allclose(served["table"].predict(x), expected, atol=1e-6)


def test_batches_are_bounded_and_change_nothing(served, rows, monkeypatch):
    expected, sizes = served["table"].predict(rows), []
    run = Predictor._run
    monkeypatch.setattr(Predictor, "_run", lambda s, f: sizes.append(len(f["x"])) or run(s, f))
    monkeypatch.setattr(module, "ROWS", 7)
    np.testing.assert_array_equal(served["table"].predict(rows), expected)
    assert sizes == [7, 7, 7, 7, 7, 5]


@pytest.mark.parametrize("kind", ["table", "image", "graph", "values"])
def test_no_rows_give_no_predictions(served, kind):
    none = {
        "table": np.zeros((0, 5)),
        "values": np.zeros((0, 5)),
        "image": [],
        "graph": (np.zeros((0, 5)), np.zeros((2, 0), int)),
    }[kind]
    assert served[kind].predict(none).shape == (0, 2 if kind == "values" else 3)


def test_regression_has_values_and_no_labels(served, torch_says, rows):
    got = served["values"].predict(rows)
    np.testing.assert_allclose(got, torch_says("values", rows), rtol=1e-3, atol=1e-4)
    assert served["values"].outputs == ("height", "weight")
    with pytest.raises(BadInput, match="values, not classes"):
        served["values"].labels(rows)


def test_images_of_mixed_sizes_keep_their_order(served, torch_says, photos, monkeypatch):
    monkeypatch.setattr(module, "WINDOW", 4)
    expected = np.concatenate([torch_says("image", p[None]) for p in photos])
    np.testing.assert_allclose(served["image"].predict(photos), expected, atol=2e-6)
    one_size = np.stack([photos[0], photos[2]])
    np.testing.assert_allclose(served["image"].predict(one_size), expected[[0, 2]], atol=2e-6)


def test_colours_are_converted(served, torch_says, photos):
    from PIL import Image

    grey = np.array(Image.fromarray(photos[1]).convert("L"))
    as_grey = torch_says("grey", grey[None, ..., None])
    for image in (photos[1], grey, grey[..., None]):
        np.testing.assert_allclose(served["grey"].predict([image]), as_grey, atol=2e-6)
    as_rgb = torch_says("image", np.repeat(grey[None, ..., None], 3, axis=3))
    np.testing.assert_allclose(served["image"].predict([grey]), as_rgb, atol=2e-6)


def test_graphs_as_pair_or_graph(served, torch_says, rows):
    index = np.array([[0, 1, 2, 2], [1, 2, 0, 5]])
    graph = Graph(rows, (Relation(index=index),))
    expected = torch_says("graph", rows, graph.edges())
    np.testing.assert_allclose(served["graph"].predict(graph), expected, atol=1e-6)
    pair = (sparse.csr_matrix(rows), graph.edges())
    np.testing.assert_allclose(served["graph"].predict(pair), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "x", "said"),
    [
        ("table", np.zeros((2, 4)), r"shape \(2, 4\), expected float32 \(n, 5\)"),
        ("table", np.zeros(5), "expected float32"),
        ("table", np.array(5.0), "expected float32"),
        ("table", [["a"] * 5], "dtype"),
        ("table", np.full((2, 5), None), "dtype object"),
        ("table", np.array([[1, 2, np.nan, 4, 5.0]]), r"NaN or infinity in row 0, column \[2\]"),
        ("table", np.full((1, 5), 1e300), "NaN or infinity"),
        ("image", np.zeros((2, 3, 24, 20), np.uint8), "channels first, expected uint8 .* RGB"),
        ("image", np.zeros((2, 24, 20, 3), np.float32), "dtype float32 .*expected uint8 .* RGB"),
        ("image", np.zeros((24, 20, 3), np.uint8), "list of images"),
        ("image", [np.zeros((24, 20, 4), np.uint8)], r"shape \(24, 20, 4\)"),
        ("image", [np.zeros((0, 20, 3), np.uint8)], "empty"),
        ("graph", np.zeros((2, 5)), r"\(features, edges\)"),
        ("graph", (np.zeros((2, 5)), np.array([[0], [2]])), "node 2, but there are 2"),
        ("graph", (np.zeros((2, 5)), np.array([[0], [-1]])), "node -1"),
        ("graph", (np.zeros((2, 5)), np.zeros((4, 2), int)), r"expected \(2, m\)"),
        ("graph", {"x": np.zeros((2, 5))}, r"takes the inputs \['x', 'edges'\]"),
    ],
)
def test_wrong_input_is_refused_in_a_sentence(served, kind, x, said):
    with pytest.raises(BadInput, match=said) as caught:
        served[kind].predict(x)
    assert caught.value.exit == 2


def test_the_row_of_a_hole_is_counted_over_batches(served, rows, monkeypatch):
    monkeypatch.setattr(module, "ROWS", 7)
    bad = rows.copy()
    bad[33, 4] = np.inf
    with pytest.raises(BadInput, match=r"row 33, column \[4\]"):
        served["table"].predict(bad)


def test_a_copy_in_another_process_predicts_the_same(served, rows):
    again = pickle.loads(pickle.dumps(served["table"]))
    np.testing.assert_array_equal(again.predict(rows), served["table"].predict(rows))
    assert again.provider == served["table"].provider


def test_a_changed_bundle_is_not_opened(bundles, tmp_path):
    import shutil

    copy = shutil.copytree(bundles["table"], tmp_path / "copy")
    data = bytearray((tmp_path / "copy" / "model.onnx").read_bytes())
    data[len(data) // 3] ^= 4
    (tmp_path / "copy" / "model.onnx").write_bytes(data)
    with pytest.raises(GateFailed, match=r"model\.onnx was changed"):
        Predictor(copy)


def test_nothing_heavy_is_imported(bundles):
    code = f"""
import json, sys, numpy
from isthmus.deploy.predictor import Predictor
from isthmus.deploy import inputs
p = Predictor({str(bundles["table"])!r})
p.predict(numpy.zeros((3, 5)))
heavy = ("torch", "sklearn", "scipy", "pandas", "onnx", "matplotlib")
print(json.dumps([m for m in sys.modules if m in heavy or m.startswith("isthmus_")]))
print(p.reason)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found, reason = done.stdout.splitlines()
    assert json.loads(found) == []
    assert reason
    assert done.stderr == ""


def test_edges_of_a_pair_are_followed_both_ways_and_once(served, rows):
    index = np.array([[0, 1, 2, 2, 0, 3], [1, 2, 0, 5, 1, 3]])
    graph = Graph(rows, (Relation(index=index),))
    np.testing.assert_array_equal(
        served["graph"].predict((rows, index)), served["graph"].predict(graph)
    )


def test_columns_of_a_data_frame_are_taken_by_name(bundles, rows, monkeypatch):
    class Frame:
        def __init__(self, x, columns):
            self.x, self.columns = x, columns
            self.iloc = self.shape = None

        def __getitem__(self, names):
            return Frame(self.x[:, [self.columns.index(n) for n in names]], names)

        def __array__(self, dtype=None, copy=None):
            return self.x

    served = Predictor(bundles["table"], "cpu")
    served.manifest["features"] = [*"abcde"]
    wanted = served.predict(rows)
    np.testing.assert_array_equal(served.predict(Frame(rows[:, ::-1], [*"edcba"])), wanted)
    with pytest.raises(BadInput, match="no column 'e'"):
        served.predict(Frame(rows[:, :4], [*"abcd"]))
