"""TrAdaBoost.

Dai, Yang, Xue & Yu, "Boosting for transfer learning", ICML 2007; more than two classes as in
SAMME: Zhu, Zou, Rosset & Hastie, "Multi-class AdaBoost", Statistics and Its Interface 2 (2009).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from isthmus import Adapted, BadInput, Needs, Run, Strategy, Task
from isthmus.artefact import TorchAdapted
from isthmus.learners.learner import Learner
from isthmus.learners.neural import fit_learner
from isthmus.learners.weighting import diagnose
from isthmus_reweighting.committee import CommitteePart
from isthmus_reweighting.cross_fitting import asides

LEAST_ERROR = (
    1e-3  # a round without a mistake on the target has a large weight, not an infinite one
)


@dataclass(frozen=True, kw_only=True)
class TrAdaBoost(Strategy):
    """Boost on a few labelled target rows; source rows that are got wrong lose weight each round.

    The second half of the rounds votes; for two classes it is the paper's rule. A learner that
    cannot be wrong on what it was fitted to, such as 1-NN, leaves nothing to boost. Cost and
    memory: as many fits as rounds, and as many models in the artefact as half of them.
    """

    name: ClassVar[str] = "tradaboost"
    family: ClassVar[str] = "reweighting"
    needs: ClassVar[Needs] = Needs(
        kinds=frozenset({"table"}), sources="any", support=True, outputs=frozenset({"classes"})
    )

    rounds: int = 20
    learner: Learner | None = None  # None: Linear

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise BadInput(f"tradaboost: rounds={self.rounds}, expected at least 1")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        assert task.support is not None  # needs.support
        n, m, k = sum(map(len, task.sources)), len(task.support), task.schema.width
        both = replace(task, sources=(*task.sources, task.support), support=None)
        both = replace(both, sources=(both.source,))
        y = both.source.y
        w = np.repeat([1 / n, 1 / m], [n, m])
        decay = 1 / (1 + np.sqrt(2 * np.log(n) / self.rounds))  # the paper's beta
        models: list[TorchAdapted] = []
        says, errors = np.zeros(self.rounds), np.zeros(self.rounds)
        for t, aside in enumerate(asides(run, self.rounds)):
            model = fit_learner(self.learner, both, aside, w * (len(w) / w.sum()))
            wrong = model.predict(both.source.x).argmax(1) != y
            errors[t] = np.average(wrong[n:], weights=w[n:])
            # A round that guesses would have no say, or a negative one.
            error = np.clip(errors[t], LEAST_ERROR, 0.99 * (1 - 1 / k))
            says[t] = np.log((1 - error) / error) + np.log(k - 1)
            models.append(model)
            w = w * np.where(np.arange(n + m) < n, decay**wrong, np.exp(says[t] * wrong))
            w /= w.sum()
            run.progress("boost", t + 1, self.rounds)
        # The paper votes by rounds ceil(N / 2) to N, counted from 1.
        first = max(-(-self.rounds // 2) - 1, 0)
        part = CommitteePart.of([a.part for a in models[first:]], says[first:], "vote")
        return TorchAdapted(
            part=part.to(models[0].device),
            schema=task.schema,
            diagnostics={
                "weights": diagnose(w[:n] * (n / w[:n].sum())),
                "target_errors": errors.tolist(),
                "source_share": float(w[:n].sum()),
            },
        )
