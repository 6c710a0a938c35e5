"""Where an ONNX file keeps its weights, read from the bytes: the operator needs no onnx package.

Protobuf's wire format is a list of (field number, value); only the few fields that lead to
``external_data`` are followed (onnx.proto3, ONNX 1.16 to 1.23).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from isthmus.errors import GateFailed

View: TypeAlias = memoryview

# message -> field number -> message
_FOLLOW = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "tensor": {13: "entry"},
}


def external_files(path: Path) -> set[str]:
    """Return the ``location`` of every tensor kept outside the file; empty for most models."""
    if not path.stat().st_size:
        raise GateFailed(f"{path.name} is empty")
    with path.open("rb") as file:  # the views keep the map alive, and it closes after them
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    try:
        return set(_walk(view, "model"))
    except (IndexError, RecursionError) as error:
        raise GateFailed(f"{path.name} is not a whole ONNX file") from error


def _walk(view: View, message: str) -> Iterator[str]:
    for number, value in _fields(view):
        child = _FOLLOW[message].get(number)
        if child == "entry":
            entry = {k: bytes(v).decode(errors="replace") for k, v in _fields(value)}
            if entry.get(1) == "location":
                yield entry.get(2, "")
        elif child:
            yield from _walk(value, child)


def _fields(view: View) -> Iterator[tuple[int, View]]:
    """Yield field numbers and the bytes of length-delimited fields; numbers are skipped."""
    at = 0
    while at < len(view):
        tag, at = _varint(view, at)
        kind = tag & 7
        if kind == 0:
            _, at = _varint(view, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        elif kind == 2:
            size, at = _varint(view, at)
            if at + size > len(view):
                raise IndexError
            yield tag >> 3, view[at : at + size]
            at += size
        else:
            raise IndexError


def _varint(view: View, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = view[at]
        value, at, shift = value | (byte & 127) << shift, at + 1, shift + 7
        if byte < 128:
            return value, at
    raise IndexError
