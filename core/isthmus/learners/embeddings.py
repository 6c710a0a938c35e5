"""Features of a pretrained network, computed once per image and kept on disk.

One SQLite file per network holds one vector per image, found by the image's content: what is kept
serves any domain, split, seed and order of rows, and a killed run goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isthmus import rows
from isthmus.artefact import as_tensor
from isthmus.kept import kept_folder
from isthmus.learners.backbones import Pretrained
from isthmus.learners.network import Network
from isthmus.strategy import Run

CHUNK = 64  # images per forward pass, and per transaction
ASKED = 500  # keys per question; SQLite bounds the number of parameters

Array = NDArray[np.float32]


def embed(net: Network, x: Any, run: Run, name: str) -> Array:
    """Return the features of images (n, h, w, c) as float32 (n, net.width).

    Those of a pretrained network are kept (see ``kept_folder``), 4 bytes per value; of any other
    network they are computed each time. A file that cannot be read or written costs its use.
    """
    n, width = rows.count(x), net.width
    out = np.empty((n, width), np.float32)
    with torch.inference_mode(), _opened(net, x, run) as kept:
        keys = rows.row_keys(x).view(np.int64) if kept.usable else np.zeros(n, np.int64)
        missing = np.flatnonzero(~kept.read(keys, out))
        for part in rows.chunks(len(missing), CHUNK):
            if len(at := missing[part]):
                images = as_tensor(rows.take(x, at)[:]).to(net.head.weight.device)
                out[at] = net.encode(net.prepare(images)).float().cpu().numpy()
                kept.write(keys[at], out[at])
            run.progress(f"embed {name}", n - len(missing) + part.stop, n)
    return out


class _Kept:
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


@contextmanager
def _opened(net: Network, x: Any, run: Run) -> Iterator[_Kept]:
    kept, folder = _Kept(run.say), kept_folder()
    if folder is not None and _pretrained(net):
        kept.open(folder / "embeddings" / f"{_digest(net, x)}.sqlite")
    try:
        yield kept
    finally:
        kept.close()


def _pretrained(net: Network) -> bool:
    weights = getattr(net.architecture, "weights", "none")
    return weights != "none" and any(isinstance(m, Pretrained) for m in net.modules())


def _digest(net: Network, x: Any) -> str:
    """Return what fixes the features of given bytes: weights, sizes, versions, kind of device."""
    raw = getattr(x, "raw", x)
    sizes = (*raw.shape[1:], *x.shape[1:], str(raw.dtype) if isinstance(raw, np.ndarray) else "")
    made = [net.settings()["architecture"], net.preprocessing(), sizes]
    where = [net.head.weight.device.type, torch.__version__]
    h = hashlib.sha256(json.dumps(made + where).encode())
    for name, value in net.state_dict().items():
        if not name.startswith("head."):
            h.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return h.hexdigest()[:32]
