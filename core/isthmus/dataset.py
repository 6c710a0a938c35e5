"""Where domains come from: a URI such as ``npz:digits/usps.npz#split=test`` and its reader."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from isthmus.errors import BadInput, nearest

if TYPE_CHECKING:
    from isthmus.domain import Domain


@dataclass(frozen=True, kw_only=True)
class Location:
    """A parsed domain URI: ``scheme:path#key=value&key=value``."""

    scheme: str
    path: str
    options: Mapping[str, str] = field(default_factory=dict)
    root: Path | None = None  # where relative paths are tried after the working folder
    seed: int = 0  # for loaders that split or perturb at random

    @classmethod
    def parse(cls, uri: str, root: Path | None = None, seed: int = 0) -> Location:
        """Split a URI; ``root`` defaults to ``$ISTHMUS_DATA``."""
        scheme, colon, rest = uri.partition(":")
        if not colon or not scheme or not rest:
            raise BadInput(
                f"{uri!r} is not a domain: expected SCHEME:PATH, as in npz:data/mnist.npz",
                hint="isthmus datasets lists the schemes",
            )
        path, _, tail = rest.partition("#")
        options = {}
        for item in filter(None, tail.split("&")):
            key, equals, value = item.partition("=")
            if not equals:
                raise BadInput(f"{uri!r}: expected key=value after '#', got {item!r}")
            options[key] = value
        if root is None and (env := os.environ.get("ISTHMUS_DATA")):
            root = Path(env)
        return cls(scheme=scheme, path=path, options=options, root=root, seed=seed)

    def find(self) -> Path:
        """Return the file or folder: as given, or below the data root."""
        tried = [Path(self.path).expanduser()]
        if self.root is not None and not tried[0].is_absolute():
            tried.append(self.root / self.path)
        for path in tried:
            if path.exists():
                return path
        where = " nor ".join(str(p) for p in tried)
        raise BadInput(
            f"there is no {where}",
            hint="pass --data-root DIR or set ISTHMUS_DATA" if self.root is None else "",
        )


class Dataset(ABC):
    """A reader of domains under one URI scheme."""

    scheme: ClassVar[str]
    summary: ClassVar[str]
    options: ClassVar[Mapping[str, str]] = {}  # what may follow '#', and what it does

    @abstractmethod
    def load(self, location: Location) -> Domain:
        """Return a Labelled domain where the source has labels, else a Domain."""

    def check(self, location: Location) -> None:
        """Refuse options that this reader does not know."""
        for key in location.options:
            if key not in self.options:
                raise BadInput(
                    f"{self.scheme}: has no option {key!r}", hint=nearest(key, self.options)
                )
