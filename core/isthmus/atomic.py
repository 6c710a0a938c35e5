"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from isthmus.errors import BadInput


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside the file, then rename: a killed process leaves the old file or the new."""
    write_together({path: data})


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write all files beside their places before the first is renamed: a full disk harms none."""
    beside = {path: path.with_name(f".{path.name}.{os.getpid()}") for path in contents}
    try:
        for path, data in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with beside[path].open("wb") as f:
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
        for path in contents:
            beside[path].replace(path)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror}") from error
    finally:
        for written in beside.values():
            with suppress(OSError):
                written.unlink(missing_ok=True)
