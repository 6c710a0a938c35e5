"""Our strategies as a user calls them, on bytes."""

from __future__ import annotations

from typing import Any

from isthmus import Domain, Labelled, Run, Schema, Strategy, Task
from isthmus.learners import LeNet, Training
from isthmus.learners.neural import Neural
from isthmus_alignment.deep.cdan import CDAN
from isthmus_alignment.deep.dan import DAN
from isthmus_alignment.deep.dann import DANN
from isthmus_alignment.deep.mcc import MCC
from isthmus_alignment.deep.mdd import MDD
from isthmus_baselines.source_only import SourceOnly
from libraries.parts import CLASSES, STEPS, Meter

SCHEMA = Schema(kind="image", shape=(28, 28, 1), classes=tuple(map(str, range(CLASSES))))


def train(
    data: dict[str, Any],
    meter: Meter,
    size: int,
    device: str,
    *,
    strategy: type[Strategy],
    precision: Any = "fp32",
    compiled: bool = False,
    **options: Any,
) -> None:
    training = Training(steps=STEPS, batch_size=size, **options)
    net = LeNet()
    source = Labelled(name="source", schema=SCHEMA, x=data["x_source"], y=data["y_source"])
    target = Domain(name="target", schema=SCHEMA, x=data["x_target"])
    given: dict[str, Any] = {"network": net, "training": training}
    made = strategy(learner=Neural(**given)) if strategy is SourceOnly else strategy(**given)
    run = Run(device=device, precision=precision, compile=compiled, watch=meter)
    made.adapt(Task(sources=(source,), target=target), run)


FAST: dict[str, dict[str, Any]] = {
    "eager": {},
    "compile": {"compiled": True},
    "bf16": {"precision": "bf16"},
    "bf16 compile": {"precision": "bf16", "compiled": True},
}
METHODS = {
    cls.name: {how: (train, {"strategy": cls, **given}) for how, given in FAST.items()}
    for cls in (SourceOnly, DANN, CDAN, DAN, MCC, MDD)
}
