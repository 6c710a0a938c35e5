"""The figures of a report: SVG text that takes its colours from the page's classes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, log10
from typing import Any

from isthmus.compare.per_task import decimals
from isthmus.compare.ranking import Ranking
from isthmus.compare.study import FLOOR
from isthmus.compare.svg import (
    cut,
    grid_line,
    label,
    levels,
    log_ticks,
    mark,
    place_labels,
    svg,
    text_width,
    ticks,
    with_room,
)

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Point:
    """A strategy in the plot of score against cost; ``rival`` ones may be on the front."""

    name: str
    seconds: float
    score: float
    rival: bool = True
    short: str = ""  # what stands beside the point in place of the name
    kind: str = "dot"  # dot, ring (some tasks lack) or diamond (an oracle)


def gain_chart(summary: Sequence[Row], *, digits: int | None = None) -> str:
    """Draw the gain over source-only with its 95 % interval, one line per strategy, or nothing."""
    rows = [r for r in summary if r["gain"] is not None and r["strategy"] != FLOOR]
    if not rows:
        return ""
    ends = [v for r in rows for v in (r["gain"], r["low"], r["high"]) if v is not None]
    digits = decimals(ends) if digits is None else digits
    left = 24 + max(text_width(cut(r["strategy"], 28)) for r in rows)
    plot, step, top = 380, 24, 8
    low, high = with_room(min(0.0, *ends), max(0.0, *ends))
    scale = plot / (high - low)

    def x(value: float) -> float:
        return left + (value - low) * scale

    bottom = top + step * len(rows)
    out = [grid_line(x(v), top, bottom, f"{v:+g}" if v else "0") for v in ticks(low, high)]
    out.append(f'<path class="zero" d="M{x(0):.1f} {top}V{bottom}"/>')
    for i, r in enumerate(rows):
        y, side = top + (i + 0.5) * step, "up" if r["gain"] >= 0 else "down"
        said = f"{r['gain']:+.{digits}f}"
        line = ""
        if r["low"] is not None and r["high"] is not None:
            said += f" [{r['low']:+.{digits}f}, {r['high']:+.{digits}f}]"
            line = f'<path class="interval" d="M{x(r["low"]):.1f} {y}H{x(r["high"]):.1f}"/>'
        shown = r["claim"] in ("better", "worse")
        kind = "diamond" if r["oracle"] else "dot" if shown else "ring"
        out.append(
            f'<g class="{side}"><text x="{left - 12}" y="{y + 4}" text-anchor="end">'
            f"{label(r['strategy'], 28)}</text>{line}{mark(kind, x(r['gain']), y)}"
            f'<text class="figure" x="{left + plot + 14}" y="{y + 4}">{said}</text></g>'
        )
    return svg(left + plot + 190, bottom + 22, f"Gain over {FLOOR} with 95 % intervals", out)


def critical_difference(ranking: Ranking) -> str:
    """Draw mean ranks on an axis, best on the left; bars join what is not shown to differ."""
    names, ranks, k = ranking.strategies, ranking.ranks, len(ranking.strategies)
    side = 70 + max(text_width(cut(name, 26)) for name in names)
    axis, step = 380, 20
    first, last = 1.0, float(max(k, 2))
    scale = axis / (last - first)

    def x(rank: float) -> float:
        return side + (rank - first) * scale

    heights = levels(ranking.cliques)
    top, bars = 46, 10 + 7 * (max(heights, default=-1) + 1)
    out = [f'<path class="axis" d="M{x(first):.1f} {top}H{x(last):.1f}"/>']
    for v in range(1, k + 1, ceil(k / 12)):
        out.append(f'<path class="axis" d="M{x(v):.1f} {top - 5}V{top}"/>')
        out.append(f'<text x="{x(v):.1f}" y="{top - 9}" text-anchor="middle">{v}</text>')
    if ranking.critical_difference < last - first:
        ruler = x(first + ranking.critical_difference)
        out.append(
            f'<path class="ruler" d="M{x(first):.1f} 10V16M{x(first):.1f} 13H{ruler:.1f}V10V16"/>'
        )
        out.append(
            f'<text x="{ruler + 8:.1f}" y="17">critical difference '
            f"{ranking.critical_difference:.2f}</text>"
        )
    half = ceil(k / 2)
    for i, (name, rank) in enumerate(zip(names, ranks, strict=True)):
        left = i < half
        y = top + bars + step * (i if left else k - 1 - i) + 8
        edge, anchor, text = (
            (side - 8, "end", side - 14)
            if left
            else (
                side + axis + 8,
                "start",
                side + axis + 14,
            )
        )
        out.append(f'<path class="lead" d="M{x(rank):.1f} {top}V{y}H{edge}"/>')
        out.append(
            f'<text x="{text}" y="{y + 4}" text-anchor="{anchor}">{label(name, 26)}'
            f'<tspan class="figure"> {rank:.2f}</tspan></text>'
        )
    for (a, b), level in zip(ranking.cliques, heights, strict=True):
        y = top + 9 + 7 * level
        out.append(f'<path class="clique" d="M{x(ranks[a]) - 3:.1f} {y}H{x(ranks[b]) + 3:.1f}"/>')
    height = top + bars + step * half + 10
    return svg(2 * side + axis, height, f"Critical difference diagram of {k} mean ranks", out)


def pareto_plot(
    points: Sequence[Point], front: Collection[str], *, score: str
) -> tuple[str, list[str]]:
    """Draw score against seconds (log), and return the names for which there was no room."""
    points = [p for p in points if p.seconds > 0]
    if not points:
        return "", []
    left, top, width, height = 64, 34, 640, 370
    times, scores = [log10(p.seconds) for p in points], [p.score for p in points]
    t0, t1 = with_room(min(times), max(times))
    s0, s1 = with_room(min(scores), max(scores))
    at = {
        p.name: (left + (t - t0) / (t1 - t0) * width, top + (s1 - p.score) / (s1 - s0) * height)
        for p, t in zip(points, times, strict=True)
    }
    bottom = top + height
    out = [
        grid_line(left + (log10(v) - t0) / (t1 - t0) * width, top, bottom, f"{v:g}")
        for v in log_ticks(t0, t1)
    ]
    for v in ticks(s0, s1):
        y = top + (s1 - v) / (s1 - s0) * height
        out.append(f'<path class="grid" d="M{left} {y:.1f}H{left + width}"/>')
        out.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{v:g}</text>')
    out.append(
        f'<text x="{left + width}" y="{bottom + 34}" text-anchor="end">'
        "seconds per cell, log scale</text>"
    )
    out.append(f'<text x="4" y="16">mean {label(score, 40)}</text>')
    best = sorted((at[p.name] for p in points if p.name in front), key=lambda xy: xy[0])
    if best:
        steps = "".join(f"H{b[0]:.1f}V{b[1]:.1f}" for _, b in pairwise(best))
        out.append(
            f'<path class="front" d="M{best[0][0]:.1f} {best[0][1]:.1f}{steps}H{left + width}"/>'
        )
    ordered = sorted(points, key=lambda p: (p.name not in front, p.name != FLOOR, p.rival))
    out += [mark(p.kind, *at[p.name], "on" if p.name in front else "off") for p in points]
    said = {p.name: p.short or cut(p.name, 24) for p in points}
    labels = place_labels(
        {p.name: at[p.name] for p in ordered}, said, (left, top, left + width, bottom)
    )
    for name, (box, away) in labels.items():
        if away:
            x, y = at[name]
            out.append(
                f'<path class="lead" d="M{x:.1f} {y:.1f}L{min(max(x, box[0]), box[2]):.1f} '
                f'{min(max(y, box[1]), box[3]):.1f}"/>'
            )
        out.append(
            f'<text class="halo {"on" if name in front else "off"}" x="{box[0]:.1f}" '
            f'y="{box[3] - 3:.1f}">{label(said[name], 24)}</text>'
        )
    unnamed = [p.name for p in points if p.name not in labels]
    return svg(
        left + width + 16, bottom + 42, f"Mean {score} against seconds per cell", out
    ), unnamed
