"""isthmus export and predict: from an artefact to a bundle, and inference from it."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from isthmus.cli.talk import SEED, Talk, table, talking

SHOWN = 20  # predictions printed for a person; scripts get all


@click.command(short_help="Write a model as a checked ONNX bundle.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Bundle to write.")
@click.option("--sample", help="Domain URI: checks and the golden sample use its rows.")
@click.option("--seed", type=SEED, help="Of loaders that split at random; default: the model's.")
@click.option("--data-root", type=click.Path(path_type=Path), help="Default: $ISTHMUS_DATA.")
@click.option("--overwrite", is_flag=True, help="Replace the bundle that is there.")
@talking
def export(
    talk: Talk,
    folder: Path,
    out: Path,
    sample: str | None,
    seed: int | None,
    data_root: Path | None,
    overwrite: bool,
) -> None:
    """Write the model in FOLDER as an ONNX bundle; exit 3 unless it matches the original.

    Without --sample the checks use random rows, and no data leaves with the bundle.
    """
    from isthmus.artefact import load
    from isthmus.deploy.bundle import write_bundle
    from isthmus.deploy.card import loaded

    adapted, record = load(folder)
    rows = None
    if sample is not None:
        from isthmus.compose import load_domain
        from isthmus.manager import discover
        from isthmus.matching import match_one

        seed = record.get("seed", 0) if seed is None else seed
        found, said = match_one(load_domain(discover(), sample, data_root, seed), adapted.schema)
        rows = found.x
        for sentence in said:
            talk.say(sentence)
    manifest = write_bundle(adapted, out, record=record, sample=rows, overwrite=overwrite)
    size = sum(p.stat().st_size for p in out.iterdir())
    result = {
        "bundle": str(out),
        "bytes": size,
        "opset": manifest["opset"],
        "precision": "fp32",
        "parity": manifest["parity"],
    }
    talk.data(
        result,
        lambda: "\n".join(
            [
                f"{out}: {size / 1e3:,.0f} kB, opset {result['opset']}",
                parity_line(manifest["parity"]),
            ]
        ),
    )
    if manifest["loading"]:
        talk.say(loaded(manifest["loading"]))
    talk.say(f"next: isthmus predict {out} INPUT")


@click.command(short_help="Label files with a bundle, without torch.")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("inputs", nargs=-1, required=True)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "tensorrt"]),
    default="auto",
    show_default=True,
)
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@talking
def predict(talk: Talk, bundle: Path, inputs: tuple[str, ...], device: str, as_csv: bool) -> None:
    """Label INPUT files (.npz, .csv, images or folders of them) with a bundle, without torch."""
    from isthmus.deploy.card import loaded
    from isthmus.deploy.inputs import read_inputs
    from isthmus.deploy.predictor import Predictor

    predictor = Predictor(bundle, device=device)
    talk.say(f"running on {predictor.provider}: {predictor.reason}")
    if loading := predictor.manifest.get("loading"):
        talk.say(loaded(loading))
    found: list[dict[str, Any]] = []
    for given in read_inputs(inputs, predictor.manifest):
        values = predictor.predict(given.x)
        found += described(
            predictor, values if given.kept is None else values[given.kept], given.names
        )
    if as_csv and not talk.as_json:
        written = csv.DictWriter(sys.stdout, list(found[0]) if found else [], lineterminator="\n")
        written.writeheader()
        written.writerows(found)
        return
    talk.data(found, lambda: _text(found))


def described(predictor: Any, values: Any, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return one row per instance: its name, then label and probability, or the values."""
    if not predictor.classes:
        return [
            {"input": i, **{o: float(v) for o, v in zip(predictor.outputs, row, strict=True)}}
            for i, row in zip(ids, values, strict=True)
        ]
    best = values.argmax(1)
    return [
        {"input": i, "label": predictor.classes[k], "probability": float(row[k])}
        for i, k, row in zip(ids, best, values, strict=True)
    ]


def parity_line(parity: dict[str, Any]) -> str:
    agreement = parity["label_agreement"]
    labels = "" if agreement is None else f", labels agree on {agreement:.2%}"
    return f"parity: ONNX differs from torch by {parity['max_abs_diff']:.1e} at most{labels}"


def _text(found: list[dict[str, Any]]) -> str:
    if not found:
        return "no instances"
    keys = list(found[0])
    text = table(keys, [[r[k] for k in keys] for r in found[:SHOWN]])
    more = len(found) - SHOWN
    return text + (f"\n... and {more} more (--csv or --json prints all)" if more > 0 else "")
