"""What is looked at: a bounded number of rows of each domain as a table, whatever the kind."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isthmus import rows
from isthmus.compose import MOST_PIXELS
from isthmus.domain import Domain, Labels, Task
from isthmus.errors import BadInput, UnsupportedTask
from isthmus.strategy import Needs, Run

if TYPE_CHECKING:
    from isthmus.learners.architectures import Architecture

ROWS = 5_000  # of each domain at most
VALUES = 2**24  # of a dense sample of one domain at most: 64 MiB in float32
FEWEST = 10  # rows of each domain: below that nothing can be told
CHUNK = 64  # images per forward pass of a backbone
NEEDS = Needs(kinds=frozenset({"table", "image", "series", "graph"}), sources="any")


@dataclass(frozen=True, eq=False, kw_only=True)
class Drawn:
    """Rows of both domains as tables: float32 (n, d) or CSR, in an order of their content.

    ``extra`` columns stand beside a CSR table without becoming part of it: a graph's degrees.
    """

    source: Any
    target: Any
    support: Any | None
    y: Labels
    y_support: Labels | None
    origin: NDArray[np.int64]  # (n_source,) which of the task's sources a row is from
    names: tuple[str, ...]  # (d,) of the columns, before those of ``extra``
    named: bool  # the columns have names, and so units, of their own
    total: tuple[int, int]  # rows of the source and of the target before drawing
    shared: int  # rows of the target, as drawn, that are also rows of the source
    read_as: str
    extra: tuple[tuple[str, ...], NDArray[Any], NDArray[Any], NDArray[Any] | None] | None = None


def draw(task: Task, run: Run, network: Architecture | None = None) -> Drawn:
    """Draw at most ``ROWS`` rows of each domain; ``network`` gives features of images.

    The choice depends on the content of the rows and on the seed, not on the order of the rows.
    Target labels are no part of a task. Raises UnsupportedTask where a domain cannot be read.
    """
    if reason := NEEDS.refusal(task):
        raise UnsupportedTask(f"inspect {reason}")
    source = task.source
    domains: tuple[Domain, Domain] = (source, task.target)
    for d in domains:
        if len(d) < FEWEST:
            raise UnsupportedTask(
                f"inspect needs {FEWEST} instances of each domain, {d.name} has {len(d)}"
            )
    rng = run.rng()
    most = _most(task, network)
    chosen = _choose(rows.canonical_order(source.x, source.y), most, rng)
    seen = _choose(rows.canonical_order(task.target.x), most, rng)
    origin = np.repeat(np.arange(len(task.sources)), [len(d) for d in task.sources])
    support = task.support if task.support is not None and len(task.support) else None
    near = None
    if support is not None:
        near = _choose(rows.canonical_order(support.x, support.y), most, rng)
    read, names, read_as = _reader(task, run, network)
    parts = [read(source, chosen), read(task.target, seen)]
    parts.append(read(support, near) if support is not None else None)
    for role, x in zip(("source", "target", "support"), parts, strict=True):
        if x is not None and not _finite(x):
            raise BadInput(f"the {role} has NaN or infinity: fill or drop missing values first")
    extra = None
    if task.schema.kind == "graph":
        degrees = [_degrees(d, i) for d, i in ((source, chosen), (task.target, seen))]
        beside = None if support is None else _degrees(support, near)
        extra = (("log(1 + degree)",), degrees[0], degrees[1], beside)
    return Drawn(
        source=parts[0],
        target=parts[1],
        support=parts[2],
        y=source.y[chosen],
        y_support=None if support is None or near is None else support.y[near],
        origin=origin[chosen],
        names=names,
        named=bool(task.schema.features),
        total=(len(source), len(task.target)),
        shared=0 if task.schema.kind == "graph" else _shared(parts[0], parts[1]),
        read_as=read_as,
        extra=extra,
    )


def _most(task: Task, network: Architecture | None) -> int:
    x = task.target.x
    if rows.is_sparse(getattr(x, "features", x)) or network is not None:
        return ROWS
    return int(np.clip(VALUES // max(1, math.prod(task.schema.shape)), FEWEST, ROWS))


def _choose(order: NDArray[Any], most: int, rng: np.random.Generator) -> NDArray[Any]:
    if len(order) <= most:
        return order
    return order[np.sort(rng.choice(len(order), most, replace=False))]


def _reader(task: Task, run: Run, network: Architecture | None) -> tuple[Any, Any, str]:
    """Return a function (domain, index) to a table, the names of its columns, and what it is."""
    kind, shape = task.schema.kind, task.schema.shape
    d = math.prod(shape)
    if kind == "image" and network is not None:
        embed, width = _embedder(task, run, network)
        name = getattr(network, "model", type(network).__name__)
        return embed, tuple(f"feature {i}" for i in range(width)), f"{width} features of {name}"
    if kind == "image":
        if d > MOST_PIXELS:
            raise UnsupportedTask(
                f"images of {d} values are no features to compare domains by",
                hint="add --backbone resnet18 (with --weights FILE where there is no network)",
            )
        places = np.ndindex(*shape) if shape[2] > 1 else np.ndindex(*shape[:2])
        names = tuple(f"pixel {','.join(map(str, at))}" for at in places)
        return _pixels, names, f"{d} pixel values"
    if kind == "series":
        names = tuple(f"channel {c} at {t}" for c, t in np.ndindex(*shape))
        return _flat, names, f"{d} values of each series"
    own = task.schema.features or tuple(f"column {i}" for i in range(d))
    if kind == "graph":
        return _features, own, f"{d} node features and the degree"
    return _flat, own, f"{d} columns"


def _flat(domain: Domain, index: Any) -> Any:
    x = domain.x[index]
    return x.astype(np.float32) if rows.is_sparse(x) else rows.dense(x).reshape(len(index), -1)


def _pixels(domain: Domain, index: Any) -> Any:
    return _flat(domain, index) / np.float32(255)


def _features(domain: Domain, index: Any) -> Any:
    x = domain.x.features[index]
    return x.astype(np.float32) if rows.is_sparse(x) else rows.dense(x)


def _degrees(domain: Domain, index: Any) -> NDArray[np.float32]:
    degree = np.bincount(domain.x.edges()[1], minlength=len(domain))
    return np.asarray(np.log1p(degree[index]), np.float32)[:, None]


def _shared(source: Any, target: Any) -> int:
    """Count target rows that the source has; none where rows of the source repeat as often."""
    own, once = np.unique(rows.row_keys(source), return_counts=True)
    found = int(np.isin(rows.row_keys(target), own).sum())
    repeated = once[once > 1].sum() / once.sum()
    return found if found > 3 * repeated * rows.count(target) else 0


def _finite(x: Any) -> bool:
    return bool(np.isfinite(x.data if rows.is_sparse(x) else x).all())


def _embedder(task: Task, run: Run, network: Architecture) -> tuple[Any, int]:
    import torch

    from isthmus.learners.loop import seeded
    from isthmus.learners.network import Network
    from isthmus.tensors import as_tensor

    raw = getattr(task.target.x, "raw", task.target.x)
    with seeded(run):
        net = Network(task.schema, network, accepts=int(raw.shape[3]), pretrained=True)
    net.to(run.device).eval()

    def embed(domain: Domain, index: Any) -> NDArray[np.float32]:
        out = np.empty((len(index), net.width), np.float32)
        with torch.inference_mode():
            for part in rows.chunks(len(index), CHUNK):
                x = as_tensor(domain.x[index[part]]).to(run.device)
                out[part] = net.encode(net.prepare(x)).float().cpu().numpy()
                run.progress(f"embed {domain.name}", part.stop, len(index))
        return out

    return embed, net.width
