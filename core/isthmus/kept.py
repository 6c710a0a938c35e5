"""What is costly to make again and harmless to lose: its folder, and vectors in files there."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import rows

ASKED = 500  # keys per question; SQLite bounds the number of parameters

Array = NDArray[np.float32]


def kept_folder() -> Path | None:
    """Return $ISTHMUS_CACHE, by default ~/.cache/isthmus; None when the variable is empty."""
    chosen = os.environ.get("ISTHMUS_CACHE")
    if chosen is None:
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "isthmus"
    return Path(chosen).expanduser() if chosen else None


def digest_of(said: str, state: Iterable[tuple[str, Any]]) -> str:
    """Return what names a file of vectors: what made them in words, and the tensors that did."""
    h = hashlib.sha256(said.encode())
    for name, value in state:
        h.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return h.hexdigest()[:32]


class KeptVectors:
    """Vectors by key in a SQLite file; without one it knows nothing and keeps nothing."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.path = Path()
        self.db: sqlite3.Connection | None = None

    @property
    def usable(self) -> bool:
        return self.db is not None

    def open(self, path: Path) -> None:
        self.path = path
        with self._trouble():
            path.parent.mkdir(parents=True, exist_ok=True)
            self.db = sqlite3.connect(path, timeout=60)
            self.db.execute("CREATE TABLE IF NOT EXISTS kept (key INTEGER PRIMARY KEY, v BLOB)")

    def read(self, keys: NDArray[np.int64], out: Array) -> NDArray[np.bool_]:
        """Fill the rows of ``out`` (n, d) that are known, and say which, bool (n,)."""
        found = np.zeros(len(keys), bool)
        if self.db is None:
            return found
        size = out.shape[1] * out.itemsize
        with self._trouble():
            for part in rows.chunks(len(keys), ASKED):
                asked = keys[part].tolist()
                marks = ",".join("?" * len(asked))
                known = dict(
                    self.db.execute(f"SELECT key, v FROM kept WHERE key IN ({marks})", asked)
                )
                hits = [i for i, k in enumerate(asked) if len(known.get(k, b"")) == size]
                if hits:
                    at = part.start + np.array(hits)
                    out[at] = np.stack([np.frombuffer(known[asked[i]], "<f4") for i in hits])
                    found[at] = True
        return found

    def write(self, keys: NDArray[np.int64], vectors: Array) -> None:
        if self.db is None:
            return
        pairs = zip(keys.tolist(), (v.tobytes() for v in vectors.astype("<f4")), strict=True)
        with self._trouble(), self.db as transaction:
            transaction.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?)", pairs)

    def fill(
        self,
        keys: NDArray[np.int64],
        out: Array,
        chunk: int,
        compute: Callable[[NDArray[np.int64]], Any],
    ) -> Iterator[int]:
        """Fill ``out`` (n, d) with what is kept, and else what ``compute`` gives for places (b,).

        Yield how many rows are done: after what is kept, and after each chunk.
        """
        missing = np.flatnonzero(~self.read(keys, out))
        for part in rows.chunks(len(missing), chunk):
            if len(at := missing[part]):
                out[at] = compute(at)
                self.write(keys[at], out[at])
            yield len(out) - len(missing) + part.stop

    def close(self) -> None:
        if self.db is not None:
            self.db.close()

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            self.close()
            self.db = None
            self.say(f"features are not kept: {self.path}: {error}")
