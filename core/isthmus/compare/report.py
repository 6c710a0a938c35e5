"""The report of a study: one HTML page that needs no network, pictures inside."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.compare.cell import Cell
from isthmus.compare.study import FLOOR
from isthmus.compare.summary import summarise

PACKAGES = ("isthmus", "torch", "scikit-learn", "numpy")
PICTURES = 12  # instances shown of each domain
Row = dict[str, Any]


def write_report(
    path: Path,
    title: str,
    cells: Sequence[Cell],
    *,
    notes: Sequence[str] = (),
    images: Mapping[str, Any] | None = None,
) -> None:
    """Write the page. ``images`` maps a caption to uint8 or 0..255 images (n, h, w, c)."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from isthmus.atomic import write_atomically

    environment = Environment(
        loader=PackageLoader("isthmus.compare"), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("report.html.j2").render(
        title=title,
        tasks=list(dict.fromkeys(c.task for c in cells)),
        rows=_rows(cells),
        troubles=[c for c in cells if c.status != "ok"],
        talkers=[c for c in cells if c.said],
        seeds=sorted({c.seed for c in cells}),
        evaluator=next((next(iter(c.scores)) for c in cells if c.scores), "score"),
        chart=gain_chart(summarise(cells)),
        notes=notes,
        pictures={name: _strip(x) for name, x in (images or {}).items()},
        versions={p: version(p) for p in PACKAGES},
        floor=FLOOR,
    )
    write_atomically(path, page.encode())


def gain_chart(summary: Sequence[Row]) -> str:
    """Draw the mean gain over source-only as horizontal bars, SVG text of about 3 kB."""
    bars = [r for r in summary if r["gain"] is not None and r["strategy"] != FLOOR]
    if not bars:
        return ""
    label, width, step = 190, 420, 26
    low, high = min(0.0, *(r["gain"] for r in bars)), max(0.0, *(r["gain"] for r in bars))
    scale = (width - 120) / ((high - low) or 1.0)  # 60 units on either side for the figures
    zero = label + 60 - low * scale
    out = []
    for i, r in enumerate(bars):
        y, x = i * step, zero + r["gain"] * scale
        side = "end" if r["gain"] < 0 else "start"
        out.append(
            f'<text x="{label - 8}" y="{y + 17}" text-anchor="end">{escape(r["strategy"])}</text>'
            f'<rect class="{"down" if r["gain"] < 0 else "up"}" x="{min(x, zero):.1f}" y="{y + 5}" '
            f'width="{max(abs(x - zero), 1):.1f}" height="16" rx="2"/>'
            f'<text x="{x + (-6 if side == "end" else 6):.1f}" y="{y + 17}" '
            f'text-anchor="{side}">{r["gain"]:+.3f}</text>'
        )
    height = len(bars) * step + 4
    axis = f'<line x1="{zero:.1f}" x2="{zero:.1f}" y1="0" y2="{height}"/>'
    return (
        f'<svg viewBox="0 0 {label + width} {height}" role="img" '
        f'aria-label="mean gain over {FLOOR}">{axis}{"".join(out)}</svg>'
    )


def _rows(cells: Sequence[Cell]) -> list[Row]:
    """Return a row per strategy with one entry per task: mean, spread over seeds, gain, trouble."""
    tasks = list(dict.fromkeys(c.task for c in cells))
    floor = {(c.task, c.seed): next(iter(c.scores.values())) for c in cells if _is_floor(c)}
    out = []
    for s in summarise(cells):
        entries = []
        for task in tasks:
            own = [c for c in cells if (c.strategy, c.task) == (s["strategy"], task)]
            values = [next(iter(c.scores.values())) for c in own if c.scores]
            gains = [
                next(iter(c.scores.values())) - floor[c.task, c.seed]
                for c in own
                if c.scores and (c.task, c.seed) in floor
            ]
            entries.append(
                {
                    "mean": float(np.mean(values)) if values else None,
                    "spread": float(np.std(values, ddof=1)) if len(values) > 1 else None,
                    "gain": float(np.mean(gains)) if gains else None,
                    "missing": sum(c.status != "ok" for c in own),
                    "planned": len(own),
                }
            )
        out.append({**s, "entries": entries})
    return out


def _is_floor(cell: Cell) -> bool:
    return cell.strategy == FLOOR and bool(cell.scores)


def _strip(x: Any) -> str:
    """Return a strip of images as a PNG data URI."""
    from PIL import Image

    x = np.asarray(x[np.arange(min(PICTURES, len(x)))]).clip(0, 255).round().astype(np.uint8)
    x = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 0)), constant_values=255)
    strip = np.concatenate(list(x), axis=1)
    image = Image.fromarray(strip[..., 0] if strip.shape[2] == 1 else strip)
    factor = max(1, round(40 / image.height))
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
