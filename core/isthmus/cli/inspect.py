"""isthmus inspect: what kind of shift this is, how large, who carries it, what suits it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from isthmus.cli.talk import SEED, Talk, talking

PAGE, DATA = "shift.html", "shift.json"


@click.command(short_help="Say what kind of shift this is, and how large.")
@click.option("--source", "sources", multiple=True, required=True, help="Labelled; repeatable.")
@click.option("--target", required=True, help="Target domain URI; its labels are never read.")
@click.option("--support", help="URI of the few labelled target instances, if any.")
@click.option("--backbone", help="A torchvision network for images, such as resnet18.")
@click.option("--weights", help="Its weights: a .safetensors or .pth file, 'download' or 'none'.")
@click.option("--image-size", type=int, help="Side in pixels; default: the source's.")
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option("--device", default="auto", show_default=True, help="Of the backbone.")
@click.option("--data-root", type=click.Path(path_type=Path), help="Default: $ISTHMUS_DATA.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for a page and its numbers.")
@talking
def inspect(
    talk: Talk,
    sources: tuple[str, ...],
    target: str,
    support: str | None,
    backbone: str | None,
    weights: str | None,
    image_size: int | None,
    seed: int,
    device: str,
    data_root: Path | None,
    out: Path | None,
) -> None:
    """Say what kind of shift lies between --source and --target, and which families suit it.

    With --out, shift.html and shift.json are written there.
    """
    import json

    from isthmus.cli.adapt import choose_device
    from isthmus.compose import load_backbone, load_domain, load_labelled
    from isthmus.errors import BadInput
    from isthmus.manager import discover
    from isthmus.matching import match
    from isthmus.shift import inspect_shift
    from isthmus.shift.summary import summary
    from isthmus.strategy import Run

    if out is not None and out.exists() and not out.is_dir():
        raise BadInput(f"--out {out} is a file, expected a folder")
    if weights is not None and backbone is None:
        raise BadInput("--weights are those of a backbone, and --backbone is not given")
    catalogue = discover()
    task, said = match(
        [load_labelled(catalogue, uri, data_root, seed) for uri in sources],
        load_domain(catalogue, target, data_root, seed),
        support=None if support is None else load_labelled(catalogue, support, data_root, seed),
        image_size=image_size,
    )
    for sentence in said:
        talk.say(sentence)
    network: Any = None
    if backbone is not None:
        if task.schema.kind != "image":
            raise BadInput(f"--backbone reads images, and this is a {task.schema.kind!r} domain")
        network = load_backbone(backbone, weights)
    run = Run(
        seed=seed,
        device="cpu" if network is None else choose_device(device),
        say=talk.say,
        progress=talk.progress,
    )
    with talk:
        shift = inspect_shift(task, run, network=network)
    found = shift.to_json()
    if out is not None:
        from isthmus.atomic import write_together
        from isthmus.shift.page import page

        write_together(
            {
                out / PAGE: page(shift).encode(),
                out / DATA: (json.dumps(found, indent=1, allow_nan=False) + "\n").encode(),
            }
        )
        talk.say(f"page: {out / PAGE}")
    talk.data(found, lambda: summary(shift))
    talk.say("next: isthmus compare STUDY.toml tries the families on this pair")
