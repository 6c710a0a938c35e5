import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from scipy import sparse

from isthmus.deploy import bundle, export
from isthmus.deploy.bundle import read_manifest, write_bundle
from isthmus.deploy.manifest import loading
from isthmus.errors import BadInput, GateFailed, NotExportable
from isthmus.graph import Graph, Relation

KINDS = ["table", "values", "image", "grey", "graph"]


@pytest.fixture
def copy(bundles, tmp_path):
    return Path(shutil.copytree(bundles["table"], tmp_path / "copy"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_golden_sample_reproduces(bundles, kind):
    folder = bundles[kind]
    inputs, expected = np.load(folder / "golden_input.npz"), np.load(folder / "golden_output.npz")
    session = onnxruntime.InferenceSession(
        folder / "model.onnx", providers=["CPUExecutionProvider"]
    )
    got = session.run(None, dict(inputs))
    for name, value in zip(expected.files, got, strict=True):
        assert len(value) == 16
        np.testing.assert_allclose(value, expected[name], atol=1e-4, rtol=1e-3)


def test_the_manifest_describes_the_model(bundles):
    m = read_manifest(bundles["image"])
    assert m["inputs"][0]["dims"] == ["n", "height", "width", 3]
    assert m["inputs"][0]["dtype"] == "uint8"
    assert "RGB" in m["inputs"][0]["meaning"]
    assert m["outputs"][0]["dims"] == ["n", 3]
    assert m["classes"] == ["ant", "bee", "cat"]
    assert m["opset"] == 18
    assert m["preprocessing"]["resize"]["to"] == [24, 20]
    assert m["record"]["seed"] == 3
    assert m["record"]["versions"]["torch"]
    assert m["parity"]["label_agreement"] == 1.0
    assert m["diagnostics"] == {"gap": 0.25, "bad": None}
    assert read_manifest(bundles["values"])["output_names"] == ["height", "weight"]


def test_no_folder_of_this_machine_is_written(bundles):
    for folder in bundles.values():
        for file in folder.iterdir():
            data = file.read_bytes()
            assert b"/data/private" not in data
            assert f"{Path.home()}/".encode() not in data
            assert str(folder).encode() not in data
    assert read_manifest(bundles["table"])["record"]["sources"] == ["npz:usps.npz#split=train"]


def test_the_model_card_has_a_head_and_code_that_runs(bundles, monkeypatch, capsys):
    for kind, folder in bundles.items():
        text = (folder / "README.md").read_text()
        assert text.startswith("---\nlibrary_name: onnx\n")
        code = text.split("```python\n")[1].split("```")[0]
        assert len(code.strip().splitlines()) <= 6
        monkeypatch.chdir(folder)
        code = code.replace('"CUDAExecutionProvider", ', "")  # it would complain to stderr
        exec(compile(code, f"{kind}/README.md", "exec"), {})
    assert "'ant'" in capsys.readouterr().out


def test_a_failed_gate_leaves_nothing(artefacts, tmp_path, monkeypatch):
    written = export._clean

    def corrupting(graph, path, metadata):
        written(graph, path, metadata)
        proto = onnx.load(path)
        weights = next(t for t in proto.graph.initializer if len(t.dims) == 2)
        values = onnx.numpy_helper.to_array(weights).copy()
        values[1, 2] -= 4
        weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
        onnx.save(proto, path)

    monkeypatch.setattr(export, "_clean", corrupting)
    with pytest.raises(GateFailed, match="differs from torch") as caught:
        write_bundle(artefacts["table"], tmp_path / "out", record={})
    assert caught.value.exit == 3
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_kept(artefacts, copy, tmp_path, monkeypatch):
    before = read_manifest(copy)
    with pytest.raises(BadInput, match="exists") as caught:
        write_bundle(artefacts["table"], copy, record={})
    assert "--overwrite" in caught.value.hint
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(BadInput, match="no bundle"):
        write_bundle(artefacts["table"], tmp_path / "thesis", record={}, overwrite=True)
    assert (tmp_path / "thesis" / "chapter.tex").exists()

    def no(*args, **kwargs):
        raise GateFailed("no")

    with monkeypatch.context() as patch:
        patch.setattr(bundle, "export", no)
        with pytest.raises(GateFailed):
            write_bundle(artefacts["table"], copy, record={}, overwrite=True)
    assert read_manifest(copy) == before
    new = write_bundle(artefacts["table"], copy, record={"seed": 9}, overwrite=True)
    assert read_manifest(copy) == new
    assert new["record"]["seed"] == 9
    assert new["golden"] == "random"
    assert {p.name for p in tmp_path.iterdir()} == {"thesis", "copy"}


def test_equal_exports_have_equal_bytes(artefacts, bundles, rows, tmp_path):
    from_before = read_manifest(bundles["table"])
    record = {**from_before["record"], "sources": ["npz:usps.npz#split=train"]}
    again = write_bundle(artefacts["table"], tmp_path / "again", record=record, sample=rows)
    assert again["sha256"] == from_before["sha256"]


def test_samples_of_every_form_are_taken(artefacts, rows):
    def inputs(kind, x):
        graph = artefacts[kind].graph
        return bundle.conform(graph, bundle._as_inputs(graph, x))

    assert inputs("table", sparse.csr_matrix(rows))["x"].shape == (40, 5)
    assert inputs("table", {"x": rows})["x"].shape == (40, 5)
    images = np.full((70, 9, 9, 1), 7.4, np.float32)
    assert inputs("image", images)["image"].shape == (64, 9, 9, 3)
    graph = Graph(
        np.zeros((100, 5)), (Relation(index=np.stack([np.arange(99), np.arange(1, 100)])),)
    )
    found = inputs("graph", graph)
    assert found["x"].shape == (64, 5)
    assert found["edges"].size
    assert found["edges"].max() < 64


def test_an_artefact_without_outputs_or_onnx_says_so(artefacts, tmp_path):
    class No:
        schema = artefacts["table"].schema
        diagnostics = {}

        def onnx(self):
            raise NotExportable("it has no form")

    with pytest.raises(NotExportable):
        write_bundle(No(), tmp_path / "out", record={})
    assert list(tmp_path.iterdir()) == []


def test_one_flipped_bit_is_caught_in_any_file(bundles, copy):
    for file in sorted(copy.iterdir()):
        good = file.read_bytes()
        for place in (0, len(good) // 2, len(good) - 2):
            bad = bytearray(good)
            bad[place] ^= 1
            file.write_bytes(bad)
            with pytest.raises(GateFailed, match=file.name) as caught:
                read_manifest(copy)
            assert caught.value.exit == 3
        file.write_bytes(good)
    read_manifest(copy)


def test_missing_extra_truncated_and_linked_files_are_named(copy, tmp_path):
    (copy / "labels.txt").rename(tmp_path / "labels.txt")
    with pytest.raises(GateFailed, match=r"labels\.txt is missing"):
        read_manifest(copy)
    (copy / "labels.txt").symlink_to(tmp_path / "labels.txt")
    with pytest.raises(GateFailed, match=r"labels\.txt is a link"):
        read_manifest(copy)
    (copy / "labels.txt").unlink()
    (tmp_path / "labels.txt").rename(copy / "labels.txt")
    (copy / "extra.py").write_text("import this")
    with pytest.raises(GateFailed, match=r"extra\.py"):
        read_manifest(copy)
    (copy / "extra.py").unlink()
    text = (copy / "manifest.json").read_text()
    (copy / "manifest.json").write_text(text[: len(text) // 2])
    with pytest.raises(GateFailed, match=r"manifest\.json is truncated"):
        read_manifest(copy)
    (copy / "manifest.json").unlink()
    with pytest.raises(GateFailed, match=r"manifest\.json"):
        read_manifest(copy)
    with pytest.raises(BadInput, match="no bundle"):
        read_manifest(tmp_path)


def _reseal(folder):
    body = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").unlink()
    for key in ("format", "files", "sha256"):
        del body[key]
    bundle.manifests.seal(folder, body)


def _forge(folder, location):
    """Point a weight outside the model and make the manifest agree with the new bytes."""
    proto = onnx.load(folder / "model.onnx")
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    onnx.save(proto, folder / "model.onnx")
    _reseal(folder)


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "weights.data"])
def test_external_weights_not_in_the_manifest_are_refused(copy, location):
    _forge(copy, location)
    with pytest.raises(GateFailed, match=location):
        read_manifest(copy)


def test_external_weights_that_are_hard_links_are_refused(copy, tmp_path):
    (tmp_path / "elsewhere").write_bytes(bytes(1000))
    os.link(tmp_path / "elsewhere", copy / "weights.data")
    _forge(copy, "weights.data")
    with pytest.raises(GateFailed, match="hard link"):
        read_manifest(copy)


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_a_truncated_model_is_refused_even_when_listed(copy, keep):
    data = (copy / "model.onnx").read_bytes()
    (copy / "model.onnx").write_bytes(data[:keep])
    _reseal(copy)
    with pytest.raises(GateFailed, match=r"model\.onnx is (empty|not a whole)"):
        read_manifest(copy)


def test_folders_are_taken_out_of_a_record():
    from isthmus.deploy.manifest import portable

    assert portable("npz:/home/a b/x.npz#y=1") != "npz:/home/a b/x.npz#y=1"
    assert portable("images:~/data/cats/") == "images:"
    assert portable(r"C:\Users\me\x.csv") == "x.csv"
    for kept in ("https://arxiv.org/abs/1", "digits:rotated", "a/b.npz", "x -> y", "1/2"):
        assert portable(kept) == kept
    assert portable({"a": (np.int64(3), Path("/x/y.z"))}) == {"a": [3, "y.z"]}


def test_a_folder_of_others_with_a_manifest_is_not_overwritten(artefacts, tmp_path):
    app = tmp_path / "app"
    (app / "src").mkdir(parents=True)
    for text in ('{"name": "My web app"}', '{"files": {}}', "[]"):
        (app / "manifest.json").write_text(text)
        (app / "src" / "code.js").write_text("precious")
        with pytest.raises(BadInput, match="is no bundle"):
            write_bundle(artefacts["table"], app, record={}, overwrite=True)
        assert (app / "src" / "code.js").exists()


def test_a_sample_with_holes_is_refused_before_anything_is_checked(artefacts, rows, tmp_path):
    hole = rows.copy()
    hole[3, 2] = np.nan
    with pytest.raises(BadInput, match="sample 'x' holds NaN"):
        write_bundle(artefacts["table"], tmp_path / "b", record={}, sample=hole[:5])
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        ("npz:a.npz#normalise=zscore&split=train", {"normalise": "zscore"}),
        ("npz:a.npz#normalise=none&as=graph", {}),
        ("npz:a.npz#as=table&fill=mean", {"fill": "mean", "as": "table"}),
        ("text:a.csv#column=t&model=foo", {"model": "foo"}),
        ("text:a.csv#column=t", {"model": "its default"}),
        ("last year's customers", {}),
        (None, {}),
    ],
)
def test_what_a_loader_did_to_the_target_is_known(target, wanted):
    assert loading({"target": target}) == wanted


def test_graphs_say_what_their_loader_did_too(artefacts, tmp_path):
    record = {"target": "npz:g.npz#normalise=zscore"}
    manifest = write_bundle(artefacts["graph"], tmp_path / "b", record=record)
    assert manifest["loading"] == {"normalise": "zscore"}
    assert "normalise=zscore" in (tmp_path / "b" / "README.md").read_text()
