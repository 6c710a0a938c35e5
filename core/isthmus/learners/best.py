"""The weights that a validator likes best in the course of a training, and when to stop looking.

Musgrave, Belongie & Lim, "Three new validators and a large-scale benchmark ranking for unsupervised
domain adaptation", 2022, arXiv:2208.07360, choose checkpoints so; no target label is read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isthmus import rows
from isthmus.domain import Domain, Labelled, Schema, Task
from isthmus.errors import BadInput, RunFailed
from isthmus.evaluator import Evaluator, Evidence, judge
from isthmus.holdout import split
from isthmus.learners.modes import deployed
from isthmus.learners.network import Network
from isthmus.learners.ranks import Ranks
from isthmus.learners.training import Training
from isthmus.strategy import Run

SEEN = 2000  # rows of either domain that a look reads, at most
HELD = 0.1  # share of the labelled rows that are not trained on, for validators that ask for some


class Best(nn.Module):
    """The state of what is trained at the best of several looks; it counts in checkpoints."""

    def __init__(
        self,
        trained: nn.Module,
        validator: Evaluator,
        target: Domain,
        held_out: Labelled | None,
        training: Training,
    ) -> None:
        super().__init__()
        for name, value in trained.state_dict().items():
            self.register_buffer(_flat(name), value.clone())
        self.validator, self.data, self.patience = validator, (target, held_out), training.patience
        self.every = -(-training.steps // training.looks)
        for name, value in (("score", -math.inf), ("step", 0.0), ("seen", 0.0), ("worse", 0.0)):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float64))
        self.score: Tensor  # that of the state, higher is better
        self.step: Tensor  # after how many steps it was
        self.seen: Tensor  # after how many steps the last look was
        self.worse: Tensor  # looks since

    @property
    def over(self) -> bool:
        """Whether ``patience`` looks in a row were no better than the best."""
        return self.patience is not None and self.worse.item() >= self.patience

    @property
    def verdict(self) -> str:
        """Why the training is over, in one clause."""
        return f"{self.validator.name} was best after {int(self.step.item())}"

    def look(self, net: Network, done: int, trained: nn.Module) -> None:
        """Judge what would be deployed after ``done`` steps; keep the state if it is the best."""
        if done == self.seen.item():
            return
        target, held_out = self.data
        with deployed(net) as adapted:
            evidence = Evidence(adapted=adapted, target=target, source=held_out)
            value = judge(self.validator, evidence)
        sign = 1 if self.validator.higher_is_better else -1
        score = self.score.new_tensor(sign * float(value))  # type: ignore[arg-type]
        Ranks.here().average([score])  # or their statistics would part them
        self.seen.fill_(done)
        if not score > self.score:
            self.worse += 1
            return
        self.score.copy_(score)
        self.step.fill_(done)
        self.worse.zero_()
        for name, value in trained.state_dict().items():
            self.get_buffer(_flat(name)).copy_(value)

    def restore(self, trained: nn.Module) -> dict[str, Any]:
        """Give back the best state; return what the diagnostics should say."""
        if not self.score.isfinite():
            raise RunFailed(f"{self.validator.name} found no number for any step")
        kept = {name: self.get_buffer(_flat(name)) for name in trained.state_dict()}
        trained.load_state_dict(kept)
        sign = 1 if self.validator.higher_is_better else -1
        return {"kept": int(self.step.item()), self.validator.name: sign * self.score.item()}


def watched(
    trained: nn.Module,
    schema: Schema,
    given: Sequence[Labelled],
    target: Domain,
    weight: Any,
    run: Run,
    training: Training,
) -> tuple[Best | None, list[Labelled], Any]:
    """Return what looks at the training, and the labelled domains and weights to train on.

    Raises BadInput where the validator cannot be asked about this training.
    """
    if training.validator is None:
        return None, [*given], weight
    from isthmus.manager import discover

    validator = discover().validator(training.validator)
    if validator.adapts:
        raise BadInput(f"{validator.name} adapts once more, which cannot be done at every look")
    if not validator.applies(schema):
        raise BadInput(f"{validator.name} does not apply to this kind of output")
    held_out = None
    if validator.reads_source:
        if not given:
            raise BadInput(f"{validator.name} reads labelled rows, and this training has none")
        parts = [split(d, HELD, run.seed) for d in given]
        left = tuple(d.take(held) for d, (_, held) in zip(given, parts, strict=True))
        held_out = _some(Task(target=target, sources=left).source)
        weight = None if weight is None else np.asarray(weight)[parts[0][0]]
        given = [d.take(kept) for d, (kept, _) in zip(given, parts, strict=True)]
    return Best(trained, validator, _some(target), held_out, training), [*given], weight


def _flat(name: str) -> str:
    return "best/" + name.replace(".", "/")


def _some(domain: Any) -> Any:
    if len(domain) <= SEEN:
        return domain
    return domain.take(rows.canonical_order(domain.x)[:SEEN])
