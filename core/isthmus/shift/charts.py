"""The pictures of an inspection as SVG text: a scatter, and bars with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.shift.columns import Column
from isthmus.shift.priors import Priors

WIDTH, LABEL, STEP = 640, 200, 24
CLASSES = 30  # drawn at most, those whose share changes most
LONGEST = 28  # characters of a label


def scatter(source: NDArray[Any], target: NDArray[Any]) -> str:
    """Draw points (n, 2) of both domains in one plane, one unit alike on both axes."""
    both = np.concatenate([source, target])
    low, high = np.quantile(both, [0.005, 0.995], axis=0)  # what lies beyond sits on the edge
    scale = min(620 / max(high[0] - low[0], 1e-9), 360 / max(high[1] - low[1], 1e-9))
    height = max(120, 20 + scale * (high[1] - low[1]))
    out = []
    for points, name in ((source, "source"), (target, "target")):
        at = (points.clip(low, high) - low) * scale + 10
        # One path per domain: a circle element per point would be three times the text.
        dots = "".join(f"M{x:.1f} {height - y:.1f}h0" for x, y in at)
        out.append(f'<path class="dots {name}" d="{dots}"/>')
    return _svg(height, "rows of both domains on two principal axes", "".join(out))


def column_bars(columns: Sequence[Column]) -> str:
    """Draw how far each column has moved, in standard deviations."""
    out, top = [], max([c.moved for c in columns], default=0.0) or 1.0
    for i, c in enumerate(columns):
        y, width = i * STEP, c.moved / top * (WIDTH - LABEL - 170)
        out.append(
            f"{_label(c.name, y)}"
            f'<rect class="target" x="{LABEL}" y="{y + 4}" width="{max(width, 1):.1f}" '
            'height="15" rx="2"/>'
            f'<text x="{LABEL + width + 6:.1f}" y="{y + 16}">{c.moved:.2f}'
            f'<tspan class="soft"> KS {c.ks:.2f}, d {c.cohens_d:+.2f}</tspan></text>'
        )
    return _svg(len(columns) * STEP + 4, "columns that differ most", "".join(out))


def class_bars(classes: Sequence[str], priors: Priors) -> str:
    """Draw the source's share and the estimated target share of each class, with its interval.

    An estimate that is not to be relied on is drawn pale.
    """
    change = np.abs(np.subtract(priors.target, priors.source))
    chosen = np.sort(np.argsort(-change, kind="stable")[:CLASSES])
    top = max(max(priors.high), max(priors.source), 1e-9)
    known = "target" if priors.verdict in ("none shown", "label shift") else "target doubt"
    scale, step, out = (WIDTH - LABEL - 120) / top, 36, []
    for i, c in enumerate(chosen):
        y = i * step
        own, found = priors.source[c] * scale, priors.target[c] * scale
        low, high = LABEL + priors.low[c] * scale, LABEL + priors.high[c] * scale
        out.append(
            f"{_label(classes[c], y + 6)}"
            f'<rect class="source" x="{LABEL}" y="{y + 3}" width="{max(own, 1):.1f}" '
            'height="12"/>'
            f'<rect class="{known}" x="{LABEL}" y="{y + 16}" width="{max(found, 1):.1f}" '
            'height="12"/>'
            f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y + 22}" y2="{y + 22}"/>'
            f'<line x1="{low:.1f}" x2="{low:.1f}" y1="{y + 18}" y2="{y + 26}"/>'
            f'<line x1="{high:.1f}" x2="{high:.1f}" y1="{y + 18}" y2="{y + 26}"/>'
            f'<text x="{max(LABEL + own, high) + 8:.1f}" y="{y + 20}">'
            f"{priors.source[c]:.1%} → {priors.target[c]:.1%}</text>"
        )
    return _svg(len(chosen) * step + 4, "class shares", "".join(out))


def _label(text: str, y: float) -> str:
    short = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return f'<text x="{LABEL - 8}" y="{y + 16}" text-anchor="end">{escape(short)}</text>'


def _svg(height: float, label: str, body: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}">'
        f"{body}</svg>"
    )
