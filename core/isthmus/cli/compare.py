"""isthmus compare: strategies side by side on the same data and seeds."""

from __future__ import annotations

import dataclasses
import re
import shlex
import sys
import time
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from isthmus.cli.cells import line, summary_text
from isthmus.cli.results import export, report, status
from isthmus.cli.talk import Talk, talking
from isthmus.errors import BadInput


class _Group(click.Group):
    """``compare STUDY.toml`` is short for ``compare run STUDY.toml``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            meant = get_close_matches(args[0], self.commands, 1) if len(args) > 1 else []
            if meant and not Path(args[0]).exists():
                raise click.UsageError(
                    f"No such command {args[0]!r}. Did you mean {meant[0]!r}?", ctx
                )
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage("isthmus compare", "STUDY.toml [OPTIONS] | status | report | export")


@click.group(cls=_Group, short_help="Run a study: strategies side by side.")
def compare() -> None:
    """Compare strategies on the same tasks, data and seeds, as a STUDY file says.

    "isthmus compare run --help" has the options of a run. What is finished is never run again: the
    same command continues a study that was killed, and one that grew runs only what is new.
    """


@compare.command()
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder; default: runs/NAME.")
@click.option("--jobs", type=int, help="Workers; default: one for each GPU, or each core.")
@click.option(
    "--executor",
    type=click.Choice(["process", "serial", "ray"]),
    default="process",
    show_default=True,
    help="Workers of this machine, none (this process), or a Ray cluster.",
)
@click.option("--address", help="Of a running Ray cluster.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--data-root", type=click.Path(path_type=Path), help="Default: $ISTHMUS_DATA.")
@click.option("--only-missing", "which", flag_value="only-missing", help="Leave failed cells.")
@click.option("--only-failed", "which", flag_value="only-failed", help="Run failed cells alone.")
@click.option("--overwrite", "which", flag_value="overwrite", help="Run finished cells again.")
@click.option("--cell", "key", help="Run one cell alone, by the beginning of its key.")
@click.option("--save", type=click.Path(path_type=Path), help="With --cell: folder for its model.")
@talking
def run(
    talk: Talk,
    study: Path,
    out: Path | None,
    jobs: int | None,
    executor: str,
    address: str | None,
    device: str,
    data_root: Path | None,
    which: str | None,
    key: str | None,
    save: Path | None,
) -> None:
    """Run the cells of a STUDY file and print who did best; failed cells stay in sight."""
    from isthmus.cli.adapt import choose_device
    from isthmus.compare.bench import Bench, Setup
    from isthmus.compare.results import begin, conditions, with_cells
    from isthmus.compare.runner import run_study
    from isthmus.compare.store import Store
    from isthmus.compare.study import read_study

    spec = read_study(study)
    out = out or Path("runs") / "-".join(re.findall(r"\w+", spec.name.lower()))
    bench = Bench.open(Setup(study=spec, root=data_root, device=choose_device(device)))
    device = bench.setup.device
    if key is not None:
        return _one(talk, bench, Store(out / "cells"), key, save)
    if save is not None:
        raise BadInput("--save keeps the model of one cell", hint="add --cell KEY")
    workers = _executor(executor, jobs, address, device, spec.threads)
    how = conditions(shlex.join(["isthmus", *sys.argv[1:]]), str(workers), device, spec)
    results = begin(out, spec, study, bench.catalogue, how)
    found: dict[int, Any] = {}
    began, ran = time.perf_counter(), 0
    with talk:
        for outcome in run_study(
            bench,
            store=Store(out / "cells"),
            executor=workers,
            which=which or "default",  # type: ignore[arg-type]
            say=talk.say,
            progress=talk.progress,
        ):
            found[outcome.number] = outcome.cell
            ran += outcome.fresh
            if outcome.fresh:
                talk.say(line(outcome.cell))
    cells = [found[number] for number in sorted(found)]
    took = f"{time.perf_counter() - began:.0f} s, {ran} of {len(cells)} cells run now"
    results = with_cells(results, cells, finished=took)
    body = results.write(out)
    talk.say(f"{took}; wrote {out / 'results.json'} and {out / 'report.html'}")
    talk.data(body, lambda: summary_text(body["summary"]))
    if not any(c.status == "ok" for c in cells):
        raise click.exceptions.Exit(1)


def _one(talk: Talk, bench: Any, store: Any, beginning: str, save: Path | None) -> None:
    """Run one cell in this process and compare it with its record."""
    from isthmus.compare.executors.worker import limit_threads

    for task, seed, spec in bench.setup.study.cells():
        blank = bench.blank(task, seed, spec)
        if blank.key.startswith(beginning):
            break
    else:
        raise BadInput(
            f"no cell of this study has a key that begins with {beginning!r}",
            hint="keys are in the report; other data or versions give other keys",
        )
    with talk, limit_threads(bench.setup.study.threads):
        cell, adapted = bench.run(blank, task, seed, spec, say=talk.say, progress=talk.progress)
    record = store.get(cell.key)
    same = record is not None and all(
        record.scores.get(name) == value for name, value in cell.scores.items()
    )
    if record is not None:
        talk.say("the same scores as on record" if same else f"on record: {line(record)}")
    if save is not None and adapted is not None:
        adapted.save(save, {"strategy": spec.name, "seed": seed, "cell": cell.key})
        talk.say(f"next: isthmus export {save} --out BUNDLE")
    talk.data(dataclasses.asdict(cell), lambda: line(cell))
    if cell.status != "ok":
        raise click.exceptions.Exit(1)


def _executor(name: str, jobs: int | None, address: str | None, device: str, threads: int) -> Any:
    import os

    if jobs is not None and jobs < 1:
        raise BadInput(f"--jobs {jobs}: expected 1 or more")
    if name == "ray":
        from isthmus.compare.executors.cluster import Cluster

        return Cluster(address=address)
    if name == "serial":
        from isthmus.compare.executors.serial import Serial

        return Serial()
    from isthmus.compare.executors.processes import Processes

    devices: tuple[str, ...] = ()
    if device == "cuda":
        import torch

        devices = tuple(f"cuda:{i}" for i in range(torch.cuda.device_count()))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Processes(jobs=jobs or len(devices) or max(1, (cores or 1) // threads), devices=devices)


for command in (status, report, export):
    compare.add_command(command)
