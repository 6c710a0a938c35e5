"""Features of a pretrained network, computed once per image and kept on disk.

One SQLite file per network holds one vector per image, found by the image's content: what is kept
serves any domain, split, seed and order of rows, and a killed run goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isthmus import rows
from isthmus.kept import KeptVectors, digest_of, kept_folder
from isthmus.learners.backbones import Pretrained
from isthmus.learners.network import Network
from isthmus.strategy import Run
from isthmus.tensors import as_tensor

CHUNK = 64  # images per forward pass, and per transaction

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

        def features(at: NDArray[np.int64]) -> Array:
            images = as_tensor(rows.take(x, at)[:]).to(net.head.weight.device)
            return np.asarray(net.encode(net.prepare(images)).float().cpu().numpy())

        for done in kept.fill(keys, out, CHUNK, features):
            run.progress(f"embed {name}", done, n)
    return out


@contextmanager
def _opened(net: Network, x: Any, run: Run) -> Iterator[KeptVectors]:
    kept, folder = KeptVectors(run.say), kept_folder()
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
    encoder = ((k, v) for k, v in net.state_dict().items() if not k.startswith("head."))
    return digest_of(json.dumps(made + where), encoder)
