"""What ``isthmus adapt`` finds in its folder: nothing, what a kill left, or a finished model."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isthmus.domain import Task
from isthmus.errors import BadInput


def clear(out: Path, resume: bool, overwrite: bool) -> None:
    """Refuse to write over something, unless asked to."""
    from isthmus.artefact import KNOWN_FILES, foreign

    if not out.exists():
        return
    if not out.is_dir():
        raise BadInput(f"--out {out} is a file, expected a folder")
    if unknown := foreign(out):
        raise BadInput(f"--out {out} holds {unknown[0]!r}, which is not of an adapted model")
    if resume:
        return
    here = [out / name for name in sorted(KNOWN_FILES) if (out / name).exists()]
    if here and not overwrite:
        done = (out / "adapted.json").exists()
        raise BadInput(
            f"--out {out} already holds {'an adapted model' if done else 'an unfinished run'}",
            hint="add --overwrite" + ("" if done else " or --resume") + ", or take another folder",
        )
    for path in here:  # and nothing that hides beside them
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def key_of(question: Mapping[str, Any], task: Task) -> str:
    """Return what identifies an adaptation: what was asked for, and the content of its data."""
    from isthmus import rows

    given = [*task.sources, *([task.support] if task.support else []), task.target]
    contents = [rows.fingerprint(d.x, getattr(d, "y", None)) for d in given]
    text = json.dumps([question, contents], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def finished(out: Path, key: str) -> tuple[dict[str, Any], Mapping[str, Any]] | None:
    """Return record and diagnostics of the folder's model, if any; it must be of this ``key``."""
    if not (out / "adapted.json").is_file():
        return None
    from isthmus.artefact import load

    adapted, record = load(out)
    if record.get("key") != key:
        raise BadInput(
            f"--out {out} already holds a model that was adapted in another way, or on other data",
            hint="add --overwrite instead of --resume, or take another folder",
        )
    return record, adapted.diagnostics


def weights_of(start: Path) -> str:
    """Return the SHA-256 of an adapted model's weights, which ``artefact.load`` has compared."""
    from isthmus.artefact import FORMAT
    from isthmus.sealed import read_sealed

    return str(read_sealed(start / "adapted.json", FORMAT)["weights"])
