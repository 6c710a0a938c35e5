"""isthmus evaluate: an artefact on held-out target data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from isthmus.cli.talk import SEED, Talk, table, talking


@click.command(short_help="Score an adapted model on held-out data.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--on", "uri", required=True, help="Domain URI; labels are read if it has any.")
@click.option("--source", help="Held-out labelled source URI, for validators that weigh it.")
@click.option("--evaluator", "wanted", multiple=True, help="Default: all that apply.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--seed", type=SEED, help="Of loaders that split at random; default: the model's.")
@click.option("--data-root", type=click.Path(path_type=Path), help="Default: $ISTHMUS_DATA.")
@talking
def evaluate(
    talk: Talk,
    folder: Path,
    uri: str,
    source: str | None,
    wanted: tuple[str, ...],
    device: str,
    seed: int | None,
    data_root: Path | None,
) -> None:
    """Score the model in FOLDER on a domain it was not adapted with."""
    from isthmus.artefact import load
    from isthmus.cli.adapt import choose_device
    from isthmus.compose import load_domain, load_labelled
    from isthmus.domain import Labelled
    from isthmus.evaluator import Evidence
    from isthmus.manager import discover
    from isthmus.matching import match_one

    catalogue = discover()
    adapted, record = load(folder, choose_device(device))
    seed = record.get("seed", 0) if seed is None else seed  # or a test split would be another one
    domain, said = match_one(load_domain(catalogue, uri, data_root, seed), adapted.schema)
    held_out: Labelled | None = None
    if source is not None:
        held_out, more = match_one(
            load_labelled(catalogue, source, data_root, seed), adapted.schema
        )
        said += more
    for sentence in said:
        talk.say(sentence)
    evidence = Evidence(adapted=adapted, target=domain, source=held_out)
    names = wanted or tuple(catalogue.evaluators)
    scores, tables = score_all(catalogue, names, evidence, strict=bool(wanted))
    result = {"n": len(domain), "scores": scores, "tables": tables}

    def text() -> str:
        better = {
            n: "higher" if c.higher_is_better else "lower"
            for n, _, c in catalogue.evaluators.items()
        }
        body = [[n, v, better.get(n, "")] for n, v in scores.items()]
        blocks = [
            f"{len(domain)} instances of {domain.name}",
            table(["evaluator", "score", "better"], body),
        ]
        return "\n\n".join(blocks + [_table(name, value) for name, value in tables.items()])

    talk.data(result, text)


def score_all(
    catalogue: Any, names: Any, evidence: Any, *, strict: bool
) -> tuple[dict[str, float], dict[str, Any]]:
    """Return (scores, tables) of the evaluators that apply; all of them must when ``strict``."""
    from isthmus.domain import Labelled
    from isthmus.errors import BadInput
    from isthmus.evaluator import judge

    scores: dict[str, float] = {}
    tables: dict[str, Any] = {}
    for name in names:
        evaluator = catalogue.evaluators[name]()
        applies = evaluator.applies(evidence.schema) and (
            isinstance(evidence.target, Labelled) or not evaluator.reads_labels
        )
        if not applies and not strict:
            continue
        if not applies:
            lacks = (
                "has other outputs" if not evaluator.applies(evidence.schema) else "has no labels"
            )
            raise BadInput(f"{name} does not apply: {evidence.target.name} {lacks}")
        try:
            value = judge(evaluator, evidence)
        except BadInput:
            if strict:
                raise
            continue  # a validator without held-out source data
        if isinstance(value, float | int):
            scores[name] = float(value)
        else:
            tables[name] = value
    return scores, tables


def _table(name: str, value: Any) -> str:
    if all(isinstance(v, dict) for v in value.values()):
        columns = list(next(iter(value.values())))
        body = [[row, *(cells[c] for c in columns)] for row, cells in value.items()]
        return f"{name}\n" + table(["true \\ predicted", *columns], body)
    return f"{name}\n" + table(["class", "score"], [[k, float(v)] for k, v in value.items()])
