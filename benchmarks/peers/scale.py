"""What ours cost as rows grow: time and memory of one adaptation at the defaults."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import pairwise
from math import log10
from pathlib import Path
from typing import Any

from data import COLUMNS, drawn, saved
from measure import Ledger, Worker
from venvs import OURS

from isthmus.compare.svg import log_ticks, svg

LIBRARIES = (OURS,)
SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 1_000_000)
LINEAR = ("coral", "subspace-alignment", "linear-monge")  # those that go beyond 100,000
FIGURE = Path(__file__).with_name("cost.svg")
HUES = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2")
DASHES, LINE = ("none", "6 3", "2 2", "8 3 2 3"), 15
STYLE = (
    "<style>text{font:12px system-ui,sans-serif;fill:#555}.grid{stroke:#8884;fill:none}"
    ".lead{stroke:#8888;fill:none;stroke-width:.6}"
    "polyline{fill:none;stroke-width:1.6}</style>"
)


def run(ledger: Ledger, workers: dict[str, Worker], options: Any) -> None:
    for n in SIZES:
        data = saved(options.out / "data" / f"drawn-{n}.npz", lambda n=n: drawn(n))
        for method, settings in workers[OURS].methods.items():
            if "default" not in settings or (n > 100_000 and method not in LINEAR):
                continue
            cell = {
                "part": "scale",
                "library": OURS,
                "method": method,
                "setting": "default",
                "problem": f"{n}+{n}",
                "rows": n,
                "threads": options.threads,
                "limit": 10 * options.limit,
                "data": str(data),
            }
            ledger.fill(workers[OURS], cell)


def tables(ledger: Ledger, options: Any) -> Iterator[str]:
    """Yield Markdown, and draw the figure."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for r in ledger.of(part="scale", threads=options.threads, limit=10 * options.limit):
        found.setdefault(r["cell"]["method"], {})[r["cell"]["rows"]] = r
    said = f"n + n rows of {COLUMNS} columns: seconds / MB added by one adaptation.\n"
    yield from grid(found, said)
    FIGURE.write_text(figure(drawable(found)) + "\n")


def grid(found: dict[str, dict[int, dict[str, Any]]], said: str) -> Iterator[str]:
    """Yield a table of methods and rows."""
    yield said
    yield "| | " + " | ".join(f"{n:,}" for n in SIZES) + " |"
    yield "|---|" + "---|" * len(SIZES)
    for method, by_size in sorted(found.items()):
        cells = [_cell(by_size.get(n)) for n in SIZES]
        yield f"| {method} | " + " | ".join(cells) + " |"


def drawable(found: dict[str, dict[int, dict[str, Any]]]) -> dict[str, dict[int, dict[str, Any]]]:
    """Return what a line can be drawn of: more than one size that was finished."""
    lines = {
        m: {n: r for n, r in sorted(by.items()) if r["status"] == "ok"} for m, by in found.items()
    }
    return {m: by for m, by in lines.items() if len(by) > 1}


def _cell(record: dict[str, Any] | None) -> str:
    if record is None:
        return ""
    if record["status"] != "ok":
        return record["status"]
    return f"{record['fit_s']:.2g} / {record['growth_mb']:.0f}"


def figure(lines: dict[str, dict[int, dict[str, Any]]]) -> str:
    """Draw time and memory against rows on logarithmic axes, side by side."""
    left, top, width, height, gap = 50, 30, 440, 460, 210
    parts = [STYLE]
    for i, (what, title) in enumerate((("fit_s", "seconds"), ("growth_mb", "MB added"))):
        x0 = left + i * (width + gap)
        points = {
            m: [(log10(n), log10(max(r[what], 0.001 if i == 0 else 1))) for n, r in by.items()]
            for m, by in lines.items()
        }
        ys = [y for line in points.values() for _, y in line]
        low, high, first, last = min(ys), max(ys), log10(SIZES[0]), log10(SIZES[-1])

        def at(p: tuple[float, float], x0: int = x0, low: float = low, high: float = high) -> Any:
            across = (p[0] - log10(SIZES[0])) / log10(SIZES[-1] / SIZES[0])
            return x0 + across * width, top + (high - p[1]) / (high - low) * height

        for v in log_ticks(first, last):
            x, _ = at((log10(v), low))
            parts.append(f'<path class="grid" d="M{x:.1f} {top}V{top + height}"/>')
            parts.append(
                f'<text x="{x:.1f}" y="{top + height + 16}" text-anchor="middle">{v:g}</text>'
            )
        for v in log_ticks(low, high):
            _, y = at((first, log10(v)))
            parts.append(f'<path class="grid" d="M{x0} {y:.1f}H{x0 + width}"/>')
            parts.append(f'<text x="{x0 - 6}" y="{y + 4:.1f}" text-anchor="end">{v:g}</text>')
        parts.append(f'<text x="{x0}" y="16">{title}, against rows of each domain</text>')
        ends = {m: at(line[-1]) for m, line in points.items()}
        heights = column([y for _, y in ends.values()], top, top + height)
        hues = {m: i for i, m in enumerate(sorted(points))}
        for (m, (x, y)), beside in zip(ends.items(), heights, strict=True):
            colour = HUES[hues[m] % len(HUES)]
            dash = f' stroke-dasharray="{DASHES[hues[m] // len(HUES) % len(DASHES)]}"'
            where = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, points[m]))
            parts.append(f'<polyline points="{where}" stroke="{colour}"{dash}/>')
            parts.append(
                f'<path class="lead" d="M{x:.1f} {y:.1f}L{x0 + width + 18} {beside:.1f}"/>'
                f'<text x="{x0 + width + 22}" y="{beside + 4:.1f}" style="fill:{colour}">'
                f"{escape(m)}</text>"
            )
    whole = svg(2 * (width + gap) + left, top + height + 26, "Cost against rows", parts)
    return whole.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)


def column(wanted: list[float], top: float, bottom: float) -> list[float]:
    """Return heights near those that are wanted, a line of text apart from each other."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    out = list(wanted)
    for before, i in pairwise([None, *order]):
        out[i] = max(wanted[i], top if before is None else out[before] + LINE)
    limit = bottom
    for i in reversed(order):
        out[i] = min(out[i], limit)
        limit = out[i] - LINE
    return out
