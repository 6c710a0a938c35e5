"""Plugins of a study that are not installed: a method in a file beside it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from isthmus.errors import BadInput


def load_module(name: str) -> Any:
    """Import a plugin of the study: a module by name, or a file by path."""
    if not name.endswith(".py"):
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise BadInput(f"plugin {name}: {error}") from error
    path = Path(name)
    if (loaded := sys.modules.get(path.stem)) is not None:
        if Path(getattr(loaded, "__file__", None) or "").resolve() == path.resolve():
            return loaded
        raise BadInput(f"plugin {path}: a module {path.stem!r} exists already; rename the file")
    found = importlib.util.spec_from_file_location(path.stem, path)
    if found is None or found.loader is None or not path.is_file():
        raise BadInput(f"plugin {path}: there is no such file")
    module = importlib.util.module_from_spec(found)
    sys.modules[path.stem] = module
    try:
        found.loader.exec_module(module)
    except Exception as error:
        del sys.modules[path.stem]
        raise BadInput(f"plugin {path}: {type(error).__name__}: {error}") from error
    return module
