"""isthmus compare status, report and export: what the folder of a study holds."""

from __future__ import annotations

from pathlib import Path

import click

from isthmus.cli.cells import last_line
from isthmus.cli.talk import Talk, table, talking
from isthmus.errors import BadInput


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@talking
def status(talk: Talk, folder: Path) -> None:
    """Say how far the study in FOLDER is: cells by status, and what failed."""
    from collections import Counter

    from isthmus.compare.results import open_results

    cells = open_results(folder).cells
    counts = Counter(c.status for c in cells)
    failed = Counter(
        (c.strategy, c.status, last_line(c.reason))
        for c in cells
        if c.status in ("failed", "timeout")
    )
    troubles = [
        {"strategy": s, "status": how, "reason": why, "cells": n}
        for (s, how, why), n in failed.most_common()
    ]

    def text() -> str:
        head = f"{len(cells)} cells: " + ", ".join(f"{n} {s}" for s, n in counts.most_common())
        body = [[r["strategy"], r["status"], r["cells"], r["reason"]] for r in troubles]
        return head + (
            "\n" + table(["strategy", "status", "cells", "reason"], body) if body else ""
        )

    talk.data({"cells": len(cells), "status": dict(counts), "failed": troubles}, text)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "markdown", "latex"]),
    default="html",
    show_default=True,
    help="html writes FOLDER/report.html; the others are printed.",
)
@talking
def report(talk: Talk, folder: Path, form: str) -> None:
    """Write the report of the study in FOLDER from its records, finished or not."""
    from isthmus.compare import tables
    from isthmus.compare.results import open_results

    results = open_results(folder)
    higher = results.higher.get(results.score, True)
    if form == "html":
        results.write(folder)
        talk.data({"report": str(folder / "report.html")}, lambda: str(folder / "report.html"))
        return
    write = tables.markdown if form == "markdown" else tables.latex
    text = write(results.cells, score=results.score, higher=higher)
    talk.data({"text": text}, lambda: text)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--to", type=click.Path(path_type=Path), help="Default: FOLDER/cells.parquet.")
@talking
def export(talk: Talk, folder: Path, to: Path | None) -> None:
    """Write one row per cell as Parquet (or .csv), for DuckDB, pandas or polars."""
    from isthmus.atomic import write_atomically
    from isthmus.compare import tables
    from isthmus.compare.results import open_results

    to = to or folder / "cells.parquet"
    cells = open_results(folder).cells
    if to.suffix == ".csv":
        write_atomically(to, tables.csv_text(cells).encode())
    elif to.suffix == ".parquet":
        tables.write_parquet(to, cells)
    else:
        raise BadInput(f"--to {to}: expected a name that ends in .parquet or .csv")
    talk.data({"file": str(to), "cells": len(cells)}, lambda: f"{to}: {len(cells)} cells")
