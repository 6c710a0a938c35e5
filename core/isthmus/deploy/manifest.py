"""What a bundle says of itself, and whether it is still true. Imports no torch and no onnx."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from isthmus.dataset import Location
from isthmus.deploy.wire import external_files
from isthmus.errors import BadInput, GateFailed
from isthmus.sealed import digest

FORMAT = 1
NAME = "manifest.json"
MODEL = "model.onnx"
_ABSOLUTE = re.compile(r"(?<![\w/\\.])(?:~|[A-Za-z]:)?[\\/](?:[^\\/\s#:'\"]+[\\/])+")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest after comparing it with every file of the bundle.

    Raises BadInput when ``folder`` is no bundle, and GateFailed naming the file that is missing,
    unknown, changed, truncated or a link.
    """
    path = folder / NAME
    if not path.is_file():
        if (folder / MODEL).exists():
            raise GateFailed(f"{folder} has lost its {NAME}", hint="export it again")
        raise BadInput(
            f"{folder} is no bundle: it has no {NAME}", hint="isthmus export DIR --out B"
        )
    manifest = _parse(path)
    files: dict[str, Any] = manifest["files"]
    for found in sorted(folder.iterdir()):
        if found.name not in files and found.name != NAME:
            raise GateFailed(f"{folder} holds {found.name!r}, which its manifest does not list")
    for name, expected in files.items():
        _check(folder / name, expected)
    if MODEL not in files:
        raise GateFailed(f"{path} does not list {MODEL}")
    for location in external_files(folder / MODEL):
        if location not in files:
            raise GateFailed(
                f"{MODEL} keeps weights in {location!r}, which the manifest does not list"
            )
        if (folder / location).stat().st_nlink > 1:
            raise GateFailed(f"{location} is a hard link: its content may change from elsewhere")
    return manifest


def is_bundle(folder: Path) -> bool:
    """Whether every entry of a folder is one that its manifest lists, sound or not."""
    try:
        listed = set(json.loads((folder / NAME).read_bytes())["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return {p.name for p in folder.iterdir()} <= listed | {NAME}


def seal(folder: Path, body: Mapping[str, Any]) -> dict[str, Any]:
    """Write the manifest of all files in ``folder``, with its own checksum; return it."""
    files = {
        p.name: {"sha256": sha256(p), "bytes": p.stat().st_size} for p in sorted(folder.iterdir())
    }
    manifest: dict[str, Any] = {"format": FORMAT, **body, "files": files}
    manifest["sha256"] = digest(manifest)
    text = json.dumps(manifest, indent=1, allow_nan=False, ensure_ascii=False)
    (folder / NAME).write_text(text + "\n", encoding="utf-8")
    return manifest


def loading(record: Mapping[str, Any]) -> dict[str, str]:
    """Return what the loader did to the rows of the target before the model saw them.

    These are the options of its URI that change numbers, which the graph does not repeat. Texts
    are embedded by a model.
    """
    try:
        target = Location.parse(str(record.get("target")))
    except BadInput:  # the words of somebody who exports from Python
        return {}
    if target.scheme == "text":
        return {"model": target.options.get("model", "its default")}
    said = [("normalise", "none"), ("fill", "none"), ("as", "graph")]
    return {k: target.options[k] for k, same in said if target.options.get(k, same) != same}


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def portable(value: Any) -> Any:
    """Return JSON values without folders of this machine: ``npz:/data/a.npz`` is ``npz:a.npz``.

    NumPy scalars become numbers; NaN and infinity, which JSON lacks, become None.
    """
    if isinstance(value, Mapping):
        return {str(k): portable(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [portable(v) for v in (sorted(value) if isinstance(value, set) else value)]
    if isinstance(value, Path):
        return value.name
    if isinstance(value, str):
        return _ABSOLUTE.sub("", value)
    if callable(convert := getattr(value, "tolist", None)):
        return portable(convert())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _parse(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_bytes())
        recorded = manifest.pop("sha256")
        version, files = manifest["format"], manifest["files"]
        safe = all(PurePosixPath(name).name == name and "\\" not in name for name in files)
        good = recorded == digest(manifest) and safe
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GateFailed(f"{path} is truncated or not ours") from error
    if not good:
        raise GateFailed(f"{path} was changed: its checksum does not match")
    if version != FORMAT:
        raise GateFailed(f"{path} has format {version}, this version reads {FORMAT}")
    manifest["sha256"] = recorded
    return dict(manifest)


def _check(path: Path, expected: Mapping[str, Any]) -> None:
    if path.is_symlink():
        raise GateFailed(f"{path} is a link, expected a file")
    if not path.is_file():
        raise GateFailed(f"{path} is missing")
    if (size := path.stat().st_size) != expected["bytes"]:
        raise GateFailed(f"{path} was changed: {size} bytes, the manifest says {expected['bytes']}")
    if sha256(path) != expected["sha256"]:
        raise GateFailed(f"{path} was changed: its checksum does not match the manifest")
