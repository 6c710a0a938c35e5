"""The folder for what is costly to make again and harmless to lose."""

from __future__ import annotations

import os
from pathlib import Path


def kept_folder() -> Path | None:
    """Return $ISTHMUS_CACHE, by default ~/.cache/isthmus; None when the variable is empty."""
    chosen = os.environ.get("ISTHMUS_CACHE")
    if chosen is None:
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "isthmus"
    return Path(chosen).expanduser() if chosen else None
