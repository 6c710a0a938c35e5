"""The whole training loop. An objective decides what to minimise; this only steps.

Devices and mixed precision come from Lightning Fabric. The device is never waited for within a
step: losses are gathered there and read every ``FLUSH`` steps.
"""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from isthmus.domain import Domain, Labelled, Task
from isthmus.errors import BadInput, ProviderUnavailable, RunFailed
from isthmus.learners.checkpoint import Checkpoint
from isthmus.learners.feed import Batch, Feed
from isthmus.learners.network import Network
from isthmus.strategy import Run

FLUSH = 50  # steps between two readings of the losses
PRECISION: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


@dataclass(frozen=True, kw_only=True)
class Training:
    """How long and how fast. Shared by composition, not by a base class."""

    steps: int = 2000
    batch_size: int = 64  # of each domain
    optimiser: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: float = 0.01
    momentum: float = 0.9  # Nesterov
    weight_decay: float = 1e-3
    schedule: Literal["constant", "inverse", "cosine", "one-cycle"] = "inverse"
    clip: float | None = None  # largest gradient norm

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 2 or not self.lr > 0:
            raise BadInput(
                f"training needs steps >= 1, batch_size >= 2 and lr > 0, got steps={self.steps}, "
                f"batch_size={self.batch_size}, lr={self.lr}"
            )

    def rate(self, done: float) -> float:
        """Return the factor of ``lr`` when a share ``done`` of the steps is done."""
        if self.schedule == "inverse":  # Ganin et al., JMLR 2016, section 5.2.2
            return float((1 + 10 * done) ** -0.75)
        if self.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * done))
        if self.schedule == "one-cycle":  # Smith & Topin 2018, arXiv:1708.07120
            up = min(done / 0.3, 1.0)
            down = max(done - 0.3, 0.0) / 0.7
            return 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * up)) * (1 - down)
        return 1.0


@dataclass(frozen=True, eq=False)
class Step:
    """One optimiser step: named losses, and which parameters may move (None: all)."""

    losses: dict[str, Tensor]
    only: Sequence[nn.Parameter] | None = None


class Objective(nn.Module):
    """What to minimise. Owns its critics; knows no optimiser, no device, no epoch.

    By convention the loss of the labelled rows is called "task"; every other loss must move the
    encoder, which the contract checks.
    """

    uses_target: ClassVar[bool] = True

    @abstractmethod
    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        """Yield one Step per optimiser step; code after a yield sees the new weights."""


class Supervised(Objective):
    """The loss of the labelled rows alone."""

    uses_target: ClassVar[bool] = False

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        yield Step({"task": net.loss(net.head(net.encode(source.x)), source.y, source.weight)})


def train(
    net: Network,
    objective: Objective,
    labelled: Labelled,
    target: Domain,
    run: Run,
    training: Training,
    *,
    weight: Any = None,
    stage: str = "train",
) -> dict[str, Any]:
    """Train in place and leave ``net`` in eval mode; return what the diagnostics should say.

    ``weight`` is (n,) for the labelled rows. ``stage`` names the checkpoint when a strategy
    trains more than once.
    """
    fabric = _fabric(run)
    device = str(fabric.device)
    both = nn.ModuleDict({"net": net, "objective": objective}).to(device).train()
    groups = [*net.groups(), {"params": [*objective.parameters()], "rate": 1.0}]
    params = [p for g in groups for p in g["params"] if p.requires_grad]
    optimiser = _optimiser([g for g in groups if g["params"]], training)
    stepper = fabric.setup_optimizers(optimiser)
    checkpoint = Checkpoint(run, stage, training, both, optimiser, fabric)
    first = checkpoint.load()
    sources = Feed(labelled, training.batch_size, (run.seed, 0), device, weight).batches(first)
    targets = Feed(target, training.batch_size, (run.seed, 1), device).batches(first)
    nothing = Batch(x=None, y=torch.empty(0))
    pending: list[tuple[int, dict[str, Tensor]]] = []
    stop, i = time.monotonic() + (run.budget or math.inf), first - 1
    for i in range(first, training.steps):
        done = i / training.steps
        for g in optimiser.param_groups:
            g["lr"] = training.lr * g["rate"] * training.rate(done)
        source = _prepared(net, next(sources))
        goal = _prepared(net, next(targets)) if objective.uses_target else nothing
        steps = objective(net, source, goal, done)
        while (step := _next(fabric, steps)) is not None:
            if run.watch is not None:
                run.watch(net, step)
            optimiser.zero_grad(set_to_none=True)
            total = torch.stack([*step.losses.values()]).sum()
            fabric.backward(total, inputs=[*step.only] if step.only is not None else params)
            if training.clip is not None:
                fabric.clip_gradients(both, stepper, max_norm=training.clip, error_if_nonfinite=False)
            stepper.step()
            pending.append((i, {k: v.detach() for k, v in step.losses.items()}))
        if (i + 1) % FLUSH == 0:
            _flush(pending, run)
            run.progress(stage, i + 1, training.steps)
            checkpoint.maybe_save(i + 1)
            if time.monotonic() > stop:
                run.say(f"the time budget ended training after {i + 1} of {training.steps} steps")
                break
    _flush(pending, run)
    run.progress(stage, training.steps, training.steps)
    checkpoint.save(i + 1)
    both.eval()
    return {"steps": i + 1, "of": training.steps}


@contextmanager
def seeded(run: Run) -> Iterator[None]:
    """Seed torch for one run and leave the caller's random state as it was."""
    devices = [run.device] if run.device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(run.seed)
        yield


def encode_both(net: Network, source: Batch, target: Batch) -> tuple[Tensor, Tensor]:
    """Encode both domains, in one pass where rows allow it (shared batch statistics)."""
    if isinstance(source.x, tuple):
        return net.encode(source.x), net.encode(target.x)
    f = net.encode(torch.cat([source.x, target.x]))
    return f[: len(source.x)], f[len(source.x) :]


def _fabric(run: Run) -> Any:
    from lightning_fabric import Fabric

    kind, _, number = run.device.partition(":")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ProviderUnavailable(
            "device 'cuda' was asked for, but torch sees no GPU", hint="isthmus doctor"
        )
    if kind not in ("cpu", "cuda"):
        raise BadInput(f"device {run.device!r}: expected cpu, cuda or cuda:N")
    if run.precision == "fp16" and kind == "cpu":
        raise BadInput("fp16 trains on a GPU only; take bf16 or fp32 on a CPU")
    devices: Any = [int(number or 0)] if kind == "cuda" else 1
    return Fabric(accelerator=kind, devices=devices, precision=PRECISION[run.precision])


def _optimiser(groups: list[dict[str, Any]], t: Training) -> torch.optim.Optimizer:
    if t.optimiser != "sgd":
        kind = torch.optim.Adam if t.optimiser == "adam" else torch.optim.AdamW
        return kind(groups, lr=t.lr, weight_decay=t.weight_decay)
    return torch.optim.SGD(
        groups,
        lr=t.lr,
        momentum=t.momentum,
        nesterov=t.momentum > 0,
        weight_decay=t.weight_decay,
    )


def _prepared(net: Network, batch: Batch) -> Batch:
    with torch.no_grad():
        return Batch(x=net.prepare(batch.x), y=batch.y, weight=batch.weight)


def _next(fabric: Any, steps: Iterator[Step]) -> Step | None:
    with fabric.autocast():
        return next(steps, None)


def _flush(pending: list[tuple[int, dict[str, Tensor]]], run: Run) -> None:
    """Read the gathered losses in one transfer; a loss that is not finite ends the run."""
    if not pending:
        return
    values = iter(torch.stack([v.float() for _, d in pending for v in d.values()]).tolist())
    for i, losses in pending:
        read = {name: next(values) for name in losses}
        for name, value in read.items():
            if not math.isfinite(value):
                raise RunFailed(
                    f"the {name!r} loss became {value} at step {i}",
                    hint="try a smaller learning rate: --set training.lr=... or training.clip=1",
                )
        run.log(i, read)
    pending.clear()
