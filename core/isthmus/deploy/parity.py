"""The parity gate: onnxruntime must answer what the torch module answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isthmus.deploy.probes import probes
from isthmus.errors import GateFailed

if TYPE_CHECKING:
    import torch

    from isthmus.deploy.export import OnnxGraph

BATCHES = (0, 1, 2, 17, 256)
LEAPING = 0.1  # share of rows that may leap, where the graph says that rows may


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How closely the file follows the module."""

    max_abs_diff: float
    label_agreement: float | None  # share of rows, ties left out; None in regression: no labels
    batches: tuple[int, ...]  # rows of each comparison


def check_parity(
    graph: OnnxGraph,
    path: Path,
    batches: tuple[int, ...] = BATCHES,
    sample: Mapping[str, NDArray[Any]] | None = None,
) -> Parity:
    """Compare module and file (CPU provider) on rows made from ``sample``, or on random ones.

    Raises GateFailed with the numbers, and removes the file, unless every output is within
    ``atol + rtol * |torch|`` and every label agrees. A row whose two best probabilities differ by
    less than ``2 * atol`` is a tie and has no label to agree on. Where the graph leaps, both
    bounds are ``leap`` wider, for one row in ten at most.
    """
    from isthmus.deploy.export import on_cpu

    try:
        return _compare(graph, on_cpu(graph.module), path, batches, sample)
    except BaseException:
        remove(path)
        raise


def remove(path: Path) -> None:
    """Delete a model and the weights beside it."""
    for file in (path, path.with_name(path.name + ".data")):
        file.unlink(missing_ok=True)


def run_torch(
    module: torch.nn.Module, inputs: Mapping[str, NDArray[Any]], path: Path, n: int
) -> list[NDArray[Any]]:
    """Return the outputs of a module on the CPU for inputs in call order, n rows."""
    import torch

    try:
        with torch.inference_mode():
            out = module(*(torch.from_numpy(value) for value in inputs.values()))
    except Exception as error:
        raise GateFailed(f"{path.name}: the module itself fails on {n} rows: {error}") from error
    return [t.numpy() for t in (out if isinstance(out, tuple | list) else (out,))]


def _compare(
    graph: OnnxGraph,
    module: torch.nn.Module,
    path: Path,
    batches: tuple[int, ...],
    sample: Mapping[str, NDArray[Any]] | None,
) -> Parity:
    session = _session(path)
    classes = graph.outputs[0] == "probabilities"
    worst, close, same, judged, seen = 0.0, True, 0, 0, []
    leapt, compared = 0, 0
    for n, inputs in probes(graph, batches, sample):
        expected = run_torch(module, inputs, path, n)
        try:
            got = session.run(None, inputs)
        except Exception as error:  # onnxruntime's exceptions share no public type
            raise GateFailed(f"{path.name}: onnxruntime fails on {n} rows: {error}") from error
        for e, g in zip(expected, got, strict=True):
            if e.shape != g.shape:
                raise GateFailed(
                    f"{path.name}: {n} rows give shape {g.shape} in onnxruntime, {e.shape} in torch"
                )
            if not np.isfinite(e).all():
                raise GateFailed(f"{path.name}: the module itself returns NaN or infinity")
            gap = np.abs(g - e)
            worst = max(worst, float(np.nan_to_num(gap, nan=np.inf).max(initial=0.0)))
            bound = graph.atol + graph.rtol * np.abs(e)
            close &= bool((gap <= bound + graph.leap).all())
            leapt += int((gap > bound).reshape(len(e), -1).any(1).sum()) if len(e) else 0
            compared += len(e)
        if classes:
            clear = _clear(expected[0], 2 * (graph.atol + graph.leap))
            judged += int(clear.sum())
            same += int((expected[0].argmax(1) == got[0].argmax(1))[clear].sum())
        seen.append(n)
    close &= leapt <= LEAPING * compared
    agreement = same / judged if judged else 1.0
    if not close or (classes and agreement < 1.0):
        labels = f" and {judged - same} of {judged} labels differ" if classes else ""
        raise GateFailed(
            f"{path.name}: onnxruntime differs from torch by {worst:.2g} "
            f"(allowed {graph.atol:.0e} + {graph.rtol:.0e} of the value){labels}",
            hint="nothing was written; isthmus doctor checks the installed onnxruntime",
        )
    return Parity(
        max_abs_diff=worst, label_agreement=agreement if classes else None, batches=tuple(seen)
    )


def _session(path: Path) -> Any:
    from isthmus.deploy.providers import create_session

    try:
        return create_session(path, "cpu")[0]
    except Exception as error:
        raise GateFailed(f"{path.name}: onnxruntime cannot read it: {error}") from error


def _clear(probabilities: NDArray[Any], margin: float) -> NDArray[np.bool_]:
    if not probabilities.size or probabilities.shape[1] < 2:
        return np.zeros(len(probabilities), np.bool_)
    best = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(best[:, 1] - best[:, 0] >= margin)
