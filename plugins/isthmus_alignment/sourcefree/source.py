"""What source-free methods share: what they need, and the model that they are given."""

from __future__ import annotations

from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

from isthmus import Needs, Run, Task
from isthmus.learners.architectures import BATCHED, Architecture
from isthmus.learners.loop import Objective, Supervised, Training
from isthmus.learners.network import Network
from isthmus.learners.start import begin

NEEDS = Needs(
    kinds=BATCHED,
    sources="optional",
    start="or-sources",
    outputs=frozenset({"classes"}),
)
SMOOTHED = Training(smoothing=0.1)  # of the source: the features of a class lie closer together


def source_model(
    task: Task, run: Run, network: Architecture | None, training: Training
) -> tuple[Network, Run]:
    """Return the model of the task, or one trained on the sources; and the run of what follows.

    Where it is trained here, the head's weights are normalised meanwhile (Liang et al., ICML 2020,
    section 3.4), so that no class is favoured by the length of its weights.
    """

    def objective(net: Network) -> Objective:
        weight_norm(net.head)
        return Supervised()

    net, run = begin(task, run, network, training, objective)
    if parametrize.is_parametrized(net.head):
        parametrize.remove_parametrizations(net.head, "weight")
    return net, run
