"""Table strategies on images: embed once, adapt the features, export as one graph."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor

from isthmus.artefact import Part, TorchAdapted, build_part, describe_part
from isthmus.domain import Domain, Labelled, Schema, Task
from isthmus.errors import NotExportable, UnsupportedTask
from isthmus.learners.architectures import Architecture, RawPixels
from isthmus.learners.embeddings import embed
from isthmus.learners.loop import seeded
from isthmus.learners.network import Network
from isthmus.strategy import Adapted, Needs, Run, Strategy


class EmbeddedPart(Part):
    """head(encoder(pixels))."""

    def __init__(self, net: Network, head: Part) -> None:
        super().__init__()
        self.pixels, self.encoder, self.head = net.pixels, net.encoder, head
        self.made = net.settings()

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.head(self.encoder(self.pixels(image)))
        return out

    def observe(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        return self.head.observe(self.encoder(self.pixels(inputs[0])))

    def settings(self) -> dict[str, Any]:
        return {"network": self.made, "head": describe_part(self.head)}

    @classmethod
    def build(cls, settings: dict[str, Any]) -> Self:
        return cls(Network.build(settings["network"]), build_part(settings["head"]))

    def example(self) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
        return self.pixels.example()

    def preprocessing(self) -> dict[str, Any]:
        return self.pixels.describe()


@dataclass(frozen=True, kw_only=True)
class Embedded(Strategy):
    """Any table strategy on images, through a frozen network (or the raw pixels).

    It answers to the name of that strategy, and asks for what that one asks.
    """

    strategy: Strategy
    network: Architecture = RawPixels()

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.strategy.name

    @property
    def family(self) -> str:  # type: ignore[override]
        return self.strategy.family

    @property
    def needs(self) -> Needs:  # type: ignore[override]
        return dataclasses.replace(self.strategy.needs, kinds=frozenset({"image"}))

    @property
    def oracle(self) -> bool:  # type: ignore[override]
        return self.strategy.oracle

    def _adapt(self, task: Task, run: Run) -> Adapted:
        if task.start is not None:
            raise UnsupportedTask(f"{self.strategy.name} on embedded images starts from no model")
        raw = getattr(task.target.x, "raw", task.target.x)
        with seeded(run):
            net = Network(task.schema, self.network, accepts=int(raw.shape[3]), pretrained=True)
        net.to(run.device).eval()
        schema = dataclasses.replace(task.schema, kind="table", shape=(net.width,))
        inner = Task(
            sources=tuple(_embed(net, d, schema, run) for d in task.sources),
            target=_embed(net, task.target, schema, run),
            support=None if task.support is None else _embed(net, task.support, schema, run),
        )
        adapted = self.strategy.adapt(inner, run)
        if not isinstance(adapted, TorchAdapted):
            raise NotExportable(f"{self.strategy.name} returns no torch module to put on a network")
        part = EmbeddedPart(net, adapted.part).to(run.device)
        other = adapted.source_part
        if isinstance(other, Part):
            other = EmbeddedPart(net, other).to(run.device)
        return dataclasses.replace(adapted, part=part, schema=task.schema, source_part=other)


def _embed(net: Network, domain: Any, schema: Schema, run: Run) -> Any:
    """Return the domain with features (n, width) float32 for instances."""
    x = embed(net, domain.x, run, domain.name)
    if isinstance(domain, Labelled):
        return Labelled(name=domain.name, schema=schema, x=x, y=domain.y)
    return Domain(name=domain.name, schema=schema, x=x)
