"""LAME: Laplacian adjusted maximum-likelihood estimation.

Boudiaf, Mueller, Ben Ayed & Bertinetto, "Parameter-free online test-time adaptation", CVPR 2022,
arXiv:2201.05718.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from isthmus import Adapted, Domain, Needs, Run, Strategy, Task, rows
from isthmus.artefact import Part, TorchAdapted
from isthmus.learners.architectures import Architecture
from isthmus.learners.loop import Training, seeded
from isthmus.learners.modes import as_deployed
from isthmus.learners.network import Network
from isthmus.learners.start import begin
from isthmus_alignment.deep.predictions import full
from isthmus_alignment.limits import at_least_one
from isthmus_alignment.sourcefree.source import NEEDS
from isthmus_alignment.testtime.online import Rule

LARGEST = 4000  # landmarks
ITERATIONS, TOLERANCE = 100, 1e-8  # the authors'


@dataclass(frozen=True, kw_only=True)
class LAME(Strategy):
    """Change a model's predictions instead of its weights: neighbours in feature space agree.

    min over z of KL(z, q) - 1/2 sum_ij w_ij z_i . z_j for predictions q, where w_ij = 1 for the
    nearest rows by cosine: z_i = softmax(log q_i + sum of its neighbours' z), until it stays so. On
    a stream (``isthmus_alignment.testtime.online``) that is done batch by batch, as published. As a
    strategy it is done once on up to 4,000 landmarks of the target; new rows read those next to
    them, and a landmark counts itself, so that it is given the same once more. Cost: one pass of
    the target, 4,000 n for the neighbours, and per prediction 4,000 (d + classes). Neighbours are
    the authors'; nothing is trained. It helps where classes come in runs or are few, and sharpens
    what is wrong elsewhere, as its authors show. Digits, LeNet, seed 0: MNIST to USPS 84.2 from a
    source model at 80.5.
    """

    name: ClassVar[str] = "lame"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = NEEDS

    neighbours: int = 5
    network: Architecture | None = None  # None: the usual one of the kind of data
    pretraining: Training = Training()  # on the sources, where no model is given

    def __post_init__(self) -> None:
        at_least_one(self, "neighbours")

    def rule(self, net: Network, sources: Sequence[Domain]) -> Rule:
        return Batchwise(net, self.neighbours)

    def _adapt(self, task: Task, run: Run) -> Adapted:
        with seeded(run):
            net, _ = begin(task, run, self.network, self.pretraining)
        net.to(run.device).eval()
        x = task.target.x
        chosen = rows.shuffled(x, run.rng())[:LARGEST]
        f, q = as_deployed(net, rows.take(x, chosen))
        part = LaplacianPart(net, len(chosen), min(self.neighbours + 1, len(chosen)))
        part.features = F.normalize(f, dim=1)
        near = part.near(f)
        part.given, steps = laplacian(q, near)
        diagnostics = {"landmarks": len(chosen), "of": len(task.target), "iterations": steps}
        return TorchAdapted(part=part, schema=task.schema, diagnostics=diagnostics)


class Batchwise(Rule):
    """Predictions of a batch that agree among neighbours; the network stays as it is."""

    def __init__(self, net: Network, neighbours: int) -> None:
        self.net, self.neighbours = net, neighbours

    @torch.no_grad()
    def step(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        f = self.net.encode(x)
        likeness = cosines(f, F.normalize(full(f), dim=1)).fill_diagonal_(-torch.inf)
        near = likeness.topk(min(self.neighbours, len(x) - 1), dim=1).indices
        return laplacian(full(self.net.head(f)).softmax(dim=1), near)[0], {}


class LaplacianPart(Part):
    """A network whose predictions are adjusted by those of the landmarks next to its features."""

    def __init__(self, net: Network, landmarks: int, neighbours: int) -> None:
        super().__init__()
        self.net, self.neighbours = net, neighbours
        self.register_buffer("features", torch.zeros(landmarks, net.width))
        self.register_buffer("given", torch.zeros(landmarks, net.schema.width))
        self.features: Tensor
        self.given: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return self.observe(x)[1]

    def observe(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        f, q = self.net.observe(*inputs)
        return f, adjusted(q, self.given[self.near(f)])

    def near(self, f: Tensor) -> Tensor:
        """Return the places of the nearest landmarks, (n, neighbours), of features (n, width)."""
        return cosines(f, self.features).topk(self.neighbours, dim=1).indices

    def settings(self) -> dict[str, Any]:
        return {
            "net": self.net.settings(),
            "landmarks": len(self.features),
            "neighbours": self.neighbours,
        }

    @classmethod
    def build(cls, settings: dict[str, Any]) -> Self:
        return cls(Network.build(settings["net"]), settings["landmarks"], settings["neighbours"])

    def example(self) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
        return self.net.example()

    def preprocessing(self) -> dict[str, Any]:
        return self.net.preprocessing()


def laplacian(q: Tensor, near: Tensor) -> tuple[Tensor, int]:
    """Return the adjusted predictions (n, classes) of q, and the iterations that it took.

    ``near`` (n, k) says which rows are whose neighbours.
    """
    z, energies = q, [float(objective(q, q, near))]
    while len(energies) <= ITERATIONS:
        z = adjusted(q, z[near])
        energies.append(float(objective(z, q, near)))
        if abs(energies[-1] - energies[-2]) <= TOLERANCE * abs(energies[-2]):
            break
    return z, len(energies) - 1


def objective(z: Tensor, q: Tensor, near: Tensor) -> Tensor:
    """Return KL(z, q), summed over rows, less half the agreement of all rows and neighbours."""
    kl = torch.special.xlogy(z, z).sum() - (z * torch.log(q + 1e-10)).sum()
    return kl - (z * z[near].sum(dim=1)).sum() / 2


def adjusted(q: Tensor, given: Tensor) -> Tensor:
    """Return predictions (n, classes) of q (n, classes) and its neighbours' (n, k, classes)."""
    return (torch.log(q + 1e-10) + given.sum(dim=1)).softmax(dim=1)


def cosines(f: Tensor, unit: Tensor) -> Tensor:
    """Return the cosines (n, m) of features (n, d) and rows of length 1 (m, d)."""
    return F.normalize(full(f), dim=1) @ unit.T
