"""What kind of domain the arrays of an archive make, and how their labels are read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isthmus import rows
from isthmus.domain import Schema
from isthmus.errors import BadInput
from isthmus.graph import Graph

if TYPE_CHECKING:
    from isthmus_datasets.archive import Archive

MOST = 10  # class ids from 0 are not many times as large as there are classes
FORMS = ("table", "image", "series", "graph")


def form_of(archive: Archive, x: Any, asked: str) -> str:
    """Return the kind of domain: the one asked for, or the one the arrays speak for."""
    if isinstance(x, Graph):
        return "graph"
    if asked == "graph":
        raise BadInput(f"{archive.path} has no array 'edges', which as=graph needs")
    if rows.is_sparse(x):
        if asked in ("image", "series"):
            raise BadInput(f"{archive.path}: a sparse matrix cannot be read as={asked}")
        return "table"
    if x.dtype.kind not in "biuf":
        raise BadInput(f"{archive.path}: x holds {x.dtype}, expected numbers")
    image = x.dtype == np.uint8 and (x.ndim == 3 or (x.ndim == 4 and x.shape[3] in (1, 3)))
    if asked == "image" and not image:
        raise BadInput(
            f"{archive.path}: as=image needs uint8 (n, height, width, 1 or 3), "
            f"got {x.dtype} {x.shape}"
        )
    if asked == "series" and x.ndim != 3:
        raise BadInput(
            f"{archive.path}: as=series needs numbers (n, channels, time), got {x.dtype} {x.shape}"
        )
    if asked:
        return asked
    if x.ndim == 2:
        return "table"
    if image:
        return "image"
    if x.ndim == 3:
        return "series"
    raise BadInput(
        f"{archive.path}: x is {x.dtype} {x.shape}; tables (n, d), series (n, channels, time), "
        "uint8 images and graphs can be read",
        hint="#as=table flattens each instance",
    )


def instances(archive: Archive, x: Any, form: str) -> Any:
    """Return ``x`` as a domain of that kind holds it; uint8 images as a table are in [0, 1]."""
    if form == "graph":
        if x.features.ndim != 2:
            raise BadInput(
                f"{archive.path}: node features have shape {x.features.shape}, expected (n, d)"
            )
        return x
    if rows.is_sparse(x):
        return x
    if form == "image":
        return x[..., None] if x.ndim == 3 else x
    if form == "series":
        return x.astype(np.float32)
    with np.errstate(over="ignore"):  # what float32 cannot hold is refused as infinity
        flat = x.reshape(len(x), math.prod(x.shape[1:])).astype(np.float32)
    return flat / np.float32(255) if x.dtype == np.uint8 and x.ndim > 2 else flat


def labels(
    archive: Archive, y: NDArray[Any] | None, form: str, x: Any
) -> tuple[Schema, NDArray[Any] | None]:
    """Return the schema, and the labels as class ids (n,) or float32 values (n, outputs)."""
    shape = tuple((x.features if isinstance(x, Graph) else x).shape[1:])
    path, given = archive.path, archive.arrays.get("classes")
    classes = tuple(str(c) for c in np.ravel(given)) if given is not None else ()
    if y is None:
        return Schema(kind=form, shape=shape), None
    if y.dtype.kind == "f":
        y = (y[:, None] if y.ndim == 1 else y).astype(np.float32)
        return Schema(kind=form, shape=shape, outputs=_outputs(archive, y)), y
    if y.ndim != 1:
        raise BadInput(f"{path}: y has shape {y.shape}, expected one class id per row")
    if y.dtype.kind == "U":
        classes, y = _by_name(archive, classes, y)
    elif y.dtype.kind not in "biu":
        raise BadInput(f"{path}: y holds {y.dtype}, expected class ids or numbers")
    if not classes:  # of every split, so that train and test agree
        name = archive.options.get("y", "y")
        found = [v for k in (name, f"{name}_test") if len(v := archive.arrays.get(k, y[:0]))]
        ids = np.unique(np.concatenate([y[:0], *found]).astype(np.int64))
        if not len(ids) or ids[0] < 0 or ids[-1] < MOST * len(ids):
            classes = tuple(str(i) for i in range(int(ids.max(initial=-1)) + 1))
        else:  # codes, such as those of items: the numbers between them are no classes
            classes, y = tuple(map(str, ids.tolist())), np.searchsorted(ids, y)
    y = y.astype(np.int64)
    if len(y) and (y.min() < 0 or y.max() >= len(classes)):
        bad = y.min() if y.min() < 0 else y.max()
        raise BadInput(f"{path}: y holds class id {bad}, but there are {len(classes)} classes")
    return Schema(kind=form, shape=shape, classes=classes), y


def _outputs(archive: Archive, y: NDArray[Any]) -> tuple[str, ...]:
    given = archive.arrays.get("outputs")
    name = archive.options.get("y", "y")
    if given is None:
        return (name,) if y.shape[1] == 1 else tuple(f"{name}{i}" for i in range(y.shape[1]))
    if given.shape != y.shape[1:]:
        raise BadInput(f"{archive.path}: {given.size} names in outputs for y of shape {y.shape}")
    return tuple(str(o) for o in given)


def _by_name(
    archive: Archive, classes: tuple[str, ...], y: NDArray[Any]
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    name = archive.options.get("y", "y")
    if not classes:
        every = [archive.arrays[k] for k in (name, f"{name}_test") if k in archive.arrays]
        classes = tuple(str(c) for c in np.unique(np.concatenate(every)))
    if unknown := sorted(set(np.unique(y).tolist()) - set(classes)):
        raise BadInput(f"{archive.path}: y holds {unknown[0]!r}, which classes does not name")
    place = {c: i for i, c in enumerate(classes)}
    return classes, np.array([place[c] for c in y.tolist()], np.int64).reshape(-1)
