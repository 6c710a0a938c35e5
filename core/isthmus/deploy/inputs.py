"""Files that a bundle predicts on: what ``isthmus predict BUNDLE INPUT...`` accepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import files
from isthmus.dataset import Location
from isthmus.errors import BadInput, nearest
from isthmus.graph import Graph, Relation

IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
SCHEMES = {"npz", "csv", "images"}  # a domain URI may be pasted as it is
OPTIONS = {".npz": {"split", "x"}, ".csv": {"drop", "label"}}
HINT = "a bundle reads .npz, .csv, image files and folders of images"


@dataclass(frozen=True, eq=False)
class Input:
    """What ``Predictor.predict`` takes, and where each row comes from: ``a.csv:0``, ``b.png``.

    Of several files the names have their folders too. ``kept``: the rows that were asked for, of a
    graph that is needed whole.
    """

    x: Any
    names: Sequence[str]
    kept: NDArray[np.int64] | None = None


def read_inputs(given: Sequence[str], manifest: Mapping[str, Any]) -> list[Input]:
    """Read files as the bundle's kind asks; image files are joined and decoded when asked for.

    A file may carry options: ``a.npz#split=test``, ``a.npz#x=name``, ``a.csv#drop=y,id``. Relative
    paths are tried in the working folder, then under ``$ISTHMUS_DATA``.
    """
    kind, found, images = manifest["kind"], [], []
    for text in given:
        location = _locate(text)
        path = location.find()
        label = path.name if len(given) == 1 else str(path)
        pictures = _pictures(path)
        _check_options(text, location.options, OPTIONS.get(path.suffix.lower(), set()))
        if pictures and kind == "image":
            images += pictures
        elif path.suffix.lower() == ".npz":
            found += _npz(path, location.options, kind, label)
        elif path.suffix.lower() == ".csv" and kind == "table":
            width = manifest["inputs"][0]["dims"][1]
            features = manifest.get("features", ())
            found.append(_csv(path, location.options, width, features, label))
        else:
            what = "a folder without images" if path.is_dir() and not pictures else path.name
            raise BadInput(f"{text}: this bundle predicts on {kind} data, got {what}", hint=HINT)
    if images:
        found.append(Input(Pictures(images), [str(path) for path in images]))
    return found


class Pictures(Sequence[NDArray[np.uint8]]):
    """Image files read one at a time, uint8 (height, width, channels) of any sizes."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Pictures(self.paths[index])
        return files.read_image(self.paths[index])


class Compressed:
    """Rows of a CSR matrix (values, columns, pointers), made dense block by block."""

    def __init__(
        self,
        values: NDArray[Any],
        columns: NDArray[Any],
        pointers: NDArray[Any],
        width: int,
    ) -> None:
        sound = (
            pointers.ndim == columns.ndim == 1
            and values.shape == columns.shape
            and values.dtype.kind in "biuf"
            and {pointers.dtype.kind, columns.dtype.kind} <= {"i", "u"}
            and len(pointers) > 0
            and pointers[0] == 0
            and pointers[-1] == len(columns)
            and (np.diff(pointers.astype(np.int64)) >= 0).all()
            and (not columns.size or (columns.min() >= 0 and columns.max() < width))
        )
        if not sound:
            raise BadInput("x_data, x_indices, x_indptr and n_features are not a CSR matrix")
        self.values, self.columns, self.pointers = values, columns, pointers.astype(np.int64)
        self.shape = (len(pointers) - 1, width)

    def __len__(self) -> int:
        return self.shape[0]

    def take(self, mask: NDArray[np.bool_]) -> Compressed:
        """Return the rows where ``mask`` (n,) is true."""
        size = np.diff(self.pointers)
        inside = np.repeat(mask, size)
        pointers = np.concatenate([[0], np.cumsum(size[mask])])
        return Compressed(self.values[inside], self.columns[inside], pointers, self.shape[1])

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        start, stop, _ = rows.indices(len(self))
        pointers = self.pointers[start : stop + 1]
        out = np.zeros((stop - start, self.shape[1]), np.float32)
        inside = slice(pointers[0], pointers[-1])
        place = np.repeat(np.arange(stop - start), np.diff(pointers))
        np.add.at(out, (place, self.columns[inside]), self.values[inside])  # repeats add up
        return out


def _locate(text: str) -> Location:
    scheme, colon, _ = text.partition(":")
    return Location.parse(text if colon and scheme in SCHEMES else f"file:{text}")


def _pictures(path: Path) -> list[Path]:
    if path.is_dir():
        return files.visible(path, IMAGES)
    return [path] if path.suffix.lower() in IMAGES else []


def _check_options(text: str, given: Mapping[str, str], known: set[str]) -> None:
    for key in given:
        if key not in known:
            raise BadInput(f"{text}: prediction has no option {key!r}", hint=nearest(key, known))


def _npz(path: Path, options: Mapping[str, str], kind: str, label: str) -> list[Input]:
    found = files.read_npz(path)
    name = options.get("x", "x")
    if options.get("split") != "all" or not _separate(found, name):
        return [_some_rows(path, found, options, kind, label)]
    train, test = (
        _some_rows(path, found, {**options, "split": split}, kind, label)
        for split in ("train", "test")
    )
    first = len(train.names)
    return [train, Input(test.x, [f"{label}:{first + i}" for i in range(len(test.names))])]


def _separate(found: Mapping[str, NDArray[Any]], name: str) -> bool:
    """Whether the test split has arrays of its own."""
    return any(f"{name}_test{end}" in found for end in ("", "_indptr"))


def _some_rows(
    path: Path, found: Mapping[str, NDArray[Any]], options: Mapping[str, str], kind: str, label: str
) -> Input:
    x, mask = _instances(path, found, options)
    if kind in ("image", "series") and isinstance(x, Compressed):
        raise BadInput(f"{path} holds a sparse matrix, and this bundle predicts on {kind} data")
    if kind == "graph":
        if "edges" not in found:
            raise BadInput(f"{path} has no array 'edges', and this bundle predicts on graphs")
        x = Graph(x[:] if isinstance(x, Compressed) else x, (Relation(index=found["edges"]),))
        kept = None if mask is None else np.flatnonzero(mask)
        asked = range(len(x)) if kept is None else kept.tolist()
        return Input(x, [f"{label}:{i}" for i in asked], kept)  # neighbours are needed all the same
    if kind == "image" and isinstance(x, np.ndarray) and x.ndim == 3:
        x = x[..., None]
    if mask is not None:
        x = x.take(mask) if isinstance(x, Compressed) else x[mask]
    n = len(x)
    rows = range(n) if mask is None else np.flatnonzero(mask).tolist()
    return Input(x, [f"{label}:{i}" for i in rows])


def _instances(
    path: Path, found: Mapping[str, NDArray[Any]], options: Mapping[str, str]
) -> tuple[Any, NDArray[np.bool_] | None]:
    """Return the rows of the split asked for, or all of them and a mask."""
    name, split, mask = options.get("x", "x"), options.get("split", "all"), None
    if split not in ("all", "train", "test"):
        raise BadInput(f"split={split}, expected train or test")
    separate = _separate(found, name)
    if separate and split == "test":
        name += "_test"
    elif not separate and split != "all":
        mask = found.get("train")
        if mask is None or mask.dtype != np.bool_ or mask.ndim != 1:
            raise BadInput(f"{path} has no {split} split: neither {name}_test nor a mask 'train'")
        mask = mask if split == "train" else ~mask
    if f"{name}_indptr" in found:
        columns = found.get(f"{name}_indices", np.zeros(0))
        values = found.get(f"{name}_data", np.ones(len(columns), np.float32))
        width = found.get("n_features", np.array(0))
        if width.ndim or width.dtype.kind not in "iu":
            raise BadInput(f"{path}: n_features is no whole number")
        x: Any = Compressed(values, columns, found[f"{name}_indptr"], int(width))
    elif name in found and found[name].ndim:
        x = found[name]
    else:
        raise BadInput(f"{path} has no rows under the name {name!r}", hint=nearest(name, found))
    if mask is not None and len(mask) != len(x):
        raise BadInput(f"{path}: {name} has {len(x)} rows, train has {len(mask)}")
    return x, mask


def _csv(
    path: Path, options: Mapping[str, str], width: int, features: Sequence[str], label: str
) -> Input:
    header, columns = files.read_csv(path)
    if missing := [c for c in features if c not in columns]:
        raise BadInput(f"{path} has no column {missing[0]!r}", hint=nearest(missing[0], header))
    dropped = [
        c for c in ",".join((options.get("drop", ""), options.get("label", ""))).split(",") if c
    ]
    for name in dropped:
        if name not in columns:
            raise BadInput(f"{path} has no column {name!r}", hint=nearest(name, header))
    # By the names the model was adapted with, whatever their order and whatever else there is.
    kept = [*features] or [c for c in header if c not in dropped and columns[c].dtype.kind == "f"]
    if len(kept) != width:
        raise BadInput(
            f"{path} has {len(kept)} columns of numbers, expected {width} features",
            hint=f"leave columns out with {path.name}#drop={header[-1]}"
            if len(kept) > width
            else "",
        )
    if words := [c for c in kept if columns[c].dtype.kind != "f"]:
        raise BadInput(f"{path}: column {words[0]!r} holds text, expected numbers")
    x = np.stack([columns[c] for c in kept], axis=1)
    return Input(x, [f"{label}:{i}" for i in range(len(x))])
