"""The weights that are kept are those of the best look, as trainings that end there show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from isthmus import BadInput, Evidence, Run
from isthmus.artefact import TorchAdapted
from isthmus.evaluator import judge
from isthmus.learners import MLP, Training
from isthmus.learners.best import HELD, watched
from isthmus.learners.loop import Supervised, seeded, train
from isthmus.learners.network import network_for
from isthmus.manager import discover
from isthmus.testing.domains import MAKERS
from isthmus_alignment.deep.dsbn import DSBN
from isthmus_alignment.deep.m3sda import M3SDA
from isthmus_alignment.selftraining.mean_teacher import MeanTeacher
from isthmus_alignment.sourcefree.shot import SHOT
from isthmus_evaluators.validators.information_maximisation import InformationMaximisation

TASK, _ = MAKERS["table"](0)
STEPS, EVERY = 40, 10


def trained(steps: int = STEPS, run: Run = Run(), **given: Any) -> tuple[Any, dict[str, Any]]:
    """Train so that the first steps are the same however many follow; with noise, to get worse."""
    training = Training(**{"steps": steps, "schedule": "constant", "lr": 0.3, **given})
    with seeded(run):
        net = network_for(TASK, MLP(widths=(4,), dropout=0.5))
        return net, train(net, Supervised(), TASK.source, TASK.target, run, training)


def scored(net: Any, name: str) -> float:
    adapted = TorchAdapted(part=net, schema=TASK.schema)
    value = judge(discover().validator(name), Evidence(adapted=adapted, target=TASK.target))
    assert isinstance(value, float)
    return value


def state(net: Any) -> list[Any]:
    return [v.clone() for v in net.state_dict().values()]


@pytest.mark.parametrize("ema", [None, 0.5])
@pytest.mark.parametrize(("name", "sign"), [("information-maximisation", 1), ("entropy", -1)])
def test_the_best_of_all_looks_is_kept(name: str, sign: int, ema: float | None) -> None:
    given = {"lr": 1.0, "ema": ema}
    looks = {n: trained(n, **given)[0] for n in range(EVERY, STEPS + 1, EVERY)}
    scores = {n: sign * scored(net, name) for n, net in looks.items()}
    best = max(scores, key=lambda n: scores[n])
    net, found = trained(validator=name, looks=STEPS // EVERY, **given)
    assert (found["kept"], found["steps"], found["of"]) == (best, STEPS, STEPS)
    assert found[name] == pytest.approx(sign * scores[best], abs=1e-7)
    assert all(torch.equal(a, b) for a, b in zip(state(net), state(looks[best]), strict=True))
    assert not net.training


def test_patience_ends_a_training_that_gets_no_better() -> None:
    said: list[str] = []
    every = {"lr": 1.0, "validator": "entropy", "looks": 40}
    _, whole = trained(**every)
    net, found = trained(run=Run(say=said.append), patience=3, **every)
    assert found["steps"] < STEPS
    assert found["steps"] == found["kept"] + 3
    assert said == [
        f"training ended after {found['steps']} of 40 steps: entropy was best after {found['kept']}"
    ]
    assert whole["entropy"] <= found["entropy"]  # lower is better, and it saw all the same looks


def test_a_training_that_patience_ended_is_over_when_resumed(tmp_path: Any) -> None:
    log: list[int] = []
    run = Run(checkpoint=tmp_path, log=lambda i, values: log.append(i))
    how = {"lr": 1.0, "validator": "entropy", "looks": 40, "patience": 3, "run": run}
    first, found = trained(**how)
    log.clear()
    again, resumed = trained(**how)
    assert (log, resumed) == ([], found)
    assert all(torch.equal(a, b) for a, b in zip(state(first), state(again), strict=True))


def test_a_validator_of_the_source_gets_rows_that_are_not_trained_on() -> None:
    weight = np.arange(len(TASK.source), dtype=np.float64)
    training = Training(validator="source-risk")
    net = network_for(TASK, MLP(widths=(4,)))
    given = [TASK.source]
    best, (kept,), w = watched(net, net.schema, given, TASK.target, weight, Run(), training)
    assert best is not None
    target, held = best.data
    assert held is not None
    assert len(held) == round(HELD * len(TASK.source))
    assert len(held) + len(kept) == len(TASK.source)
    np.testing.assert_array_equal(kept.x, TASK.source.x[w.astype(int)])
    assert not {x.tobytes() for x in held.x} & {x.tobytes() for x in kept.x}
    assert len(target) == len(TASK.target)
    _, found = trained(validator="source-risk", looks=2)
    assert 0 <= found["source-risk"] <= 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"validator": "accuracy"}, "reads target labels"),
        ({"validator": "reverse-validation"}, "adapts once more"),
        ({"validator": "rmse"}, "reads target labels"),
        ({"patience": 2}, "a validator for patience"),
        ({"validator": "entropy", "patience": 0}, "patience >= 1"),
        ({"validator": "entropy", "looks": 0}, "looks >= 1"),
    ],
)
def test_what_cannot_choose_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        trained(**given)


def test_a_training_without_source_is_chosen_by_the_target_alone() -> None:
    few = {"steps": 6, "looks": 3}
    network = MLP(widths=(4,))
    pretraining = Training(steps=4, validator="source-risk", looks=2)
    shot = SHOT(network=network, pretraining=pretraining, training=Training(validator="snd", **few))
    assert shot.adapt(TASK).diagnostics["training"]["kept"] in (2, 4, 6)
    asked = SHOT(network=network, training=Training(validator="source-risk", **few))
    with pytest.raises(BadInput, match="reads labelled rows, and this training has none"):
        asked.adapt(TASK)


@pytest.mark.parametrize("strategy", [MeanTeacher, DSBN, M3SDA])
def test_what_is_judged_is_what_would_be_deployed(strategy: Any) -> None:
    """Teachers, branches and committees of heads are not the network that is trained."""
    name, few = "information-maximisation", Training(steps=6, schedule="constant", lr=0.3)
    task = replace(TASK, sources=(TASK.source.take(slice(0, None, 2)), TASK.source))
    how = replace(few, validator=name, looks=1)
    adapted = strategy(network=MLP(widths=(4,)), training=how).adapt(task)
    evidence = Evidence(adapted=adapted, target=TASK.target)
    deployed = judge(InformationMaximisation(), evidence)
    assert adapted.diagnostics["training"][name] == pytest.approx(deployed, abs=1e-6)
