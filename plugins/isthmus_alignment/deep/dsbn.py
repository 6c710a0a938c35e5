"""DSBN: domain-specific batch normalisation.

Chang, You, Seo, Kwak & Han, "Domain-specific batch normalization for unsupervised domain
adaptation", CVPR 2019, arXiv:1906.03950. Its first stage is MSTN: Xie, Zheng, Chen & Chen,
"Learning semantic representations for unsupervised domain adaptation", ICML 2018.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.artefact import TorchAdapted
from isthmus.learners.architectures import BATCHED, Architecture
from isthmus.learners.feed import Batch
from isthmus.learners.loop import Objective, Step, Training, seeded, train
from isthmus.learners.network import Network, network_for
from isthmus.learners.start import later
from isthmus_alignment.deep.branches import encode_apart, joined, split
from isthmus_alignment.deep.dann import DomainAdversarial, ramp
from isthmus_alignment.deep.predictions import full
from isthmus_alignment.limits import a_share_if_given, at_least_one, from_zero


@dataclass(frozen=True, kw_only=True)
class DSBN(Strategy):
    """Share all weights between the domains but those of batch normalisation.

    Stage 1 is MSTN with a branch per domain: the task loss, DANN's critic, and the squared distance
    between the classes' moving centroids, the target's by its predicted labels. Stage 2 learns the
    source's labels and the target's pseudo-labels, those of (1 - ramp) p1 + ramp p for the frozen
    predictions p1 of stage 1. The target's branch is deployed, the source's kept for source rows.
    Cost: two stages, each a pass of both domains, and stage 1's target branch once more. Settings
    are MSTN's and the schedule DANN's; the authors' other first stage, CPUA, is left out, and so is
    a branch for each of several sources, which are pooled. Nothing was tuned. Digits, LeNet, 2,000
    steps of each stage, seed 0: USPS to MNIST 97.2; source-only 60.7. The paper has no digits.
    """

    name: ClassVar[str] = "dsbn"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=BATCHED, sources="any", outputs=frozenset({"classes"}))

    weight: float = 1.0  # of the critic and of the centroids: the ceiling of their schedule
    memory: float = 0.7  # theta: of the centroids
    critic_width: int = 256
    network: Architecture | None = None  # None: the usual one of the kind of data
    pretraining: Training = Training()  # stage 1
    training: Training = Training()  # stage 2

    def __post_init__(self) -> None:
        from_zero(self, "weight")
        a_share_if_given(self, "memory")
        at_least_one(self, "critic_width")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        source, target = task.source, task.target
        with seeded(run):
            net = network_for(task, self.network)
            split(net)
            first = SemanticTransfer(net, self.critic_width, self.weight, self.memory)
            train(net, first, source, target, run, self.pretraining, stage="pretrain")
            second = SelfTraining(joined(net, "target"))
            run = later(run, self.pretraining.steps)
            done = train(net, second, source, target, run, self.training)
        return TorchAdapted(
            part=joined(net, "target"),
            schema=task.schema,
            diagnostics={"training": done},
            source_part=joined(net, "source"),
        )


class SemanticTransfer(Objective):
    """The task loss, DANN's critic, and the distance of the domains' class centroids."""

    def __init__(self, net: Network, critic_width: int, weight: float, memory: float) -> None:
        super().__init__()
        self.adversarial = DomainAdversarial(net.width, critic_width, weight)
        self.weight, self.memory = weight, memory
        for domain in ("source", "target"):
            self.register_buffer(domain, torch.zeros(net.schema.width, net.width))
        self.source: Tensor
        self.target: Tensor

    def deployed(self, net: Network) -> Network:
        return joined(net, "target")

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        f_s, f_t = encode_apart(net, source, target)
        losses = self.adversarial.losses(net, f_s, f_t, source, done)
        guess = net.head(f_t).argmax(dim=1)
        c_s = moved(self.source, full(f_s), source.y, self.memory)
        c_t = moved(self.target, full(f_t), guess, self.memory)
        losses["semantic"] = self.weight * ramp(done) * F.mse_loss(c_s, c_t)
        yield Step(losses)
        self.source.copy_(c_s.detach())
        self.target.copy_(c_t.detach())


class SelfTraining(Objective):
    """The task loss, and that of the target's pseudo-labels, each in its branch."""

    def __init__(self, first: Network) -> None:
        super().__init__()
        self.first = first.requires_grad_(False)

    def deployed(self, net: Network) -> Network:
        return joined(net, "target")

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        f_s, f_t = encode_apart(net, source, target)
        z = full(net.head(f_t))
        with torch.no_grad():
            self.first.eval()
            p = full(self.first.head(self.first.encode(target.x))).softmax(dim=1)
            guess = torch.lerp(p, z.softmax(dim=1), ramp(done)).argmax(dim=1)
        task = net.loss(net.head(f_s), source.y, source.weight)
        yield Step({"task": task, "pseudo": F.cross_entropy(z, guess)})


def moved(centroids: Tensor, f: Tensor, y: Tensor, memory: float) -> Tensor:
    """Return ``memory`` of the centroids (c, d) and the rest of their classes' means.

    A class that the batch of features (b, d) and labels (b,) lacks keeps its centroid.
    """
    member = F.one_hot(y, len(centroids)).to(f.dtype)
    count = member.sum(dim=0)[:, None]
    with torch.autocast(f.device.type, enabled=False):
        now = (member.T @ f) / count.clamp_min(1)
    return torch.where(count > 0, memory * centroids + (1 - memory) * now, centroids)
