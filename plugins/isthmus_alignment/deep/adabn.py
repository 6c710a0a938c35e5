"""AdaBN: adaptive batch normalisation.

Li, Wang, Shi, Hou & Liu, "Adaptive batch normalization for practical domain adaptation", Pattern
Recognition 80 (2018), arXiv:1603.04779. The prior is that of Schneider et al., "Improving
robustness against common corruptions by covariate shift adaptation", NeurIPS 2020,
arXiv:2006.16971.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.artefact import TorchAdapted
from isthmus.learners.architectures import BATCHED, Architecture
from isthmus.learners.loop import Training, seeded
from isthmus.learners.start import begin
from isthmus_alignment.deep.normalisation import adapt_statistics, norm_layers
from isthmus_alignment.limits import from_zero


@dataclass(frozen=True, kw_only=True)
class AdaBN(Strategy):
    """Replace the statistics of a source model's batch normalisation by those of the target.

    Each layer is given mean and variance of what it reads of the whole target, channel by channel,
    once the layers in front of it have theirs; no weight changes. It starts from ``task.start``, or
    from a network trained on the sources, which then keeps its own statistics for source rows.
    Cost: one pass of the target per layer; no memory beyond a batch. The paper has no settings; a
    ``prior`` above 0 steadies the statistics of few rows. Digits, LeNet (one such layer), seed 0:
    MNIST to USPS 86.2 from a source model at 80.5 (the paper has none on digits).
    """

    name: ClassVar[str] = "adabn"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=BATCHED, sources="optional", start="or-sources")

    prior: float = 0.0  # target rows for which the source's statistics count
    network: Architecture | None = None  # None: the usual one of the kind of data
    pretraining: Training = Training()  # on the sources, where no model is given

    def __post_init__(self) -> None:
        from_zero(self, "prior")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        with seeded(run):
            net, _ = begin(task, run, self.network, self.pretraining)
        source = copy.deepcopy(net.to(run.device))
        adapt_statistics(net, task.target.x, self.prior)
        return TorchAdapted(
            part=net,
            schema=task.schema,
            diagnostics={"normalisation_layers": len(norm_layers(net))},
            source_part=source,
        )
