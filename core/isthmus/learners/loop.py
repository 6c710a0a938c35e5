"""The whole training loop. An objective decides what to minimise; this only steps.

Devices and mixed precision come from Lightning Fabric. The device is never waited for within a
step: losses are gathered there and read every ``FLUSH`` steps, or after ``PATIENCE`` seconds of
slow ones. (fp16 waits once per step, for the scaler to see whether a gradient overflowed.)
"""

from __future__ import annotations

import functools
import math
import operator
import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from isthmus.domain import Domain, Labelled
from isthmus.errors import BadInput, RunFailed
from isthmus.learners.average import Average
from isthmus.learners.best import watched
from isthmus.learners.checkpoint import Checkpoint
from isthmus.learners.compiled import compiled
from isthmus.learners.feed import Batch, Feed, prepared
from isthmus.learners.memory import keep_freed
from isthmus.learners.network import Network
from isthmus.learners.ranks import Ranks
from isthmus.learners.told import SLOWER, tell
from isthmus.learners.training import Training as Training
from isthmus.learners.training import optimiser_for
from isthmus.strategy import Run
from isthmus.tensors import device_of

FLUSH = 50  # steps between two readings of the losses
PATIENCE = 1.0  # seconds
PRECISION: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


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

    def deployed(self, net: Network) -> Network:
        """Return the network as it would be deployed now, for a validator to judge."""
        return net

    def given(self, labelled: Sequence[Labelled]) -> None:
        """Learn once, at first, which labelled rows there are: some are held out to validate."""

    def stepped(self, net: Network) -> None:
        """Follow the new weights, after the last step of a batch (of ``accumulate`` batches)."""

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
    labelled: Labelled | Sequence[Labelled],
    target: Domain,
    run: Run,
    training: Training,
    *,
    weight: Any = None,
    stage: str = "train",
) -> dict[str, Any]:
    """Train in place and leave ``net`` in eval mode; return what the diagnostics should say.

    Several labelled domains give a batch that holds ``batch_size`` rows of each, one domain after
    the other; none, an empty batch. ``weight`` is (n,) for the rows of a single one. ``stage``
    names checkpoint and progress when a strategy trains more than once; all stages share
    ``run.budget``. Batch normalisation whose parameters are frozen keeps its statistics too. With
    ``training.ema`` the network ends with the averaged weights, and with ``training.validator`` as
    it was at that one's best look. Raises RunFailed when a loss is no longer finite. Where several
    processes train (see ``ranks``), each takes every so many-th batch.
    """
    keep_freed()
    fabric, ranks = _fabric(run), Ranks.here()
    given = [labelled] if isinstance(labelled, Labelled) else [*labelled]
    average = None if training.ema is None else Average(net, training.ema)
    modules = {"net": net, "objective": objective, "average": average}
    trained = nn.ModuleDict({k: m for k, m in modules.items() if m is not None})
    best, given, weight = watched(trained, net.schema, given, target, weight, run, training)
    objective.given(given)
    judged = net if average is None else average.net
    both = trained if best is None else nn.ModuleDict({**trained, "best": best})
    both.to(fabric.device).train()
    _freeze_statistics(both)
    net.smoothing = training.smoothing
    groups = [*net.groups(), {"params": [*objective.parameters()], "rate": 1.0}]
    groups, fused = [g for g in groups if g["params"]], run.precision != "fp16"
    optimiser = optimiser_for(groups, training, fused=fused)
    stepper = fabric.setup_optimizers(optimiser)
    checkpoint = Checkpoint(run, stage, training, both, optimiser, fabric)
    first = done = checkpoint.load()
    ranks.agree(both)
    if ranks.rank:  # the first one writes, and what is dropped at random differs
        checkpoint.path = None
        _seed(fabric.device, run.seed + ranks.rank)
    size, parts, device = training.batch_size, training.accumulate, fabric.device
    feeds = [Feed(d, size, (run.seed, 0), device, weight, training.balanced) for d in given]
    if objective.uses_target:
        feeds.append(Feed(target, size, (run.seed, 1), device))
    pending: list[tuple[int, dict[str, Tensor]]] = []
    began = flushed = time.monotonic()
    stop = run.ends(began)
    place = slice(first * parts * ranks.world + ranks.rank, None, ranks.world)
    ready = prepared(net.prepare, feeds, len(given), place, training.augment)
    with compiled(net, run), closing(ready) as batches:
        optimiser.zero_grad()
        over = best is not None and best.over
        while done < training.steps and not over:
            i, share = done, done / training.steps
            for g in optimiser.param_groups:
                g["lr"] = training.lr * g["rate"] * training.rate(share)
            takes = [objective(net, *next(batches), share) for _ in range(parts)]
            while losses := _gradient(fabric, takes, net, run):
                ranks.average(p.grad for p in both.parameters() if p.grad is not None)
                if training.clip is not None:
                    fabric.clip_gradients(
                        both, stepper, max_norm=training.clip, error_if_nonfinite=False
                    )
                stepper.step()
                optimiser.zero_grad()
                pending += [(i, values) for values in losses]
            objective.stepped(net)
            if average is not None:
                average.update(net)
            done, now = i + 1, time.monotonic()
            if best is not None and done % best.every == 0:
                best.look(objective.deployed(judged), done, trained)
                over = best.over
            if done % FLUSH == 0 or now > min(flushed + PATIENCE, stop):
                tell(pending, run)
                run.progress(stage, done, training.steps)
                checkpoint.maybe_save(done)
                flushed = now
            late = stop < math.inf and ranks.any(now > stop, device)
            if late and done < training.steps:
                run.say(f"the time budget ended training after {done} of {training.steps} steps")
                break
    tell(pending, run)
    if not all(bool(p.isfinite().all()) for p in both.parameters()):
        raise RunFailed(f"the weights are not finite after step {done - 1}", hint=SLOWER)
    run.progress(stage, done, training.steps)
    ranks.average(b for b in both.buffers() if b.is_floating_point())
    if done > first:
        checkpoint.save(done)
    found = {"steps": done, "of": training.steps}
    if best is not None:
        best.look(objective.deployed(judged), done, trained)
        found |= best.restore(trained)
        if over:
            run.say(f"training ended after {done} of {training.steps} steps: {best.verdict}")
    if average is not None:
        average.deploy(net)
    both.eval()
    return found


@contextmanager
def seeded(run: Run) -> Iterator[None]:
    """Seed torch for one run and leave the caller's random state as it was."""
    device = device_of(run.device)
    devices = [] if device.type == "cpu" else [device.index]
    with torch.random.fork_rng(devices=devices):
        _seed(device, run.seed)
        yield


def _seed(device: torch.device, seed: int) -> None:
    torch.default_generator.manual_seed(seed)  # torch.manual_seed moves every device's
    if device.type == "cuda":
        torch.cuda.default_generators[device.index].manual_seed(seed)


def encode_both(net: Network, source: Batch, target: Batch) -> tuple[Tensor, Tensor]:
    """Encode both domains, in one pass where rows allow it (shared batch statistics)."""
    if isinstance(source.x, tuple):
        return net.encode(source.x), net.encode(target.x)
    f = net.encode(torch.cat([source.x, target.x]))
    return f[: len(source.x)], f[len(source.x) :]


def _fabric(run: Run) -> Any:
    from lightning_fabric import Fabric

    device = device_of(run.device)
    if run.precision == "fp16" and device.type == "cpu":
        raise BadInput("fp16 trains on a GPU only; take bf16 or fp32 on a CPU")
    devices: Any = 1 if device.type == "cpu" else [device.index]
    return Fabric(accelerator=device.type, devices=devices, precision=PRECISION[run.precision])


def _freeze_statistics(modules: nn.Module) -> None:
    for m in modules.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.affine:
            m.train(m.training and any(p.requires_grad for p in m.parameters()))


def _gradient(
    fabric: Any, takes: Sequence[Iterator[Step]], net: Network, run: Run
) -> list[dict[str, Tensor]]:
    """Add up the gradients of the next step of every take; return its losses, none at the end."""
    found = []
    for take in takes:
        with fabric.autocast():
            step = next(take, None)
        if step is not None:
            if run.watch is not None:
                run.watch(net, step)
            total = functools.reduce(operator.add, step.losses.values()) / len(takes)
            fabric.backward(total, inputs=None if step.only is None else [*step.only])
            found.append({k: v.detach() for k, v in step.losses.items()})
    return found
