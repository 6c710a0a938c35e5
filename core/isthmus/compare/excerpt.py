"""Sentences of many cells, alike ones together: a report shows the kinds, with examples."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isfinite

from isthmus.compare.cell import Cell

KINDS = 36  # shown
PLACES = 6  # cells named for each kind
TRACEBACK = 4_000  # characters, from its end
FIRST = ("failed", "timeout", "missing", "ok", "refused")  # what must be mended comes first


@dataclass
class Kind:
    """Sentences that differ in their numbers only; ``text`` and ``full`` are those of the first."""

    status: str
    text: str  # its last line: of a traceback the error
    full: str
    count: int = 0
    cells: list[Cell] = field(default_factory=list)


@dataclass(frozen=True)
class Excerpt:
    kinds: list[Kind]
    left_out: int  # kinds
    total: int  # sentences


def troubles(cells: Sequence[Cell], score: str) -> Excerpt:
    """Say why cells have no result, and which scores the others lack."""
    lost: list[tuple[str, str, Cell]]
    lost = [(c.status, c.reason, c) for c in cells if c.status != "ok"]
    lost += [
        (c.status, f"no {name}: {why}", c)
        for c in cells
        if c.status == "ok"
        for name, why in {**_unsaid(c, score), **c.unscored}.items()
    ]
    return _excerpt(lost)


def sayings(cells: Sequence[Cell]) -> Excerpt:
    return _excerpt((c.strategy, sentence, c) for c in cells for sentence in c.said)


def _unsaid(cell: Cell, score: str) -> dict[str, str]:
    if score in cell.scores:
        found = cell.scores[score]
        return {} if isfinite(found) else {score: f"it came out as {found}"}
    return {score or "score": "no reason was given"}


def _excerpt(items: Iterable[tuple[str, str, Cell]]) -> Excerpt:
    kinds: dict[tuple[str, str], Kind] = {}
    for what, text, cell in items:
        last = (text.strip().splitlines() or ["no reason was given"])[-1]
        key = what, re.sub(r"\d+(\.\d+)?", "0", last)
        kind = kinds.setdefault(key, Kind(cell.status, last[:TRACEBACK], text[-TRACEBACK:].strip()))
        kind.count += 1
        if len(kind.cells) < PLACES:
            kind.cells.append(cell)
    found = sorted(kinds.values(), key=lambda k: (FIRST.index(k.status), -k.count))
    return Excerpt(found[:KINDS], max(len(found) - KINDS, 0), sum(k.count for k in found))
