"""isthmus compare: strategies side by side on the same data and seeds."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import click

from isthmus.cli.talk import Talk, table, talking


@click.command(short_help="Run a study: strategies side by side.")
@click.argument("study", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for results.json and report.html."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--data-root", type=click.Path(path_type=Path), help="Default: $ISTHMUS_DATA.")
@click.option("--overwrite", is_flag=True, help="Run finished cells again.")
@talking
def compare(
    talk: Talk,
    study: Path,
    out: Path | None,
    device: str,
    data_root: Path | None,
    overwrite: bool,
) -> None:
    """Run every cell of a STUDY file and print who did best; failed cells stay in sight.

    With --out each finished cell is kept: the same command continues a killed study, and a study
    that grew runs only what is new.
    """
    from isthmus.atomic import write_atomically
    from isthmus.cli.adapt import choose_device
    from isthmus.compare.report import write_report
    from isthmus.compare.runner import run_study
    from isthmus.compare.store import Store
    from isthmus.compare.study import read_study
    from isthmus.compare.summary import summarise
    from isthmus.manager import discover

    spec = read_study(study)
    cells = []
    if out is not None and overwrite:
        shutil.rmtree(out / "cells", ignore_errors=True)
    with talk:
        for cell, _, _ in run_study(
            spec,
            discover(),
            root=data_root,
            device=choose_device(device),
            store=None if out is None else Store(out / "cells"),
            say=talk.say,
            progress=talk.progress,
        ):
            cells.append(cell)
            talk.say(line(cell))
    result = {"cells": [dataclasses.asdict(c) for c in cells], "summary": summarise(cells)}
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / "results.json", json.dumps(result, indent=1).encode())
        write_report(out / "report.html", spec.name, cells)
        talk.say(f"wrote {out / 'results.json'} and {out / 'report.html'}")
    talk.data(result, lambda: summary_text(result["summary"]))
    if not any(c.status == "ok" for c in cells):
        raise click.exceptions.Exit(1)


def line(cell: Any) -> str:
    """Say what became of a cell."""
    if cell.status == "ok":
        score = ", ".join(f"{k} {v:.4f}" for k, v in cell.scores.items())
        what = f"{score}  ({cell.seconds:.1f} s)"
    else:
        what = f"{cell.status}: {cell.reason.strip().splitlines()[-1]}"
    return f"{cell.task}  {cell.strategy}  seed {cell.seed}  {what}"


def summary_text(summary: list[dict[str, Any]]) -> str:
    head = ["strategy", "mean", "gain", "tasks", "worse", "missing", "seconds"]
    body = [
        [
            r["strategy"] + _mark(r),
            r["mean"],
            _gain(r["gain"]),
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
