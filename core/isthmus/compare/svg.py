"""What the figures share: marks, ticks and labels that do not cover each other, as SVG text."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from math import ceil, floor, inf, log10

CHARACTER = 7.3  # units of a wide font's character at the 12.5 units of the page's SVG text
Box = tuple[float, float, float, float]  # left, top, right, bottom


def place_labels(
    at: Mapping[str, tuple[float, float]], said: Mapping[str, str], frame: Box
) -> dict[str, tuple[Box, bool]]:
    """Find each name a box that covers no point and no other box: near its point or led to it."""
    taken: list[Box] = [(x - 5, y - 5, x + 5, y + 5) for x, y in at.values()]
    found: dict[str, tuple[Box, bool]] = {}
    for name, (x, y) in at.items():
        w = text_width(said[name])
        for away, (dx, dy) in enumerate(_offsets(w)):
            box = (x + dx, y + dy - 8, x + dx + w, y + dy + 7)
            inside = (
                box[0] >= frame[0]
                and box[2] <= frame[2]
                and box[1] >= frame[1]
                and box[3] <= frame[3]
            )
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                found[name] = box, away >= 4
                break
    return found


def _offsets(w: float) -> Iterable[tuple[float, float]]:
    yield from ((5, -13), (9, 0), (-w - 9, 0), (-w / 2, 15))
    for d in (18, 30, 44):
        yield from ((d, -d / 1.5), (d, d / 1.5), (-w - d, -d / 1.5), (-w - d, d / 1.5))
        yield from ((-w / 2, -d), (-w / 2, d))


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def levels(spans: Sequence[tuple[int, int]]) -> list[int]:
    """Return for each span the lowest level where it meets none of those before it."""
    ends: list[int] = []
    out = []
    for first, last in spans:
        level = next((i for i, end in enumerate(ends) if end < first), len(ends))
        ends[level : level + 1] = [last]
        out.append(level)
    return out


def mark(kind: str, x: float, y: float, more: str = "") -> str:
    if kind == "diamond":
        return f'<path class="mark ring {more}" d="M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6Z"/>'
    return f'<circle class="mark {kind} {more}" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'


def grid_line(x: float, top: float, bottom: float, text: str) -> str:
    return (
        f'<path class="grid" d="M{x:.1f} {top}V{bottom}"/>'
        f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{text}</text>'
    )


def with_room(low: float, high: float) -> tuple[float, float]:
    pad = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return low - pad, high + pad


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return at most ``most`` multiples of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** floor(log10((high - low) / most))
    step = next(
        s for s in (power, 2 * power, 5 * power, 10 * power, inf) if (high - low) / s < most
    )
    return [round(i * step, 12) for i in range(ceil(low / step), floor(high / step) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    decades = range(floor(low), ceil(high) + 1)
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)):
        ticks = [m * 10.0**d for d in decades for m in digits if low <= log10(m * 10.0**d) <= high]
        if len(ticks) >= 3:
            return ticks
    return [10**low, 10**high]


def text_width(text: str) -> float:
    return CHARACTER * sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def cut(text: str, most: int) -> str:
    """Shorten in the middle: the points of a grid differ at the end of their names."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[len(text) - most // 2 + 1 :]}"


def label(text: str, most: int) -> str:
    shown = escape(cut(text, most))
    return shown if len(text) <= most else f"<title>{escape(text)}</title>{shown}"


def svg(width: float, height: float, name: str, parts: Iterable[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
        f'style="max-width:{1.2 * width:.0f}px" role="img" aria-label="{escape(name)}">'
        f"{''.join(parts)}</svg>"
    )
