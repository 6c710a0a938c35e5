"""From named columns to a table domain: what csv and parquet files share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.dataset import Location
from isthmus.domain import Domain, Labelled, Schema
from isthmus.errors import BadInput, nearest
from isthmus.files import TEXT
from isthmus_datasets.options import choice, names

OPTIONS = {
    "label": "the label column; several, separated by commas, are regression outputs",
    "task": "classes | regression (default: regression where a label is not a whole number)",
    "drop": "columns to leave out, separated by commas",
}


def domain_of(
    name: str,
    columns: Mapping[str, NDArray[Any]],
    location: Location,
    x: NDArray[np.float32] | None = None,
    cells: Mapping[str, NDArray[Any]] | None = None,
) -> Domain:
    """Return a table domain of the columns (n,), Labelled where the option ``label`` is given.

    Its features are ``x`` (n, d), or where None the other columns. ``cells`` is what the file says
    of each column, where it is a file of text: there 007 is a code and not the number 7.
    """
    labels = known_columns(name, columns, location, "label")
    task = choice(location, "task", ("classes", "regression"), "")
    if x is None:
        x, bare = _features(name, columns, labels, location)
    else:
        bare = Schema(kind="table", shape=x.shape[1:])
    if not labels:
        if task:
            raise BadInput(f"{name}: task={task} needs a label column", hint="add label=COLUMN")
        return Domain(name=name, schema=bare, x=x)
    _complete(name, columns, labels)
    first = columns[labels[0]]
    fractional = first.dtype.kind == "f" and not np.all(first == np.floor(first))
    if task == "regression" or len(labels) > 1 or (fractional and not task):
        y = _values(name, columns, labels, task)
        schema = replace(bare, outputs=tuple(labels))
        return Labelled(name=name, schema=schema, x=x, y=y)
    if fractional:
        bad = first[first != np.floor(first)][0]
        raise BadInput(f"{name}: label {labels[0]!r} has the value {bad:g}, which names no class")
    said = cells[labels[0]] if cells else first
    found, ids = np.unique(said, return_inverse=True)
    called = [_class_name(c) for c in found.tolist()]
    classes = list(dict.fromkeys(called))
    if first.dtype.kind == "f":
        classes.sort(key=lambda c: (float(c), c))
    place = {c: i for i, c in enumerate(classes)}
    schema = replace(bare, classes=tuple(classes))
    at = np.array([place[c] for c in called], np.int64)
    return Labelled(name=name, schema=schema, x=x, y=at[ids.reshape(-1)])


def _class_name(value: Any) -> str:
    """Return 3 for 3, 3.0 and "3.0", any other text as it is."""
    if isinstance(value, str):
        whole = re.fullmatch(r"(-?(?:0|[1-9]\d*))\.0*", value)
        return whole[1] if whole else value
    return str(int(value)) if isinstance(value, float) else str(value)


def _features(
    name: str, columns: Mapping[str, NDArray[Any]], labels: list[str], location: Location
) -> tuple[NDArray[np.float32], Schema]:
    """Numbers and booleans become float32 features, NaN where blank; a text feature is refused."""
    left_out = {*labels, *known_columns(name, columns, location, "drop")}
    features = {c: v for c, v in columns.items() if c not in left_out}
    if text := [c for c, v in features.items() if v.dtype.kind not in "biuf"]:
        sample = features[text[0]]
        raise BadInput(
            f"{name}: column {text[0]!r} holds text, such as {str(sample[0])!r}; "
            "features must be numbers",
            hint=f"leave it out with #drop={','.join(text)}, or encode it as numbers first",
        )
    if not features:
        raise BadInput(f"{name}: no feature column is left beside {', '.join(sorted(left_out))}")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
        x = np.stack([v.astype(np.float32) for v in features.values()], axis=1)
    return x, Schema(kind="table", shape=x.shape[1:], features=tuple(features))


def known_columns(
    name: str, columns: Mapping[str, NDArray[Any]], location: Location, key: str
) -> list[str]:
    whole = location.options.get(key, "")
    asked = [whole] if whole in columns else names(location, key)  # a name may hold a comma
    for column in asked:
        if column not in columns:
            raise BadInput(
                f"{name} has no column {column!r} ({key}={whole})", hint=nearest(column, columns)
            )
    return asked


def _complete(name: str, columns: Mapping[str, NDArray[Any]], labels: list[str]) -> None:
    for label in labels:
        y = columns[label]
        blank = ~np.isfinite(y) if y.dtype.kind == "f" else y == "" if y.dtype == TEXT else None
        if blank is not None and blank.any():
            raise BadInput(
                f"{name}: {int(blank.sum())} of {len(y)} rows have no label in {label!r}, "
                f"the first is row {int(np.argmax(blank)) + 1}",
                hint="put unlabelled rows in a file of their own",
            )


def _values(
    name: str, columns: Mapping[str, NDArray[Any]], labels: list[str], task: str
) -> NDArray[np.float32]:
    for label in labels:
        if columns[label].dtype.kind not in "biuf" or task == "classes":
            raise BadInput(
                f"{name}: {', '.join(labels)} cannot be regression outputs: "
                + (f"{label!r} holds text" if task != "classes" else "task=classes takes one label")
            )
    return np.stack([columns[label].astype(np.float32) for label in labels], axis=1)
