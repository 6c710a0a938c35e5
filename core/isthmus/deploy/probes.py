"""Inputs that a parity check tries: real rows where there are some, and rows like them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import BadInput

if TYPE_CHECKING:
    from isthmus.deploy.export import OnnxGraph

VALUES = 2**23  # bounds one comparison: 55 images of 224 x 224, so ResNet-50 takes seconds
NOISE = 0.05  # of a column's spread


def probes(
    graph: OnnxGraph, batches: tuple[int, ...], sample: Mapping[str, NDArray[Any]] | None
) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
    """Yield numbers of rows with inputs of that many rows, in the dtypes of the graph.

    Larger batches than memory suits are cut. Where other axes vary (the height and width of
    images), two other sizes follow. A graph gets no edges, one edge, and edges that share their
    target and leave nodes alone.
    """
    rng = np.random.default_rng(0)
    base = {name: tensor.numpy() for name, tensor in graph.inputs.items()}
    if sample is not None:
        base = conform(graph, sample)
    if sample is not None and "edges" in base:
        yield len(next(iter(base.values()))), base
    most = max(1, VALUES // max(_values(graph, base), 1))
    real = sample is not None
    for n in dict.fromkeys(min(n, most) for n in batches):
        inputs = _inputs(graph, base, n, real, rng)
        for edges in _edges(n, rng) if "edges" in inputs else ():
            yield n, {**inputs, "edges": edges}
        if "edges" not in inputs:
            yield n, inputs
    for factor in (0.5, 1.7):
        other = {name: _stretched(graph, name, value, factor) for name, value in base.items()}
        if any(other[name].shape != base[name].shape for name in base):
            yield 2, _inputs(graph, other, 2, real, rng)


def conform(graph: OnnxGraph, sample: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the sample in the call order and dtypes of the graph; refuse other shapes."""
    if set(sample) != set(graph.inputs):
        raise BadInput(f"the sample names {sorted(sample)}, the inputs are {sorted(graph.inputs)}")
    out = {}
    for name, tensor in graph.inputs.items():
        like, value = tensor.numpy(), np.asarray(sample[name])
        fixed = [a for a in range(like.ndim) if a not in graph.dynamic.get(name, {})]
        if value.ndim != like.ndim or any(value.shape[a] != like.shape[a] for a in fixed):
            raise BadInput(f"sample {name!r} has shape {value.shape}, expected like {like.shape}")
        if like.dtype == np.uint8 and value.dtype != np.uint8:
            value = value.round().clip(0, 255)
        out[name] = np.ascontiguousarray(value, like.dtype)
        if not np.isfinite(out[name]).all():
            raise BadInput(f"sample {name!r} holds NaN or infinity: fill or leave out such rows")
    return out


def _varies(graph: OnnxGraph, name: str) -> bool:
    return graph.dynamic.get(name, {}).get(0) == "n"


def _values(graph: OnnxGraph, base: Mapping[str, NDArray[Any]]) -> int:
    return sum(int(np.prod(v.shape[1:])) for k, v in base.items() if _varies(graph, k))


def _inputs(
    graph: OnnxGraph,
    base: Mapping[str, NDArray[Any]],
    n: int,
    real: bool,
    rng: np.random.Generator,
) -> dict[str, NDArray[Any]]:
    return {k: _rows(v, n, real, rng) if _varies(graph, k) else v for k, v in base.items()}


def _rows(value: NDArray[Any], n: int, real: bool, rng: np.random.Generator) -> NDArray[Any]:
    """Return n rows: the real ones first, then repeats with noise; or random ones."""
    if not len(value):
        value = np.zeros((1, *value.shape[1:]), value.dtype)
    out = value[np.arange(n) % len(value)]
    again = out[len(value) if real else 0 :]
    if value.dtype == np.uint8:
        noise = rng.integers(-8, 9, again.shape) if real else rng.integers(0, 256, again.shape)
        again[...] = (again * np.int16(real) + noise).clip(0, 255)
    elif np.issubdtype(value.dtype, np.floating):
        spread = NOISE * value.std(0, dtype=np.float64) if real else 1.0
        again[...] = again + rng.standard_normal(again.shape) * spread
    return out


def _stretched(graph: OnnxGraph, name: str, value: NDArray[Any], factor: float) -> NDArray[Any]:
    """Return the input with its other varying axes made shorter or longer (nearest entries)."""
    for axis, label in graph.dynamic.get(name, {}).items():
        if axis and label not in ("n", "m"):
            old = value.shape[axis]
            new = max(1, int(old * (factor if axis % 2 else 2.1 - factor)) + 1)
            value = value.take(np.arange(new) * old // new, axis)
    return value


def _edges(n: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield edges (2, m) among n nodes; the last fifth of the nodes is never named."""
    yield np.zeros((2, 0), np.int64)
    if n > 1:
        yield np.array([[0], [n - 1]], np.int64)
        named = max(2, n - n // 5)
        sources = rng.integers(0, named, 3 * n)
        yield np.stack([sources, rng.integers(0, max(1, named // 3), 3 * n)]).astype(np.int64)
