"""A folder that can be deployed: the model, what it says of itself, and a sample to check it by."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from isthmus import rows
from isthmus.deploy import manifest as manifests
from isthmus.deploy.arrays import recolour
from isthmus.deploy.card import card
from isthmus.deploy.export import OnnxGraph, export, on_cpu
from isthmus.deploy.manifest import MODEL, portable
from isthmus.deploy.manifest import read_manifest as read_manifest
from isthmus.deploy.parity import run_torch
from isthmus.deploy.probes import conform, probes
from isthmus.errors import BadInput, NotExportable
from isthmus.graph import Graph

if TYPE_CHECKING:
    from isthmus.domain import Schema

GOLDEN = 16  # rows of the golden sample
SAMPLED = 64  # real rows that the parity gate starts from
PACKAGES = ("isthmus", "torch", "onnx", "onnxscript", "numpy")


class Exportable(Protocol):
    """What ``write_bundle`` reads of an artefact; ``TorchAdapted`` is one."""

    @property
    def schema(self) -> Schema: ...
    @property
    def diagnostics(self) -> Mapping[str, Any]: ...
    def onnx(self) -> OnnxGraph: ...


def write_bundle(
    adapted: Exportable,
    folder: Path,
    *,
    record: Mapping[str, Any],
    sample: Any = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Export, check and write a bundle; return its manifest.

    ``record`` holds JSON values that say how the artefact was made (strategy, sources, target,
    seed, versions, fingerprint). ``sample`` holds instances of the target as ``predict`` takes
    them, or a mapping of input names to arrays; up to 16 of them travel in the bundle. Without it
    the checks use random rows. Nothing is written under ``folder`` until every check has passed.
    Raises NotExportable, GateFailed, or BadInput when the folder exists.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 (resolve would follow a link)
    if folder.is_symlink() or folder.exists():
        _refuse(folder, overwrite)
    graph = adapted.onnx()
    real = None if sample is None else conform(graph, _as_inputs(graph, sample))
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
    except OSError as error:
        raise BadInput(f"cannot write {folder}: {error.strerror}") from error
    try:
        manifest = _fill(beside, adapted, graph, record, real)
        _move(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return manifest


def _refuse(folder: Path, overwrite: bool) -> None:
    if not overwrite:
        raise BadInput(f"{folder} exists", hint="choose another folder, or pass --overwrite")
    empty = folder.is_dir() and not any(folder.iterdir())
    if folder.is_symlink() or not (empty or manifests.is_bundle(folder)):
        raise BadInput(f"{folder} is no bundle, so it is not overwritten")


def _fill(
    folder: Path,
    adapted: Exportable,
    graph: OnnxGraph,
    record: Mapping[str, Any],
    real: dict[str, NDArray[Any]] | None,
) -> dict[str, Any]:
    schema = adapted.schema
    names = schema.classes or schema.outputs
    if not names:
        raise NotExportable("the artefact names neither classes nor outputs")
    about: dict[str, Any] = {"classes": schema.classes, "output_names": schema.outputs}
    about = {k: list(v) for k, v in {**about, "features": schema.features}.items()}
    about = {**about, "preprocessing": portable(graph.preprocessing)}
    metadata = {f"isthmus.{key}": json.dumps(value) for key, value in about.items()}
    parity = export(graph, folder / MODEL, sample=real, metadata=metadata)
    inputs = _golden(graph, real)
    outputs = run_torch(on_cpu(graph.module), inputs, folder / MODEL, GOLDEN)
    _write_npz(folder / "golden_input.npz", inputs)
    _write_npz(folder / "golden_output.npz", dict(zip(graph.outputs, outputs, strict=True)))
    lines = [" ".join(name.split()) for name in names]
    (folder / "labels.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tolerance = {"atol": graph.atol + graph.leap, "rtol": graph.rtol}
    body = {
        "kind": schema.kind,
        **_signature(folder / MODEL, schema),
        **about,
        "loading": manifests.loading(record) if schema.kind in ("table", "graph") else {},
        "precision": "fp32",
        "record": {"versions": _versions(), **portable(record)},
        "parity": {**dataclasses.asdict(parity), "batches": list(parity.batches), **tolerance},
        "golden": "random" if real is None else "target",
        "diagnostics": portable(adapted.diagnostics),
    }
    (folder / "README.md").write_text(card(body), encoding="utf-8")
    return manifests.seal(folder, body)


def _as_inputs(graph: OnnxGraph, x: Any) -> Mapping[str, Any]:
    """Name the inputs of the graph and take a few instances, spread evenly over the domain."""
    if isinstance(x, Mapping):
        return x
    first = next(iter(graph.inputs))
    x = getattr(x, "raw", x)  # images as they are before resizing
    n = rows.count(x)
    chosen = np.unique(np.linspace(0, max(n - 1, 0), min(n, SAMPLED)).astype(np.int64))
    part = x[chosen]
    if isinstance(part, Graph):
        return {first: rows.dense(part.features), "edges": part.edges()}
    if rows.is_sparse(part):
        part = rows.dense(part)
    part = np.asarray(part)
    if part.ndim == 4:
        part = recolour(part.round().clip(0, 255).astype(np.uint8), graph.inputs[first].shape[3])
    return {first: part}


def _golden(graph: OnnxGraph, real: dict[str, NDArray[Any]] | None) -> dict[str, NDArray[Any]]:
    if real is None:
        return [inputs for _, inputs in probes(graph, (GOLDEN,), None) if _count(inputs) == GOLDEN][
            -1
        ]
    if "edges" in real:
        return real  # a subgraph: its rows hang together
    return {k: v[:GOLDEN] if graph.dynamic.get(k, {}).get(0) == "n" else v for k, v in real.items()}


def _count(inputs: Mapping[str, NDArray[Any]]) -> int:
    return len(next(iter(inputs.values())))


def _signature(model: Path, schema: Schema) -> dict[str, Any]:
    import onnx

    proto = onnx.load(model, load_external_data=False)
    colour = {1: "grey", 3: "RGB"}.get(schema.shape[-1] if schema.shape else 0, "")
    told = {
        "edges": "edges as pairs (from, to) of row numbers of the first input, both directions",
        "image": f"pixels from 0 to 255, {colour}".rstrip(", "),
        "x": {
            "graph": "features of each node",
            "series": "signals, (channels, time) of each instance",
        }.get(schema.kind, "features, one row per instance"),
        "probabilities": "probability of each class, in the order of labels.txt",
        "values": "predicted values, in the order of labels.txt",
    }
    return {
        "inputs": [_describe(v, told) for v in proto.graph.input],
        "outputs": [_describe(v, told) for v in proto.graph.output],
        "opset": next(o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")),
        "ir_version": proto.ir_version,
    }


def _describe(value: Any, told: Mapping[str, str]) -> dict[str, Any]:
    import onnx

    tensor = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    dims = [d.dim_param or d.dim_value for d in tensor.shape.dim]
    meaning = told.get(value.name, "")
    return {"name": value.name, "dtype": str(dtype), "dims": dims, "meaning": meaning}


def _versions() -> dict[str, str]:
    found = {}
    for name in (*PACKAGES, "onnxruntime-gpu", "onnxruntime"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write what numpy.load reads, without the time of day: equal content, equal bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.ascontiguousarray(value), allow_pickle=False)


def _move(beside: Path, folder: Path) -> None:
    """Put the finished folder in place; an older bundle leaves only when the new one is there."""
    if not folder.exists():
        beside.replace(folder)
        return
    old = folder.with_name(f".{folder.name}.old.{os.getpid()}")
    folder.replace(old)
    try:
        beside.replace(folder)
    except OSError:
        old.replace(folder)
        raise
    shutil.rmtree(old)
