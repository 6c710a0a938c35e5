"""What users hand to a predictor, brought to what the graph takes, or refused in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import BadInput

_LUMA = np.array([19595, 38470, 7471], np.uint32)  # ITU-R BT.601 in 1/65536, as Pillow rounds it
_COLOURS = {1: "grey", 3: "RGB"}


def numbers(x: Any, spec: Mapping[str, Any], start: int = 0) -> NDArray[Any]:
    """Return rows of finite numbers in the dtype and shape of ``spec``, an input of the manifest.

    ``start`` is the number of the first row, for messages.
    """
    if hasattr(x, "toarray"):  # SciPy's sparse matrices
        x = x.toarray()
    x = np.asarray(x)
    dims, dtype = spec["dims"], np.dtype(spec["dtype"])
    wanted = f"expected {spec['dtype']} ({', '.join(map(str, dims))})"
    if x.dtype.kind not in "biuf":
        raise BadInput(f"{spec['name']} has dtype {x.dtype}, {wanted}")
    fixed = {axis: size for axis, size in enumerate(dims) if isinstance(size, int)}
    if x.ndim != len(dims) or any(x.shape[axis] != size for axis, size in fixed.items()):
        hint = "one row needs two brackets: [[...]]" if x.ndim == len(dims) - 1 else ""
        raise BadInput(f"{spec['name']} has shape {x.shape}, {wanted}", hint=hint)
    if dtype.kind in "iu":
        if x.dtype.kind == "f":
            raise BadInput(f"{spec['name']} has dtype {x.dtype}, {wanted}")
        return np.ascontiguousarray(x, dtype)
    with np.errstate(over="ignore"):  # becomes infinity, which is refused below
        out: NDArray[Any] = np.ascontiguousarray(x, dtype)
    if not (good := np.isfinite(out)).all():
        at = np.argwhere(~good)[0]
        raise BadInput(
            f"{spec['name']} has NaN or infinity in row {start + at[0]}, column {at[1:].tolist()}",
            hint="fill or drop missing values first",
        )
    return out


def edges(value: Any, n: int) -> NDArray[np.int64]:
    """Return edges int64 (2, m) that name only nodes 0 to n - 1."""
    e = np.asarray(value)
    if e.ndim != 2 or e.shape[0] != 2:
        hint = "transpose them" if e.ndim == 2 and e.shape[1] == 2 else ""
        raise BadInput(f"edges have shape {e.shape}, expected (2, m)", hint=hint)
    if e.size and e.dtype.kind not in "iu":
        raise BadInput(f"edges have dtype {e.dtype}, expected integers")
    if e.size and not (e.min() >= 0 and e.max() < n):
        bad = e.min() if e.min() < 0 else e.max()
        raise BadInput(f"edges name node {bad}, but there are {n} nodes, numbered from 0")
    return np.ascontiguousarray(e, np.int64)


def image(value: Any, spec: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Return one uint8 image (height, width, channels) in the colours and size of the graph."""
    x = np.asarray(value)
    height, width, channels = spec["dims"][1:]
    wanted = f"expected uint8 (height, width, {channels}) {_COLOURS.get(channels, '')}".rstrip()
    if x.ndim == 2:
        x = x[..., None]
    if x.ndim == 3 and x.shape[2] not in _COLOURS and x.shape[0] in _COLOURS:
        raise BadInput(
            f"an image has shape {x.shape}, channels first, {wanted}",
            hint="numpy.moveaxis(x, -3, -1) puts the channels last",
        )
    if x.ndim != 3 or x.shape[2] not in (*_COLOURS, channels):
        raise BadInput(f"an image has shape {x.shape}, {wanted}")
    if x.dtype != np.uint8:
        raise BadInput(
            f"an image has dtype {x.dtype} and shape {x.shape}, {wanted}",
            hint="pixels run from 0 to 255; the graph normalises them itself",
        )
    if 0 in x.shape:
        raise BadInput(f"an image is empty: its shape is {x.shape}")
    for name, got, size in (("height", x.shape[0], height), ("width", x.shape[1], width)):
        if isinstance(size, int) and got != size:
            raise BadInput(
                f"an image has {name} {got}, expected {size}: this graph does not resize"
            )
    return recolour(x, channels)


def recolour(x: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Bring uint8 images (..., 1 or 3) to 1 or 3 channels: grey is repeated, RGB becomes luma."""
    if x.shape[-1] == channels:
        return x
    if x.shape[-1] == 1:
        return np.repeat(x, channels, axis=-1)
    if channels == 1 and x.shape[-1] == 3:
        luma = (x.astype(np.uint32) * _LUMA).sum(-1, keepdims=True, dtype=np.uint32)
        return np.asarray((luma + 0x8000) >> 16, np.uint8)
    raise BadInput(f"images have {x.shape[-1]} channels, expected {channels}")
