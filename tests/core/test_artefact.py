"""Artefacts come back as they were, and anything edited, cut short or strange is refused."""

from __future__ import annotations

import errno
import hashlib
import json
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from isthmus import BadInput, Graph, PluginError, Run, Schema
from isthmus.artefact import Part, TorchAdapted, load
from isthmus.atomic import write_atomically
from isthmus.errors import ProviderUnavailable
from isthmus.learners import GCN, MLP, LeNet, Linear, NearestNeighbours, RawPixels
from isthmus.learners.embedded import EmbeddedPart
from isthmus.learners.linear import LinearPart
from isthmus.learners.mapped import Map, mapped
from isthmus.learners.network import Network
from isthmus.tensors import as_tensor, device_of
from isthmus.testing.domains import MAKERS

TABLE, HELDOUT = MAKERS["table"](0)
IMAGES, _ = MAKERS["image"](0)
GRAPHS, _ = MAKERS["graph"](0)


def fitted(learner, task=TABLE):
    return learner.fit(task.source.x, task.source.y, None, task.schema, Run())


def network(task, architecture, accepts=0):
    torch.manual_seed(0)
    net = Network(task.schema, architecture, accepts=accepts, pretrained=True)
    return TorchAdapted(part=net, schema=task.schema)


def on_raw_pixels():
    torch.manual_seed(0)
    net = Network(IMAGES.schema, RawPixels(), accepts=1, pretrained=True)
    head = LinearPart.of(np.random.default_rng(0).normal(size=(64, 3)), np.zeros(3), True)
    return TorchAdapted(part=EmbeddedPart(net, head), schema=IMAGES.schema)


def mapped_linear():
    adapted, rng = fitted(Linear()), np.random.default_rng(0)
    return mapped(
        adapted,
        target=Map(shift=rng.normal(size=6), scale=np.ones(6), matrix=rng.normal(size=(6, 6))),
    )


def values():
    task, _ = MAKERS["table:values"](0)
    return fitted(Linear(), task)


CASES = {
    "linear": (lambda: fitted(Linear()), TABLE),
    "values": (values, MAKERS["table:values"](0)[0]),
    "neighbours": (lambda: fitted(NearestNeighbours(k=3)), TABLE),
    "mapped": (mapped_linear, TABLE),
    "mapped neighbours": (
        lambda: mapped(fitted(NearestNeighbours()), target=Map(shift=np.ones(6), scale=np.ones(6))),
        TABLE,
    ),
    "embedded": (on_raw_pixels, IMAGES),
    "network on a table": (lambda: network(TABLE, MLP(dropout=0.1)), TABLE),
    "network on images": (lambda: network(IMAGES, LeNet()), IMAGES),
    "network on a graph": (lambda: network(GRAPHS, GCN()), GRAPHS),
}


@pytest.fixture(params=list(CASES))
def case(request):
    make, task = CASES[request.param]
    return make(), task


@pytest.fixture
def folder(tmp_path):
    fitted(Linear()).save(tmp_path / "out", {"seed": 3})
    return tmp_path / "out"


def test_an_artefact_comes_back(case, tmp_path):
    adapted, task = case
    adapted = replace(adapted, diagnostics={"rows": 3, "notes": ["a"]})
    adapted.save(tmp_path / "deep" / "er", {"seed": 3})
    state = torch.get_rng_state()
    again, record = load(tmp_path / "deep" / "er")
    assert torch.equal(torch.get_rng_state(), state)
    assert (record, again.diagnostics) == ({"seed": 3}, {"rows": 3, "notes": ["a"]})
    assert again.schema == task.schema
    assert sorted(p.name for p in (tmp_path / "deep/er").iterdir()) == [
        "adapted.json",
        "weights.safetensors",
    ]
    expected = adapted.predict(task.target.x)
    np.testing.assert_array_equal(again.predict(task.target.x), expected)
    assert expected.dtype == np.float32
    assert not again.part.training


def test_observing_gives_the_predictions_and_what_the_last_layer_reads(case):
    adapted, task = case
    features, predictions = adapted.observe(task.target.x)
    np.testing.assert_array_equal(predictions, adapted.predict(task.target.x))
    assert features.shape[0] == len(task.target)
    assert features.ndim == 2
    head = getattr(adapted.part, "head", adapted.part)
    if isinstance(head, torch.nn.Linear):
        z = adapted.part.predict(head(torch.from_numpy(features))).detach().numpy()
        np.testing.assert_allclose(z, predictions, atol=1e-5)
    elif isinstance(head, Part):
        z = head(torch.from_numpy(features)).detach()
        np.testing.assert_allclose(z, predictions, atol=1e-5)


def test_a_map_of_the_source_is_used_for_the_source_and_known_to_be_lost(tmp_path):
    head, x = fitted(Linear()), TABLE.source.x
    two = mapped(
        head,
        target=Map(shift=np.zeros(6), scale=np.ones(6)),
        source=Map(shift=np.ones(6), scale=np.ones(6)),
    )
    np.testing.assert_allclose(two.for_source().predict(x + 1), head.predict(x), atol=1e-6)
    np.testing.assert_allclose(two.predict(x), head.predict(x), atol=1e-6)
    assert head.for_source() is head
    two.save(tmp_path / "out")
    with pytest.raises(BadInput, match="not saved"):
        load(tmp_path / "out")[0].for_source()


def test_predicting_no_rows_gives_no_rows(case):
    adapted, task = case
    x = task.target.x[np.zeros(0, int)]
    assert adapted.predict(x).shape == (0, task.schema.width)


def test_chunks_change_nothing(case, monkeypatch):
    adapted, task = case
    whole = adapted.predict(task.target.x)
    monkeypatch.setattr("isthmus.artefact._VALUES_PER_CHUNK", 700)
    np.testing.assert_allclose(adapted.predict(task.target.x), whole, atol=1e-6)


def test_chunks_bound_what_a_wide_part_makes_of_a_row():
    part = LinearPart(2, 100_000, False)
    seen = []
    part.register_forward_hook(lambda m, args, out: seen.append(out.numel()))
    schema = Schema(kind="table", shape=(2,), outputs=tuple(map(str, range(100_000))))
    TorchAdapted(part=part, schema=schema).predict(np.zeros((300, 2), np.float32))
    assert max(seen) <= 2**23


def test_sparse_node_features_predict_as_dense_ones_and_stay_sparse():
    adapted, graph = network(GRAPHS, GCN()), GRAPHS.target.x
    words = np.where(graph.features > 0, graph.features, 0)
    layouts = []
    adapted.part.register_forward_hook(lambda m, args, out: layouts.append(args[0].layout))
    thin = adapted.predict(Graph(sparse.csr_matrix(words), graph.relations))
    np.testing.assert_allclose(thin, adapted.predict(Graph(words, graph.relations)), atol=1e-6)
    assert layouts == [torch.sparse_csr, torch.strided]


def test_chunks_leave_nothing_between_them(monkeypatch):
    """Small outputs kept among large ones that were freed: memory grew with the chunks."""
    monkeypatch.setattr("isthmus.artefact._VALUES_PER_CHUNK", 100)
    seen, alive = [], []

    class Watched(TorchAdapted):
        def _pass(self, *given):
            alive.append(sum(earlier() is not None for earlier in seen))
            outs = super()._pass(*given)
            seen.extend(map(weakref.ref, outs))
            return outs

    schema = Schema(kind="table", shape=(2,), outputs=("a", "b", "c"))
    Watched(part=LinearPart(2, 3, False), schema=schema).predict(np.zeros((300, 2), np.float32))
    assert len(alive) > 5
    assert max(alive) <= 1


def test_read_only_and_double_rows_are_read(tmp_path):
    adapted, x = fitted(Linear()), HELDOUT.x.astype(np.float64)
    expected = adapted.predict(HELDOUT.x)
    np.save(tmp_path / "x.npy", HELDOUT.x)
    np.testing.assert_allclose(adapted.predict(x), expected, atol=1e-6)
    mapped_file = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_array_equal(adapted.predict(mapped_file), expected)
    tensor = as_tensor(mapped_file)
    tensor += 1  # a copy: the file could not be written


def one_byte(path: Path, at: int):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def edit(path: Path, change):
    body = json.loads(path.read_text())
    change(body)
    path.write_text(json.dumps(body))


def forge(path: Path, change):
    """Edit and repair the checksum, as another version of us would have written it."""
    body = json.loads(path.read_text())
    del body["sha256"]
    change(body)
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps({**body, "sha256": digest}))


FAULTS = {
    "weights edited": (lambda f: one_byte(f / "weights.safetensors", -1), "checksum"),
    "weights header edited": (lambda f: one_byte(f / "weights.safetensors", 12), "checksum"),
    "weights cut": (
        lambda f: (f / "weights.safetensors").write_bytes(
            (f / "weights.safetensors").read_bytes()[:-9]
        ),
        "checksum",
    ),
    "weights missing": (lambda f: (f / "weights.safetensors").unlink(), "cannot read"),
    "class renamed": (
        lambda f: edit(f / "adapted.json", lambda b: b["schema"].update(classes=["x", "y", "z"])),
        "was edited",
    ),
    "record edited": (
        lambda f: edit(f / "adapted.json", lambda b: b["record"].update(seed=4)),
        "was edited",
    ),
    "no checksum": (lambda f: edit(f / "adapted.json", lambda b: b.pop("sha256")), "not ours"),
    "json cut": (
        lambda f: (f / "adapted.json").write_text((f / "adapted.json").read_text()[:-20]),
        "truncated",
    ),
    "json empty": (lambda f: (f / "adapted.json").write_text(""), "truncated"),
    "json is a list": (lambda f: (f / "adapted.json").write_text("[1]"), "truncated"),
    "json is not text": (lambda f: (f / "adapted.json").write_bytes(b"\xff\xfe\x00"), "truncated"),
    "json is a tower": (lambda f: (f / "adapted.json").write_text("[" * 99999), "truncated"),
    "json missing": (lambda f: (f / "adapted.json").unlink(), "holds no adapted model"),
    "other format": (
        lambda f: edit(f / "adapted.json", lambda b: b.update(format=2)),
        "has format 2, this version reads 1",
    ),
    "extra file": (lambda f: (f / "evil.pkl").write_text(""), "'evil.pkl'"),
    "foreign class": (
        lambda f: forge(f / "adapted.json", lambda b: b.update(part="os:system")),
        "belongs to no installed plugin",
    ),
    "class that is no part": (
        lambda f: forge(f / "adapted.json", lambda b: b.update(part="isthmus.graph:Graph")),
        "is not a Part",
    ),
    "settings of another version": (
        lambda f: forge(f / "adapted.json", lambda b: b["settings"].update(new=1)),
        "does not fit",
    ),
    "other width": (
        lambda f: forge(f / "adapted.json", lambda b: b["settings"].update(width=9)),
        "does not fit",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_in_one_sentence(folder, fault):
    harm, message = FAULTS[fault]
    harm(folder)
    with pytest.raises(BadInput, match=message) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_hidden_files_are_nobodys_business(folder):
    (folder / ".DS_Store").write_text("")
    assert load(folder)[1] == {"seed": 3}


@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_full_disk_loses_nothing(folder, monkeypatch, call, fails_at):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    calls = 0

    def full(*args):
        nonlocal calls
        calls += 1
        if calls == fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")

    if call == "fsync":
        monkeypatch.setattr("isthmus.atomic.os.fsync", full)
    else:
        opened = Path.open

        def filling(path, *args, **given):
            full()
            return opened(path, *args, **given)

        monkeypatch.setattr(Path, "open", filling)
    with pytest.raises(BadInput, match="No space left on device"):
        fitted(NearestNeighbours()).save(folder)
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    load(folder)


def test_a_file_is_replaced_whole(tmp_path, monkeypatch):
    path = tmp_path / "new" / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr(Path, "replace", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new and longer")
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_diagnostics_are_plain_json(tmp_path):
    found = {"a": np.float32(0.5), "b": np.arange(2), "c": float("nan"), "d": (1, None)}
    replace(fitted(Linear()), diagnostics=found).save(tmp_path)
    assert load(tmp_path)[0].diagnostics == {"a": 0.5, "b": [0, 1], "c": None, "d": [1, None]}


def test_diagnostics_that_are_not_json_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(PluginError, match="must be JSON values, got object"):
        replace(fitted(Linear()), diagnostics={"a": object()}).save(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["tpu", "", "cuda:x", "cuda:", "cpu:0", "cuda:-1", "CUDA"])
def test_unknown_devices_are_refused(name, folder):
    with pytest.raises(BadInput, match="expected cpu, cuda or cuda:N"):
        load(folder, name)


def test_an_absent_gpu_is_told():
    absent = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(ProviderUnavailable, match="torch sees"):
        device_of(absent)


def test_a_part_without_tensors_predicts_on_the_cpu():
    class Half(Part):
        def forward(self, x):
            return x.softmax(1)

        settings = build = example = None

    adapted = TorchAdapted(part=Half(), schema=TABLE.schema)
    assert adapted.device == torch.device("cpu")
    assert adapted.predict(HELDOUT.x).shape == (len(HELDOUT), 6)
    assert isinstance(adapted.part, nn.Module)
