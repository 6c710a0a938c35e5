"""isthmus adapt: one adaptation, from domains to an artefact on disk."""

from __future__ import annotations

import platform
import resource
import shutil
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from isthmus.cli.losses import Log, to_all
from isthmus.cli.talk import SEED, Talk, talking
from isthmus.cli.unfinished import clear, finished, key_of, weights_of
from isthmus.errors import BadInput


@click.command(short_help="Adapt a model from sources to a target.")
@click.option("--source", "sources", multiple=True, help="Labelled domain URI; may be repeated.")
@click.option("--target", required=True, help="Target domain URI; its labels are never read.")
@click.option("--support", help="URI of the few labelled target instances, where needed.")
@click.option("--start", type=click.Path(path_type=Path), help="Adapted model to begin from.")
@click.option("--strategy", required=True, help="See isthmus strategies.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A hyper-parameter.")
@click.option("--backbone", help="A network for images, such as resnet18 or timm:convnext_tiny.")
@click.option("--weights", help="Its weights: a .safetensors or .pth file, 'download' or 'none'.")
@click.option("--embed", is_flag=True, help="Adapt frozen features, also where images are read.")
@click.option("--image-size", type=int, help="Side in pixels; default: the source's.")
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--precision", type=click.Choice(["fp32", "bf16", "fp16"]), default="fp32", show_default=True
)
@click.option("--compile", is_flag=True, help="Compile networks (torch.compile) to train them.")
@click.option("--budget", type=float, help="Seconds of training at most, all stages.")
@click.option(
    "--checkpoint-every", default=30.0, show_default=True, help="Seconds between two checkpoints."
)
@click.option("--track", multiple=True, metavar="NAME[=WHERE]", help="tensorboard, mlflow, ...")
@click.option("--data-root", type=click.Path(path_type=Path), help="Default: $ISTHMUS_DATA.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write.")
@click.option("--resume", is_flag=True, help="Continue what a killed run left in --out.")
@click.option("--overwrite", is_flag=True, help="Replace what is in --out.")
@talking
def adapt(
    talk: Talk,
    sources: tuple[str, ...],
    target: str,
    support: str | None,
    start: Path | None,
    strategy: str,
    settings: tuple[str, ...],
    backbone: str | None,
    weights: str | None,
    embed: bool,
    image_size: int | None,
    seed: int,
    device: str,
    precision: Any,
    compile: bool,
    budget: float | None,
    checkpoint_every: float,
    track: tuple[str, ...],
    data_root: Path | None,
    out: Path,
    resume: bool,
    overwrite: bool,
) -> None:
    """Adapt from --source to --target with one strategy and write the model to --out."""
    given = pairs(settings)
    device = choose_device(device)
    from isthmus.compose import build_strategy, load_domain, load_labelled
    from isthmus.learners.ranks import Ranks, process_group
    from isthmus.manager import discover
    from isthmus.matching import match
    from isthmus.settings import describe
    from isthmus.strategy import Run
    from isthmus.tracking import tracking

    first = Ranks.launched().rank == 0  # of several processes the first alone speaks and writes
    if first:
        clear(out, resume, overwrite)
    talk.quiet |= not first
    catalogue = discover()
    cls = catalogue.strategies[strategy]  # a misspelt name is told before any data is read
    if start is not None and cls.needs.start == "unused":
        raise BadInput(f"{strategy} begins from no model: leave --start out")
    if support is not None and not cls.needs.support:
        raise BadInput(f"{strategy} reads no target labels: leave --support out")
    trackers = [
        (catalogue.trackers[name](), where or None)
        for name, _, where in (item.partition("=") for item in track if first)
    ]
    task, said = match(
        [load_labelled(catalogue, uri, data_root, seed) for uri in sources],
        load_domain(catalogue, target, data_root, seed),
        support=None if support is None else load_labelled(catalogue, support, data_root, seed),
        start=None if start is None else load_start(start),
        image_size=image_size,
        unknown=cls.needs.unknown,
    )
    recipe, more = build_strategy(
        catalogue, strategy, given, task.schema, backbone=backbone, weights=weights, embed=embed
    )
    for sentence in said + more:
        talk.say(sentence)
    question = {
        "strategy": describe(recipe),
        "sources": list(sources),
        "target": target,
        "support": support,
        "start": None if start is None else {"folder": str(start), "weights": weights_of(start)},
        "seed": seed,
        "image_size": image_size,
        "precision": precision,
        "compile": compile,
    }
    key = key_of(question, task)
    if resume and (done := finished(out, key)):
        if first:
            talk.data(summary(out, *done), lambda: f"{out}: nothing is left to resume")
        return
    run = Run(
        seed=seed,
        device=device,
        precision=precision,
        compile=compile,
        budget=budget,
        checkpoint=out / "checkpoint",
        checkpoint_every=checkpoint_every,
        key=key,
        say=talk.say,
        progress=talk.progress,
    )
    log = Log(out / "log.jsonl", keep=resume) if first else None
    with (
        process_group(device) as device,
        talk,
        log or nullcontext(),
        tracking(trackers, out, question, talk.say) as followed,
    ):
        began = time.perf_counter()
        logs = [log.write, talk.log, followed.log] if log else []
        adapted = recipe.adapt(task, replace(run, device=device, log=to_all(logs)))
        seconds = time.perf_counter() - began
        followed.result = {"seconds": round(seconds, 3), **adapted.diagnostics}
    if log is None:
        return
    device = str(getattr(adapted, "device", device))  # shallow strategies stay on the CPU
    record = {
        **question,
        "strategy": strategy,
        "dist": next(d for n, d, c in catalogue.strategies.items() if c is cls),
        "family": cls.family,
        "oracle": cls.oracle,
        "parameters": describe(recipe),
        "device": device,
        "seconds": round(seconds, 3),
        "key": key,
        "versions": {p: version(p) for p in ("isthmus", "torch", "numpy", "scikit-learn")}
        | {"python": platform.python_version()},
    }
    adapted.save(out, record)
    shutil.rmtree(out / "checkpoint", ignore_errors=True)
    result = summary(out, record, adapted.diagnostics)
    talk.data(result, lambda: f"{out}: {strategy} on {device} in {seconds:.1f} s")
    talk.say(f"next: isthmus evaluate {out} --on URI   or   isthmus export {out} --out BUNDLE")


def summary(out: Path, record: Mapping[str, Any], diagnostics: Mapping[str, Any]) -> dict[str, Any]:
    """Return what --json prints."""
    said = {name: record[name] for name in ("strategy", "seed", "device", "seconds")}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"out": str(out), **said, "peak_mb": round(peak, 1), "diagnostics": dict(diagnostics)}


def pairs(settings: tuple[str, ...]) -> dict[str, str]:
    """Split KEY=VALUE texts."""
    out = {}
    for item in settings:
        key, equals, value = item.partition("=")
        if not equals:
            raise BadInput(f"--set {item}: expected KEY=VALUE, as in --set training.steps=500")
        out[key] = value
    return out


def choose_device(device: str) -> str:
    """Return the device to run on; one that is not there is an error, not a fallback."""
    import torch

    from isthmus.errors import ProviderUnavailable

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ProviderUnavailable(
            f"device {device!r} was asked for, but torch sees no GPU", hint="isthmus doctor"
        )
    return device


def load_start(folder: Path) -> Any:
    from isthmus.artefact import load

    return load(folder)[0]
