"""isthmus check-strategy: the contract, run on one strategy."""

from __future__ import annotations

import click

from isthmus.cli.talk import Talk, talking


@click.command("check-strategy", short_help="Run the contract on a strategy.")
@click.argument("name")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A hyper-parameter.")
@talking
def check_strategy(talk: Talk, name: str, settings: tuple[str, ...]) -> None:
    """Run every clause of the contract on the strategy NAME; exit 3 when one is broken."""
    from isthmus.cli.adapt import pairs
    from isthmus.manager import discover
    from isthmus.settings import configure

    cls = discover().strategies[name]
    strategy = configure(cls, pairs(settings))
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)  # the tasks are tiny: more threads only get in each other's way
    threadpool_limits(1)
    from isthmus.testing import Report, plan

    report = Report(name)
    rows = list(plan(strategy))
    with talk:
        for i, (id_, case, check) in enumerate(rows):
            talk.progress(f"check {name}", i + 1, len(rows))
            try:
                check(case)
            except Exception as error:
                report.failed[id_] = error
            else:
                report.passed.append(id_)
    result = {
        "strategy": name,
        "checks": len(rows),
        "passed": report.passed,
        "failed": {k: str(v) for k, v in report.failed.items()},
        "gpu": torch.cuda.is_available(),
    }
    talk.data(result, lambda: str(report))
    if not torch.cuda.is_available():
        talk.say("no GPU here: that it gives what the CPU gives was not checked")
    if report.failed:
        raise click.exceptions.Exit(3)
