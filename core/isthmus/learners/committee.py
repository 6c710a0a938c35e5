"""Several models that answer as one: the mean of their probabilities."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from isthmus.artefact import Part, TorchAdapted, build_part, describe_part


class CommitteePart(Part):
    """The mean of the members' predictions; each reads the raw instance in its own way."""

    def __init__(self, members: Sequence[Part]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor, edges: Tensor | None = None) -> Tensor:
        inputs = (x,) if edges is None else (x, edges)
        return torch.stack([member(*inputs) for member in self.members]).mean(0)

    def observe(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the members' features side by side, and the mean of their predictions."""
        seen = [member.observe(*inputs) for member in self._parts()]
        return torch.cat([f for f, _ in seen], 1), torch.stack([p for _, p in seen]).mean(0)

    def settings(self) -> dict[str, Any]:
        return {"members": [describe_part(member) for member in self._parts()]}

    @classmethod
    def build(cls, settings: dict[str, Any]) -> Self:
        return cls([build_part(member) for member in settings["members"]])

    def example(self) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
        return self._parts()[0].example()

    def preprocessing(self) -> dict[str, Any]:
        return self._parts()[0].preprocessing()

    def _parts(self) -> list[Part]:
        return [member for member in self.members if isinstance(member, Part)]


def committee(members: Sequence[TorchAdapted]) -> TorchAdapted:
    """Return one artefact that predicts the mean of several; one member stays as it is."""
    first = members[0]
    if len(members) == 1:
        return first
    here = first.device
    sources = [m.for_source() for m in members]
    two_sided = any(s is not m for s, m in zip(sources, members, strict=True))
    return dataclasses.replace(
        first,
        part=CommitteePart([m.part.to(here) for m in members]),
        source_part=CommitteePart([_part(s).to(here) for s in sources]) if two_sided else None,
    )


def _part(adapted: Any) -> Part:
    part: Part = adapted.part
    return part
