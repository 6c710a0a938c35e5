"""From names and texts to a strategy that can take the task at hand."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus import settings
from isthmus.dataset import Dataset, Location
from isthmus.domain import Domain, Labelled, Schema
from isthmus.errors import BadInput, UnsupportedTask
from isthmus.manager import Catalogue
from isthmus.strategy import Strategy

if TYPE_CHECKING:
    from isthmus.learners.backbones import Backbone

MOST_PIXELS = 4096  # raw pixels are no features for a shallow strategy above this


def load_domain(catalogue: Catalogue, uri: str, root: Path | None = None, seed: int = 0) -> Domain:
    """Read the domain that a URI names."""
    location = Location.parse(uri, root, seed)
    reader: Dataset = catalogue.datasets[location.scheme]()
    reader.check(location)
    return reader.load(location)


def load_labelled(
    catalogue: Catalogue, uri: str, root: Path | None = None, seed: int = 0
) -> Labelled:
    """Read a domain that must have labels."""
    domain = load_domain(catalogue, uri, root, seed)
    if not isinstance(domain, Labelled):
        raise BadInput(f"{uri} has no labels, which are needed here")
    return domain


def build_strategy(
    catalogue: Catalogue,
    name: str,
    given: Mapping[str, Any],
    schema: Schema,
    *,
    backbone: str | None = None,
    weights: str | None = None,
    embed: bool = False,
) -> tuple[Strategy, list[str]]:
    """Return the strategy with its settings, fit for ``schema``, and sentences on what was done.

    On images a strategy that reads tables only works on the features of ``backbone``, or on raw
    pixels when they are few; ``embed`` asks for that also where the strategy reads images.
    """
    strategy = settings.configure(catalogue.strategies[name], given)
    if weights and not backbone:
        raise BadInput("--weights are those of a backbone: add --backbone NAME")
    if schema.kind != "image":
        if embed:
            raise BadInput(f"--embed reads images, and this is a {schema.kind!r} domain")
        if backbone:
            raise BadInput(f"--backbone reads images, and this is a {schema.kind!r} domain")
        if schema.kind == "series" and "series" not in strategy.needs.kinds:
            raise UnsupportedTask(
                f"{name} reads {sorted(strategy.needs.kinds)} domains, got a 'series' domain",
                hint="npz:FILE#as=table flattens each series; dann reads them as they are",
            )
        return strategy, []
    if "image" in strategy.needs.kinds and not embed:
        return (strategy, []) if backbone is None else _rebuilt(strategy, backbone, weights)
    if "table" not in strategy.needs.kinds:
        return strategy, []  # its own refusal says it best
    from isthmus.learners.architectures import Architecture, RawPixels
    from isthmus.learners.embedded import Embedded

    network: Architecture = RawPixels()
    if backbone is not None:
        network = load_backbone(backbone, weights)
        said = f"{name} works on the features of {backbone}, which is part of the exported graph"
    elif math.prod(schema.shape) <= MOST_PIXELS:
        said = f"{name} reads tables: it works on raw pixels (--backbone NAME gives features)"
    else:
        raise BadInput(
            f"{name} reads tables, and images of {math.prod(schema.shape)} values are no features",
            hint="add --backbone resnet18 (with --weights FILE where there is no network)",
        )
    return Embedded(strategy=strategy, network=network), [said]


def _rebuilt(strategy: Any, model: str, weights: str | None) -> tuple[Strategy, list[str]]:
    """Put a backbone where the strategy keeps its network."""
    from isthmus.learners.neural import Neural

    fields = {f.name for f in dataclasses.fields(strategy)}
    if "network" in fields:
        return _with_backbone(strategy, model, weights), []
    if "learner" in fields:
        learner = strategy.learner or Neural()
        if not isinstance(learner, Neural):
            raise BadInput(f"learner {type(learner).__name__.lower()!r} takes no backbone")
        learner = _with_backbone(learner, model, weights)
        return dataclasses.replace(strategy, learner=learner), []
    raise BadInput(f"{strategy.name} has no network that a backbone could replace")


def _with_backbone(holder: Any, model: str, weights: str | None) -> Any:
    """Replace ``network``; the other settings of a backbone that is there already stay."""
    from isthmus.learners.backbones import Backbone

    network, old = load_backbone(model, weights), holder.network
    if isinstance(old, Backbone):
        network = dataclasses.replace(old, model=network.model, weights=network.weights)
    return dataclasses.replace(holder, network=network)


def load_backbone(model: str, weights: str | None) -> Backbone:
    """Return the recipe of a backbone; ``weights``: a file, "download" or "none"."""
    from isthmus.learners.backbones import Backbone

    if weights is None or weights in ("download", "none"):
        return Backbone(model=model, weights=weights or "download")
    path = Location.parse(f"file:{weights}").find()
    return Backbone(model=model, weights=str(path))
