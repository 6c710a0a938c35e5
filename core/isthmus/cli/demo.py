"""isthmus demo: the main job in a minute, offline, on digits that come with scikit-learn."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from isthmus.cli.talk import Talk, talking

CHOSEN_BY = "information-maximisation"  # reads no target labels


@click.command(short_help="Compare, choose, export and report on real digits; start here.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("runs/demo"), show_default=True
)
@talking
def demo(talk: Talk, out: Path) -> None:
    """Adapt a digit reader from upright to blurred digits with one strategy of every family,
    choose the best without target labels, export it, check it and write a report."""
    from isthmus.cli.cells import line, summary_text
    from isthmus.cli.deploy import parity_line
    from isthmus.compare.bench import Bench, Setup
    from isthmus.compare.executors.serial import Serial
    from isthmus.compare.report import write_report
    from isthmus.compare.runner import run_study
    from isthmus.compare.study import parse_study
    from isthmus.compare.summary import summarise
    from isthmus.deploy.bundle import write_bundle
    from isthmus.deploy.predictor import Predictor

    text = files("isthmus.compare").joinpath("demo.toml").read_text(encoding="utf-8")
    study = parse_study(tomllib.loads(text), "the demo's study")
    images = study.tasks[0].name
    done: list[Any] = []
    with talk:
        bench, here = Bench.open(Setup(study=study)), Serial(say=talk.say, progress=talk.progress)
        for outcome in run_study(bench, executor=here, say=talk.say, progress=talk.progress):
            done.append(outcome)
            talk.say(line(outcome.cell))
    cells = [outcome.cell for outcome in done]
    rivals = [o for o in done if o.cell.task == images and o.adapted is not None]
    winner = max(rivals, key=lambda o: o.cell.scores[CHOSEN_BY])
    best, adapted, problem = winner.cell, winner.adapted, winner.problem
    out.mkdir(parents=True, exist_ok=True)
    record = {"strategy": best.strategy, "seed": best.seed, "sources": list(study.tasks[0].sources)}
    sample = problem.test.x
    bundle = out / "bundle"
    manifest = write_bundle(
        adapted,
        bundle,
        record={**record, "target": study.tasks[0].target},
        sample=sample,
        overwrite=True,
    )
    predictor = Predictor(bundle)
    labels = predictor.labels(sample[:8])
    chosen = f"{best.strategy} is chosen by {CHOSEN_BY}, which reads no target labels"
    parity = parity_line(manifest["parity"])
    write_report(
        out / "report.html",
        study.name,
        cells,
        notes=[chosen, f"exported to {bundle}; {parity}"],
        images={
            "source: digits as written": problem.task.source.x,
            "target: other digits, blurred; never labelled": problem.task.target.x,
        },
    )
    result = {
        "best": {"strategy": best.strategy, "chosen_by": CHOSEN_BY, "scores": best.scores},
        "summary": summarise(cells),
        "parity": manifest["parity"],
        "bundle": str(bundle),
        "report": str(out / "report.html"),
    }
    talk.data(
        result,
        lambda: "\n".join(
            [
                summary_text(result["summary"]),
                "",
                chosen,
                f"{bundle}: {parity}",
                f"on {predictor.provider} it reads the first test digits as {' '.join(labels)}",
                f"report: {out / 'report.html'}",
            ]
        ),
    )
    talk.say(f"next: isthmus strategies {best.strategy}   or   isthmus predict {bundle} IMAGE")
