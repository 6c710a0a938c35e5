from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from isthmus.deploy import export as export_module
from isthmus.deploy.export import OnnxGraph, export
from isthmus.deploy.parity import check_parity
from isthmus.errors import BadInput, GateFailed, NotExportable


def linear(**changes):
    given = {
        "module": nn.Sequential(nn.Linear(5, 3), nn.Softmax(1)),
        "inputs": {"x": torch.zeros(2, 5)},
        "dynamic": {"x": {0: "n"}},
    }
    return OnnxGraph(**{**given, **changes})


@pytest.fixture(scope="module")
def model(artefacts, tmp_path_factory):
    """The table model, and what was measured and printed when it was written."""
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    parity = export(artefacts["table"].graph, path, metadata={"isthmus.note": "kept"})
    return path, parity


def corrupt(path):
    proto = onnx.load(path)
    weights = next(t for t in proto.graph.initializer if len(t.dims) == 2)
    values = onnx.numpy_helper.to_array(weights).copy()
    values[0, 0] += 3
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    onnx.save(proto, path)


def test_parity_says_what_was_compared(model):
    _, parity = model
    assert parity.batches == (0, 1, 2, 17, 256)
    assert parity.label_agreement == 1.0
    assert parity.max_abs_diff < 1e-6


def test_regression_has_no_label_agreement(artefacts, tmp_path):
    parity = export(artefacts["values"].graph, tmp_path / "m.onnx", batches=(0, 3))
    assert parity.label_agreement is None
    assert parity.max_abs_diff < 1e-3


def test_rows_are_dynamic_and_opset_is_18(model):
    proto = onnx.load(model[0])
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", 18)]
    for value in (*proto.graph.input, *proto.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "n"


def test_nothing_of_this_machine_is_in_the_file(model):
    data = model[0].read_bytes()
    for place in (Path.home(), Path.cwd(), Path(__file__).parents[3]):
        assert f"{place}/".encode() not in data
    proto = onnx.load(model[0])
    assert [p.key for p in proto.metadata_props] == ["isthmus.note"]
    nodes = [*proto.graph.node, *(n for f in proto.functions for n in f.node)]
    assert nodes
    assert not any(n.metadata_props or n.doc_string for n in nodes)
    assert not proto.graph.metadata_props


def test_a_path_left_in_the_file_is_refused(artefacts, tmp_path):
    path = tmp_path / "m.onnx"
    with pytest.raises(GateFailed, match="path of a folder"):
        export(artefacts["table"].graph, path, metadata={"made": f"{Path.home()}/x.py"})
    assert not path.exists()


def test_the_callers_module_is_left_as_it_was(artefacts, model):
    module = artefacts["table"].graph.module
    assert module.training
    assert all(p.requires_grad for p in module.parameters())


def test_export_prints_nothing(tmp_path, capfd):
    class Undecided(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    export(linear(), tmp_path / "good.onnx", batches=(1,))
    with pytest.raises(NotExportable):
        export(linear(module=Undecided()), tmp_path / "bad.onnx")
    assert capfd.readouterr() == ("", "")


def test_failures_of_the_exporter_are_one_sentence(tmp_path):
    class Undecided(nn.Module):
        def forward(self, x):
            if x.sum() > 0:
                return x
            return -x

    class Unknown(nn.Module):
        def forward(self, x):
            return x @ torch.linalg.eigh(x.T @ x)[1]

    for module, said in (
        (Undecided(), r"test_export\.py:\d+: if x\.sum\(\) > 0"),
        (Unknown(), "eigh"),
    ):
        with pytest.raises(NotExportable, match=said) as caught:
            export(linear(module=module), tmp_path / "m.onnx")
        assert caught.value.exit == 3
        assert caught.value.hint
        assert "\n" not in str(caught.value)
        assert list(tmp_path.iterdir()) == []


def test_a_frozen_batch_is_refused(tmp_path):
    class Frozen(nn.Module):
        def forward(self, x):
            return x + torch.ones(2, 5) * x.shape[0]

    with pytest.raises(NotExportable, match="must vary"):
        export(linear(module=Frozen()), tmp_path / "m.onnx")


def test_an_output_without_rows_is_refused(tmp_path):
    class Mean(nn.Module):
        def forward(self, x):
            return x.mean(0, keepdim=True)

    with pytest.raises(NotExportable, match="does not grow with the rows"):
        export(linear(module=Mean()), tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("dynamic", "said"),
    [
        ({"x": {2: "n"}}, "2 axes"),
        ({"z": {0: "n"}}, "no input"),
        ({"x": {0: "batch"}}, "named 'n'"),
        ({}, "named 'n'"),
    ],
)
def test_axes_are_checked(dynamic, said):
    with pytest.raises(NotExportable, match=said):
        linear(dynamic=dynamic)


def test_a_corrupted_weight_fails_the_gate(artefacts, tmp_path):
    path = tmp_path / "m.onnx"
    export(artefacts["table"].graph, path, batches=(2,))
    corrupt(path)
    with pytest.raises(GateFailed, match=r"differs from torch by .* labels differ") as caught:
        check_parity(artefacts["table"].graph, path)
    assert caught.value.exit == 3
    assert not path.exists()


def test_real_rows_reach_the_gate(artefacts, tmp_path, rows):
    """Only rows far from the origin see this fault."""

    class Clipped(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x.clamp(-9, 9))

    graph = artefacts["table"].graph
    path = tmp_path / "m.onnx"
    export(replace(graph, module=Clipped(graph.module)), path, batches=(2,))
    check_parity(graph, path)
    with pytest.raises(GateFailed):
        check_parity(graph, path, sample={"x": rows * 30})


def test_a_sample_of_another_shape_is_refused(artefacts, tmp_path, rows):
    with pytest.raises(BadInput, match="shape"):
        export(artefacts["table"].graph, tmp_path / "m.onnx", sample={"x": rows[:, :2]})
    with pytest.raises(BadInput, match="inputs are"):
        export(artefacts["table"].graph, tmp_path / "n.onnx", sample={"y": rows})


def test_large_weights_lie_beside_the_model(artefacts, tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "LARGEST_INLINE", 10)
    graph = linear(module=nn.Sequential(nn.Linear(5, 300), nn.Linear(300, 3), nn.Softmax(1)))
    export(graph, tmp_path / "m.onnx", batches=(3,))
    assert {p.name for p in tmp_path.iterdir()} == {"m.onnx", "m.onnx.data"}


@pytest.mark.parametrize(
    "shape",
    [(1, 24, 20), (2, 90, 70), (3, 200, 130), (2, 7, 9), (1, 1, 1), (2, 12, 60), (5, 23, 21)],
)
def test_images_of_any_size_are_resized_as_torch_does(bundles, torch_says, shape):
    """Up and down, antialiased: the largest difference seen is 3e-7."""
    images = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    session = onnxruntime.InferenceSession(
        bundles["image"] / "model.onnx", providers=["CPUExecutionProvider"]
    )
    got = session.run(None, {"image": images})[0]
    np.testing.assert_allclose(got, torch_says("image", images), atol=2e-6)


def test_probes_of_a_graph_cover_the_hard_cases(artefacts):
    from isthmus.deploy.probes import probes

    seen = [i["edges"] for n, i in probes(artefacts["graph"].graph, (17,), None) if n == 17]
    assert any(e.shape[1] == 0 for e in seen)
    assert any(len(np.unique(e[1])) < e.shape[1] for e in seen)
    assert any(e.size and e.max() < 16 for e in seen)
