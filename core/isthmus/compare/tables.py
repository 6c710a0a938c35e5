"""A study as Markdown, LaTeX, CSV or Parquet; what has no result is there as well."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.compare.cell import Cell
from isthmus.compare.grid import grid
from isthmus.compare.per_task import decimals, main_score, per_task
from isthmus.compare.summary import summarise
from isthmus.errors import importing

NONE = "\N{EN DASH}"
TEXTS = ("task", "strategy", "method", "family", "group", "status", "reason", "key", "settings")
COLUMNS = (
    *("task", "strategy", "method", "family", "group", "seed", "status", "oracle", "few_labels"),
    *("seconds", "peak_mb", "reason", "key", "settings"),
)
TEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        NONE: "--",
        "→": r"$\rightarrow$",
        "†": r"\dag{}",
    },
}


@dataclass(frozen=True)
class Entry:
    """One number of a table as text; place 1 is best of its column, 2 second, 0 neither."""

    text: str
    place: int = 0


def markdown(
    cells: Sequence[Cell],
    *,
    score: str | None = None,
    higher: bool = True,
    digits: int | None = None,
) -> str:
    """Return strategies x tasks, best first, with the best of each column in bold."""
    head, body, notes = _table(cells, score, higher, digits)
    lines = [_line(map(_escape, head)), _line(["---"] + ["---:"] * (len(head) - 1))]
    for name, entries in body:
        lines.append(
            _line([_escape(name), *(f"**{e.text}**" if e.place == 1 else e.text for e in entries)])
        )
    return "\n".join(lines) + "\n\n" + "".join(f"{_escape(n)}\n" for n in notes)


def latex(
    cells: Sequence[Cell],
    *,
    score: str | None = None,
    higher: bool = True,
    digits: int | None = None,
) -> str:
    """Return a booktabs tabular: per column the best one is bold, the second underlined."""
    head, body, notes = _table(cells, score, higher, digits)
    form: dict[int, Callable[[str], str]] = {
        0: str,
        1: lambda t: rf"\textbf{{{t}}}",
        2: lambda t: rf"\underline{{{t}}}",
    }
    rows = [[_tex(name), *(form[e.place](_tex(e.text)) for e in entries)] for name, entries in body]
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
            r"\toprule",
            " & ".join(map(_tex, head)) + r" \\",
            r"\midrule",
            *(" & ".join(row) + r" \\" for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\\ \footnotesize {_tex(n)}" for n in notes),
            "",
        ]
    )


def csv_text(cells: Sequence[Cell]) -> str:
    """Return one row per cell with the columns of ``cell_table``; None is an empty field."""
    table = cell_table(cells)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return out.getvalue()


def write_parquet(path: Path, cells: Sequence[Cell]) -> None:
    """Write the columns of ``cell_table``; a score that a cell has not is null."""
    with importing("parquet", "writing Parquet files needs pyarrow, which is not installed"):
        import pyarrow as pa
        import pyarrow.parquet as pq
    from isthmus.atomic import write_atomically

    types = {
        **dict.fromkeys(TEXTS, pa.string()),
        **{"seed": pa.int64(), "oracle": pa.bool_(), "few_labels": pa.bool_()},
    }
    table = cell_table(cells)
    arrays = {k: pa.array(v, types.get(k, pa.float64())) for k, v in table.items()}
    buffer = io.BytesIO()
    pq.write_table(pa.table(arrays), buffer)
    write_atomically(path, buffer.getvalue())


def cell_table(cells: Sequence[Cell]) -> dict[str, list[Any]]:
    """Return flat columns, one value per cell: its fields, then ``score:NAME`` for each score."""
    table: dict[str, list[Any]] = {
        name: [getattr(c, name) for c in cells] for name in COLUMNS if name != "settings"
    }
    table["settings"] = [json.dumps(c.settings, sort_keys=True, default=str) for c in cells]
    for score in dict.fromkeys(s for c in cells for s in c.scores):
        table[f"score:{score}"] = [c.scores.get(score) for c in cells]
    return table


def _table(
    cells: Sequence[Cell], score: str | None, higher: bool, digits: int | None
) -> tuple[list[str], list[tuple[str, list[Entry]]], list[str]]:
    """Return the head, the rows and the footnotes that they need."""
    score = score or main_score(cells)
    table = grid(cells, score)
    per = per_task(cells, table, higher=higher)
    summary = summarise(cells, score=score, higher=higher)
    digits = decimals(per.mean) if digits is None else digits
    order = [table.strategies.index(r["strategy"]) for r in summary]
    asked = per.planned.any(0).sum()
    whole = {r["strategy"]: r["tasks"] == asked and not r["missing"] for r in summary}
    rival = np.array([not r["oracle"] for r in summary], bool)
    complete = np.array([whole[r["strategy"]] for r in summary], bool)
    columns = [
        _column(
            per.mean[order, t],
            per.missing[order, t],
            rival & (per.missing[order, t] == 0),
            higher,
            digits,
        )
        for t in range(len(table.tasks))
    ]
    means = np.array([np.nan if r["mean"] is None else r["mean"] for r in summary])
    columns.append(_column(means, ~complete, rival & complete, higher, digits, "†"))
    gains = [Entry(NONE if r["gain"] is None else f"{r['gain']:+.{digits}f}") for r in summary]
    rows = [
        (r["strategy"] + _kind(r), [*(c[i] for c in columns), gains[i]])
        for i, r in enumerate(summary)
    ]
    texts = {e.text for _, entries in rows for e in entries}
    seeds = _count(len(table.seeds), "seed")
    notes = [
        f"{score}, {'higher' if higher else 'lower'} is better; mean over {seeds}; "
        "gain over source-only, positive is better."
    ]
    if NONE in texts:
        notes.append(f"{NONE} no result: refused, failed, timed out or not in the study.")
    if any(t.endswith("*") for t in texts):
        notes.append("* some seeds are missing, so not compared with the others.")
    if any(t.endswith("†") for t in texts):
        notes.append("† over what there is, so not compared with the others.")
    return ["strategy", *table.tasks, "mean", "gain"], rows, notes


def _column(
    values: Any, missing: Any, rival: Any, higher: bool, digits: int, sign: str = "*"
) -> list[Entry]:
    """Return one column; what reads the same has the same place."""
    texts = [NONE if np.isnan(v) else f"{v:.{digits}f}" for v in values]
    known = {float(t) for t, r in zip(texts, rival, strict=True) if r and t != NONE}
    place = {v: i + 1 for i, v in enumerate(sorted(known, reverse=higher)[:2])}
    return [
        Entry(NONE) if t == NONE else Entry(t + sign * bool(m), place.get(float(t), 0) if r else 0)
        for t, m, r in zip(texts, missing, rival, strict=True)
    ]


def _kind(row: Mapping[str, Any]) -> str:
    return " (oracle)" if row["oracle"] else " (few labels)" if row["few_labels"] else ""


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _line(fields: Any) -> str:
    return f"| {' | '.join(fields)} |"


def _escape(text: str) -> str:
    plain = " ".join(text.split())
    return "".join(f"\\{c}" if c in r"\`*_[]<>|" else c for c in plain)


def _tex(text: str) -> str:
    return "".join(TEX.get(c, c) for c in " ".join(text.split()))
