"""The report of a study: one HTML page that needs no network, and reads without JavaScript."""

from __future__ import annotations

import base64
import io
import shlex
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.compare.cell import Cell
from isthmus.compare.excerpt import sayings, troubles
from isthmus.compare.figures import Point, critical_difference, gain_chart, pareto_plot
from isthmus.compare.grid import Grid, grid
from isthmus.compare.lookup import listing, lookup
from isthmus.compare.per_task import PerTask, decimals, main_score, per_task
from isthmus.compare.ranking import ENOUGH, Ranking, ranking
from isthmus.compare.selection import selections
from isthmus.compare.statistics import pareto
from isthmus.compare.study import FLOOR
from isthmus.compare.summary import summarise
from isthmus.compare.verdict import STATUSES, verdict

PACKAGES = ("isthmus", "torch", "scikit-learn", "numpy")
PICTURES = 12  # instances shown of each domain
CROWD = 16  # points of a plot that may all have their names beside them
STEPS = 4  # colours of the heat map on either side of zero
Row = dict[str, Any]


def write_report(
    path: Path,
    title: str,
    cells: Sequence[Cell],
    *,
    chosen: Sequence[Cell] = (),
    score: str | None = None,
    higher: bool = True,
    validators: Mapping[str, bool] = {},
    notes: Sequence[str] = (),
    images: Mapping[str, Any] | None = None,
    how: Mapping[str, str] = {},
    study: str = "",
) -> None:
    """Write the page, by ``score`` (default: the first one; ``higher``: whether more is better).

    ``chosen`` are cells that a validator chose among ``cells``, shown as strategies beside them.
    ``validators`` (name: higher is better) are judged as rules of selection. ``images`` maps a
    caption to uint8 or 0..255 images (n, h, w, c), ``how`` says how the study was run, and
    ``study`` is the path of its file in the command that runs one cell again.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from isthmus.atomic import write_atomically

    environment = Environment(
        loader=PackageLoader("isthmus.compare"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    score, copies = score or main_score(cells), {c.strategy for c in chosen}
    own, cells = cells, [*cells, *chosen]
    table = grid(cells, score)
    per = per_task(cells, table, higher=higher)
    summary = summarise(cells, score=score, higher=higher, chosen=copies)
    oracles = {r["strategy"] for r in summary if r["oracle"]}
    ranked = ranking(table, higher=higher, leave_out=oracles | copies) if cells else None
    digits = decimals(per.mean)
    rows = _rows(summary, table, per)
    limit = _limit(per, table, oracles)
    page = environment.get_template("report.html.j2").render(
        title=title,
        score=score or "score",
        higher=higher,
        digits=digits,
        floor=FLOOR,
        table=table,
        cells=cells,
        rows=rows,
        families=sorted({r["family"] for r in summary} - {""}),
        verdict=verdict([r for r in summary if r["strategy"] not in copies], ranked, own, digits),
        shade=lambda gain: _shade(gain, limit),
        limit=limit,
        steps=STEPS,
        chart=gain_chart(summary, digits=digits),
        ranked=ranked,
        diagram=critical_difference(ranked) if ranked and ranked.enough else "",
        no_diagram=_no_diagram(ranked),
        cost=_pareto(rows, higher, score),
        selections=selections(cells, score, validators, higher=higher) if validators else [],
        troubles=troubles(cells, score),
        sayings=sayings(cells),
        statuses=STATUSES,
        notes=notes,
        pictures={name: _strip(x) for name, x in (images or {}).items()},
        how=how,
        versions={p: version(p) for p in PACKAGES},
        command=f"isthmus compare {shlex.quote(study) if study else 'STUDY.toml'} --cell",
        listed=listing(cells, score, digits),
        data=lookup(cells, score, table, per, digits),
    )
    write_atomically(path, page.encode())


def _rows(summary: Sequence[Row], table: Grid, per: PerTask) -> list[Row]:
    """Return the summary's rows with one entry per task, the spread and the place."""
    out, place = [], 0
    for r in summary:
        i = table.strategies.index(r["strategy"])
        place += not r["oracle"] and r["mean"] is not None
        entries = [
            {
                "mean": _number(per.mean[i, t]),
                "gain": _number(per.gain[i, t]),
                "state": per.states[i][t],
                "done": int(per.planned[i, t] - per.missing[i, t]),
                "planned": int(per.planned[i, t]),
            }
            for t in range(len(table.tasks))
        ]
        spread = per.spread[i][~np.isnan(per.spread[i])]
        out.append(
            {
                **r,
                "index": i,
                "place": None if r["oracle"] or r["mean"] is None else place,
                "spread": float(spread.mean()) if len(spread) else None,
                "cost": _number(np.nanmean(table.seconds[i])) if r["mean"] is not None else None,
                "entries": entries,
                "whole": r["tasks"] == len(table.tasks),
            }
        )
    return out


def _limit(per: PerTask, table: Grid, oracles: set[str]) -> float:
    """Return the size that 95 % of the rivals' gains do not exceed: the scale of the colours."""
    rivals = [i for i, s in enumerate(table.strategies) if s not in oracles and s != FLOOR]
    sizes = np.abs(per.gain[rivals])
    sizes = sizes[sizes > 0]
    return float(np.quantile(sizes, 0.95)) if len(sizes) else 1.0


def _shade(gain: float | None, limit: float) -> str:
    """Return the class of a gain: h-4 to h4, where only exactly no gain is h0."""
    if gain is None:
        return ""
    step = min(int(np.ceil(abs(gain) / limit * STEPS)), STEPS)
    return f"h{step if gain >= 0 else -step}"


def _no_diagram(ranked: Ranking | None) -> str:
    if ranked is None:
        return "No diagram: fewer than two strategies have scores on the same tasks."
    if not ranked.enough:
        return (
            f"No diagram: ranks need at least {ENOUGH} tasks with every score to show a "
            f"difference, and {len(ranked.tasks)} {'has' if len(ranked.tasks) == 1 else 'have'} it."
        )
    return ""


def _pareto(rows: Sequence[Row], higher: bool, score: str) -> Row:
    """Return the plot and what its caption names; a crowded one has places beside its points."""
    shown = [r for r in rows if r["cost"] and r["mean"] is not None]
    rivals = {r["strategy"] for r in shown if r["whole"] and not r["oracle"]}
    costs = {r["strategy"]: (r["cost"], r["mean"]) for r in shown if r["strategy"] in rivals}
    front = pareto(costs, higher=higher)
    crowded = len(shown) > CROWD
    points = [
        Point(
            name=r["strategy"],
            seconds=r["cost"],
            score=r["mean"],
            rival=r["strategy"] in rivals,
            short=str(r["place"])
            if crowded and r["place"] and r["strategy"] not in {*front, FLOOR}
            else "",
            kind="diamond" if r["oracle"] else "dot" if r["whole"] else "ring",
        )
        for r in shown
    ]
    plot, unnamed = pareto_plot(points, front, score=score)
    return {
        "plot": plot,
        "unnamed": unnamed,
        "crowded": crowded,
        "shorter": [p.name for p in points if p.kind == "ring"],
    }


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


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
