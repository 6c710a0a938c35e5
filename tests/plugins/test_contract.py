"""The contract, over every strategy that the built-in plugins offer.

How many checks that was is in pytest's summary (see conftest.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace

import pytest

from isthmus import Adapted, Strategy
from isthmus.artefact import TorchAdapted, describe_part
from isthmus.learners import Neural, Training
from isthmus.learners.embedded import Embedded
from isthmus.manager import discover
from isthmus.settings import configure, parameters
from isthmus.testing import plan
from isthmus.testing.checks import check_onnx_matches
from isthmus.testing.domains import MAKERS
from isthmus_alignment.shallow.coral import CORAL
from isthmus_selection.auto import Auto

STEPS = 100  # of each training: the synthetic tasks are learnt by then
FEW = 20  # where a clause asks only whether the data are survived, or whether a result is the same
# No strategy knows which kind its batches are of. These have all of the contract on series, the
# others the clauses that say whether they can be read, after few steps: that is minutes less.
ON_SERIES = ("source-only", "target-only", "dann", "mcd", "fixmatch", "shot")
READ = ("predictions_are_well_formed", "refuses_or_survives_nan", "rows_are_independent")
# Several trainings share the steps, and so do the passes of costly ones.
SHARED = {"shot": 2, "aad": 2, "nrc": 2, "dsbn": 2, "vada": 2, "dirt-t": 4, "cycada": 5}
FOUND = {name: cls for name, _, cls in discover(third_party=False).strategies.items()}


def cheap(strategy: Strategy, steps: int = STEPS) -> Strategy:
    """Return the strategy with every training cut short, whatever the strategy calls it."""
    dotted = [p["name"] for p in parameters(strategy)]
    steps //= SHARED.get(strategy.name, 1)
    trainings = tuple(f"{stage}.steps" for stage in ("training", "pretraining", "translation"))
    short = {name: steps for name in dotted if name.endswith(trainings)}
    short |= {name: 1 for name in dotted if name == "encoder_steps"}
    short |= {"width": 4} if "translation.steps" in dotted else {}  # of translators
    recipe = configure(type(strategy), short)
    needs_network = strategy.needs.kinds - {"table"}
    if "learner" in dotted and recipe.learner is None and needs_network:
        recipe = replace(recipe, learner=Neural(training=Training(steps=steps)))
    return recipe


def variants(cls: type[Strategy]) -> Iterator[tuple[str, Strategy, Strategy | None, set[str]]]:
    """Yield (name, recipe, brief recipe, makers).

    A default learner that differs from the cheap one is extra.
    """
    if cls is Auto:  # it tries others, which have rows of their own
        few = ("source-only", "coral", "mcc", "graph-dann")
        yield cls.name, Auto(candidates=few, steps=30), None, {"table", "image", "graph"}
        return
    default, short = cls(), cheap(cls())
    kinds = {key for key in MAKERS if key.partition(":")[0] in cls.needs.kinds}
    brief = cheap(default, FEW)
    if cls.name not in ON_SERIES and "series" in kinds:
        kinds.remove("series")
        yield cls.name, brief, None, {"series"}
    yield cls.name, short, brief, kinds
    if getattr(default, "learner", short) is not getattr(short, "learner", short):
        yield (
            f"{cls.name}-default",
            default,
            None,
            {key for key in kinds if key.startswith("table")},
        )


RECIPES = [v for cls in FOUND.values() for v in variants(cls)]
RECIPES.append(("embedded-coral", Embedded(strategy=CORAL()), None, {"image"}))
ROWS = [
    pytest.param(name, case, check, id=id_.replace(case.strategy.name, name, 1))
    for name, recipe, brief, keys in RECIPES
    for id_, case, check in plan(recipe, brief=brief)
    if case.kind in keys
    and (
        case.kind != "series" or name in ON_SERIES or check.__name__.removeprefix("check_") in READ
    )
]


WRITTEN: set[str] = set()  # forms of artefacts of which this process has written a file


def form(adapted: Adapted) -> str:
    """Return all that an artefact's file depends on but the numbers in it.

    It is what a saved artefact is rebuilt from, which has a clause of its own.
    """
    assert isinstance(adapted, TorchAdapted)
    shapes = [(name, list(v.shape)) for name, v in adapted.part.state_dict().items()]
    return json.dumps([describe_part(adapted.part), shapes, asdict(adapted.schema)])


@pytest.mark.parametrize(("name", "case", "check"), ROWS)
def test_contract(name, case, check, record_property):
    if check is check_onnx_matches:  # most networks are of a few forms, a second's writing each
        if (of := form(case.first.adapted)) in WRITTEN:
            return
        WRITTEN.add(of)
    record_property("contract", case.strategy.name)
    check(case)


def test_no_strategy_and_no_kind_is_left_out():
    assert {name for name, *_ in RECIPES} >= set(FOUND)
    for name, cls in FOUND.items():
        tested = {row.values[1].kind.partition(":")[0] for row in ROWS if row.values[0] == name}
        assert tested == cls.needs.kinds, f"{name} is not tested on {cls.needs.kinds - tested}"


def test_every_variant_of_a_kind_is_tested():
    tested = {row.values[1].kind for row in ROWS}
    assert tested == set(MAKERS)


def test_deep_strategies_are_watched():
    """The clause about gradients says nothing of a strategy whose steps it never sees."""
    losses = {
        name: set(row.values[1].first.gradients)
        for row in ROWS
        if (name := row.values[0]) in ("dann", "mcc", "a2gnn", "graph-dann", "l2-sp")
        and row.values[2].__name__ == "check_adaptation_has_a_gradient"
    }
    assert losses["dann"] == losses["graph-dann"] == {"task", "domain"}
    assert losses["mcc"] == {"task", "confusion"}
    assert losses["a2gnn"] == {"task", "mmd"}
    assert losses["l2-sp"] == {"task", "drift"}
