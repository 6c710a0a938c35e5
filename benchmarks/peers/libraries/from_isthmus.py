"""Our strategies, called as a user does: ``Strategy.adapt(task, run)``, then ``predict``."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from isthmus import Labelled, Run, Schema, Strategy, Task
from isthmus.domain import Domain
from isthmus.learners.neighbours import NearestNeighbours
from isthmus_alignment import plugin
from isthmus_alignment.shallow.coral import CORAL
from isthmus_alignment.shallow.meda import MEDA
from isthmus_alignment.shallow.subspace_alignment import SubspaceAlignment
from isthmus_alignment.shallow.tca import TCA
from isthmus_alignment.transport.class_reg import OTClassReg
from isthmus_alignment.transport.emd import OTEMD
from isthmus_alignment.transport.entropic import OTSinkhorn
from isthmus_alignment.transport.jdot import JDOT
from isthmus_alignment.transport.linear_monge import LinearMonge
from isthmus_baselines.source_only import SourceOnly
from libraries.outcome import Outcome, trace_criterion

ONE = NearestNeighbours()


def run(x_s: Any, y_s: Any, x_t: Any, *, strategy: Strategy) -> Outcome:
    classes = tuple(map(str, range(int(y_s.max()) + 1)))
    schema = Schema(kind="table", shape=x_s.shape[1:], classes=classes)
    source = Labelled(name="source", schema=schema, x=x_s, y=y_s)
    task = Task(sources=(source,), target=Domain(name="target", schema=schema, x=x_t))
    adapted = strategy.adapt(task, Run())

    def notes() -> dict[str, Any]:
        out: dict[str, Any] = dict(adapted.diagnostics.get("transport", {}))
        if "objective" in adapted.diagnostics:
            out["iterations"] = len(adapted.diagnostics["objective"])
        if isinstance(strategy, TCA) and strategy.kernel == "rbf":
            state = {k: v.double().numpy() for k, v in adapted.part.state_dict().items()}
            at = next(k for k in state if k.endswith("landmarks")).removesuffix("landmarks")
            rows, gamma = state[f"{at}landmarks"] + state[f"{at}centre"], state[f"{at}gamma"]
            w = next(v for k, v in state.items() if k.endswith("matrix"))
            out["criterion"] = trace_criterion(x_s, x_t, rows, float(gamma[0]), w, 1.0)
        return out

    return Outcome(
        predict=lambda x: adapted.predict(x).argmax(1),
        new=lambda x: adapted.for_source().observe(x)[0],
        notes=notes,
    )


def shallow() -> dict[str, type[Strategy]]:
    """Return what is compared: all of the family that trains no network and needs no label more."""
    return {
        cls.name: cls
        for cls in plugin.isthmus_strategies()
        if re.search(r"\.(shallow|transport)\.", cls.__module__) and not cls.needs.support
    }


# The same problem as the peers' "matched" settings, with the same last step.
MATCHED: dict[str, Strategy] = {
    "tca": TCA(kernel="rbf", normalise=False, unit=False, learner=ONE),
    "sa": SubspaceAlignment(normalise=False, learner=ONE),
    "coral": CORAL(normalise=False, learner=ONE),
    "linot": LinearMonge(learner=ONE),
    "emd": OTEMD(learner=ONE),
    "sinkhorn": OTSinkhorn(learner=ONE),
    "lpl1": OTClassReg(norm="lpl1", learner=ONE),
    "jdot": JDOT(),
}
# A second setting, as peers have one: columns in one unit as they are, a weight of median costs.
SCALED: dict[str, Strategy] = {"meda": MEDA(normalise=False), "ot-class-reg": OTClassReg(eta=1.0)}
METHODS: dict[str, dict[str, tuple[Any, dict[str, Any]]]] = {
    **{name: {"default": (run, {"strategy": cls()})} for name, cls in shallow().items()},
    "source-only": {"default": (run, {"strategy": SourceOnly()})},
    "source-only-1nn": {"default": (run, {"strategy": replace(SourceOnly(), learner=ONE)})},
}
for setting, given in (("matched", MATCHED), ("scaled", SCALED)):
    for name, strategy in given.items():
        METHODS.setdefault(name, {})[setting] = (run, {"strategy": strategy})
