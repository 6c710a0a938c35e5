"""Cells and summaries of studies as text for a terminal."""

from __future__ import annotations

from typing import Any

from isthmus.cli.talk import table


def line(cell: Any) -> str:
    """Say what became of a cell."""
    if cell.status == "ok":
        score = ", ".join(f"{k} {v:.4f}" for k, v in cell.scores.items())
        what = f"{score}  ({cell.seconds:.1f} s)"
    else:
        what = f"{cell.status}: {last_line(cell.reason)}"
    return f"{cell.task}  {cell.strategy}  seed {cell.seed}  {what}"


def last_line(reason: str) -> str:
    """Return the sentence in a reason, which may be a traceback."""
    return (reason.strip().splitlines() or [""])[-1]


def summary_text(summary: list[dict[str, Any]]) -> str:
    """Lay out the summary for a terminal."""
    head = ["strategy", "mean", "gain", "95 % interval", "tasks", "worse", "missing", "seconds"]
    body = [
        [
            r["strategy"] + _mark(r),
            r["mean"],
            _gain(r["gain"]),
            "" if r["low"] is None else f"{r['low']:+.3f} {r['high']:+.3f}",
            *(r[k] for k in ("tasks", "worse", "missing")),
            round(r["seconds"], 1),
        ]
        for r in summary
    ]
    name = summary[0]["evaluator"] if summary else ""
    return f"{name}, mean over tasks and seeds; gain over source-only\n" + table(head, body)


def _mark(row: dict[str, Any]) -> str:
    return " (oracle)" if row["oracle"] else " (few labels)" if row["few_labels"] else ""


def _gain(value: float | None) -> str:
    return "" if value is None else f"{value:+.4f}"
