"""Folders of image files: a class per sub-folder, or one folder without labels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

import numpy as np

from isthmus import files
from isthmus.dataset import Dataset, Location
from isthmus.domain import Domain, Labelled, Schema
from isthmus.errors import BadInput
from isthmus.images import ImageFiles, most_common_size, shapes
from isthmus_datasets.options import choice, number, whole
from isthmus_datasets.sampling import held_out

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})


class Images(Dataset):
    """``images:FOLDER``: JPEG, PNG, BMP or WEBP files that stay on disk until they are used.

    Sub-folders are classes, in the order of their names; a folder of images alone is an
    unlabelled domain. Every image is brought to one size (by default the commonest) and to RGB
    unless the folder looks grey. The test split is drawn by seed from the sorted file names,
    class by class, whatever the files hold.
    """

    scheme: ClassVar[str] = "images"
    summary: ClassVar[str] = "a folder of images, a class per sub-folder"
    options = {
        "size": "pixels: 96, or height and width as 96x128 (default: the commonest size)",
        "split": "all (default) | train | test",
        "test": "share of each class that is held out for split=test (default 0.2)",
        "seed": "of the split (default: the seed of the run)",
    }

    def load(self, location: Location) -> Domain:
        self.check(location)
        folder = location.find()
        if not folder.is_dir():
            raise BadInput(f"{folder} is a file, expected a folder of images")
        size = _size(location)
        split = choice(location, "split", ("train", "test", "all"), "all")
        share = number(location, "test", 0.2, 0, 1)
        paths, y, classes = _listed(folder)
        if split != "all":
            kept = held_out(y, share, whole(location, "seed", location.seed))
            kept = kept if split == "test" else ~kept
            paths, y = [p for p, k in zip(paths, kept, strict=True) if k], y[kept]
            if not paths:
                raise BadInput(f"{folder} has too few images for split={split}")
        channels = max(c for *_, c in shapes(paths))
        x = ImageFiles(paths, size or most_common_size(paths), channels)
        schema = Schema(kind="image", shape=x.shape[1:], classes=classes)
        name = folder.resolve().name
        if not classes:
            return Domain(name=name, schema=schema, x=x)
        return Labelled(name=name, schema=schema, x=x, y=y)


def _size(location: Location) -> tuple[int, int] | None:
    text = location.options.get("size")
    if text is None:
        return None
    sides = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", text, re.ASCII)
    if not sides:
        raise BadInput(f"images: size={text}, expected pixels as 96 or HEIGHTxWIDTH as 96x128")
    return int(sides[1]), int(sides[2] or sides[1])


def _listed(folder: Path) -> tuple[list[Path], np.ndarray, tuple[str, ...]]:
    """Return the files, their class ids (all 0 where unlabelled) and the class names."""
    inside = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    loose = [p for p in inside if p.is_file() and p.suffix.lower() in SUFFIXES]
    groups = [(p, files.visible(p, SUFFIXES)) for p in inside if p.is_dir()]
    if loose and any(paths for _, paths in groups):
        raise BadInput(
            f"{folder} holds images both in sub-folders and beside them, such as {loose[0].name}",
            hint="move them into the sub-folder of their class",
        )
    if loose:
        return loose, np.zeros(len(loose), np.int64), ()
    if not any(paths for _, paths in groups):
        kinds = ", ".join(sorted(s[1:] for s in SUFFIXES))
        raise BadInput(f"{folder} holds no image ({kinds}), nor do its sub-folders")
    for sub, paths in groups:
        if not paths:
            raise BadInput(
                f"{sub} holds no image", hint="every sub-folder is a class; remove the empty one"
            )
    y = np.repeat(np.arange(len(groups)), [len(paths) for _, paths in groups])
    return [p for _, paths in groups for p in paths], y, tuple(p.name for p, _ in groups)
