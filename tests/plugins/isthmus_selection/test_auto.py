"""auto answers with what deserves it, says why, and keeps source-only when in doubt."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from isthmus import Labelled, Run, Schema, Task
from isthmus.compose import load_labelled
from isthmus.manager import discover
from isthmus.matching import match
from isthmus.shift import inspect_shift
from isthmus.strategy import Strategy
from isthmus_alignment.shallow.coral import CORAL
from isthmus_selection.auto import Auto, _fewer
from isthmus_selection.contenders import contenders
from isthmus_selection.trials import AGREEMENT, AT_SHARES, Trial, rank

FEW = ("source-only", "coral", "discriminator")
SCHEMA = Schema(kind="table", shape=(6,), classes=("a", "b", "c"))


def load(uri):
    return load_labelled(discover(third_party=False), uri)


def digits(target):
    task, _ = match([load("digits:upright#as=table")], load(f"digits:{target}#as=table"))
    return task, load(f"digits:{target}#as=table&split=test")


def blobs(shift=0.0, n=240, seed=0, name="blobs", turn=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = rng.normal(size=(n, 6)) + 4 * np.eye(6)[(y + turn) % 3] + shift
    return Labelled(name=name, schema=SCHEMA, x=x.astype(np.float32), y=y)


def task_of(source, target):
    return Task(sources=(source,), target=target.unlabelled())


def adapt(auto, task, **options):
    said = []
    adapted = auto.adapt(task, Run(say=said.append, **options))
    return adapted, adapted.diagnostics["auto"], said


def accuracy(adapted, test):
    return float((adapted.predict(test.x).argmax(1) == test.y).mean())


def test_where_adapting_helps_it_adapts_and_is_better():
    task, test = digits("blurred")
    adapted, told, said = adapt(Auto(candidates=FEW), task)
    floor = discover().strategies["source-only"]().adapt(task)
    assert "coral" in told["answer"]
    assert accuracy(adapted, test) > accuracy(floor, test) + 0.05
    assert 0 < told["gain"]["low"] < told["gain"]["estimate"] < told["gain"]["high"]
    assert len(said) <= 5
    assert any("estimated gain" in s for s in said)
    found = {c["strategy"]: c["scores"] for c in told["candidates"]}
    assert set(found) == set(FEW)
    assert set(found["coral"]) == {"source-risk", "information-maximisation", AGREEMENT}


def test_where_columns_do_not_correspond_it_is_source_only_and_says_why():
    task, _ = digits("blurred")
    order = np.random.default_rng(0).permutation(64)
    target = dataclasses.replace(task.target, x=task.target.x[:, order])
    _, told, said = adapt(Auto(candidates=FEW), dataclasses.replace(task, target=target))
    assert told["answer"] == ["source-only"]
    assert told["shift"]["correspondence"] == "none shown"
    assert "no sign that columns mean the same in both domains" in said[0]


def test_without_a_shift_it_is_source_only():
    task, _ = match([load("digits:upright#as=table")], load("digits:upright#as=table&half=b"))
    adapted, told, said = adapt(Auto(candidates=FEW), task)
    assert told["answer"] == ["source-only"]
    assert not told["shift"]["shown"]
    assert "no shift" in said[0]
    floor = discover().strategies["source-only"]().adapt(task)
    np.testing.assert_array_equal(adapted.predict(task.target.x), floor.predict(task.target.x))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Turned(Strategy):
    """Harm: what CORAL learns when every source label is another one."""

    name = "turned"
    family = "alignment"
    needs = CORAL.needs

    def _adapt(self, task, run):
        source = task.source
        y = (source.y + 1) % len(source.schema.classes)
        return CORAL().adapt(dataclasses.replace(task, sources=(dataclasses.replace(source, y=y),)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Breaks(Strategy):
    name = "breaks"
    family = "alignment"
    needs = CORAL.needs

    def _adapt(self, task, run):
        raise ZeroDivisionError("by design")


class Plugin:
    from isthmus import hookimpl

    @hookimpl
    def isthmus_strategies(self):
        return [Turned, Breaks]


@pytest.fixture
def with_bad_ones(monkeypatch):
    catalogue = discover({"bad": Plugin}, third_party=False)
    monkeypatch.setattr("isthmus_selection.auto.discover", lambda: catalogue)


def test_a_strategy_that_harms_is_not_taken(with_bad_ones):
    task, test = digits("noisy")
    adapted, told, said = adapt(Auto(candidates=("turned",), members=1), task)
    assert told["answer"] == ["source-only"]
    assert told["gain"]["low"] <= 0 or "source" in told["reason"]
    assert any("against adapting" in s for s in said)
    floor = discover().strategies["source-only"]().adapt(task)
    assert accuracy(adapted, test) == accuracy(floor, test)


def test_a_strategy_that_fails_costs_itself_alone(with_bad_ones):
    task, _ = digits("blurred")
    _, told, said = adapt(Auto(candidates=("breaks", "coral")), task)
    assert "ZeroDivisionError" in told["left_out"]["breaks"]
    assert any("breaks" in s for s in said)
    assert "breaks" not in told["answer"]


def test_strategies_that_cannot_take_the_task_or_need_labels_are_left_out():
    task, _ = digits("blurred")
    _, told, _ = adapt(Auto(candidates=("a2gnn", "fine-tune", "target-only", "coral")), task)
    assert "graph" in told["left_out"]["a2gnn"]
    assert "labelled target" in told["left_out"]["fine-tune"]
    assert {c["strategy"] for c in told["candidates"]} == {"source-only", "coral"}


def test_families_that_the_shift_speaks_against_are_left_out_unless_asked_for():
    task, _ = digits("noisy")
    shift = inspect_shift(task, Run())
    everybody = contenders(discover(third_party=False), task, (), None, None, shift)
    assert "no rows to weigh" in everybody.unlikely["discriminator"]
    assert {"coral", "dann"} <= set(everybody.strategies)
    _, told, _ = adapt(Auto(candidates=FEW), task)
    assert "discriminator" in {c["strategy"] for c in told["candidates"]}


def test_every_stage_of_a_training_is_shortened():
    task, _ = digits("noisy")
    shift = inspect_shift(task, Run())
    found = contenders(discover(third_party=False), task, ("shot",), None, 7, shift)
    shot = found.strategies["shot"]
    assert shot.training.steps == shot.pretraining.steps == 7


def test_one_member_is_that_strategy_with_all_rows():
    task, _ = digits("blurred")
    adapted, told, _ = adapt(Auto(candidates=("source-only", "coral"), members=1), task)
    assert told["answer"] == ["coral"]
    wanted = CORAL().adapt(task).predict(task.target.x)
    np.testing.assert_allclose(adapted.predict(task.target.x), wanted, atol=1e-6)


def test_rounds_have_more_and_more_rows_and_fewer_candidates(monkeypatch):
    seen = []
    sane = CORAL._adapt

    def counting(self, task, run):
        seen.append((len(task.source), len(task.target)))
        return sane(self, task, run)

    monkeypatch.setattr(CORAL, "_adapt", counting)
    task = task_of(blobs(n=1000), blobs(shift=1.0, n=900, seed=1))
    _, told, _ = adapt(Auto(candidates=FEW, rows=100, members=1), task)
    assert seen[0] == (100, 100)
    assert sorted(seen) == seen
    if told["answer"] == ["coral"]:
        assert seen[-1] == (1000, 900)
    small = _fewer(task, 50, 3)
    assert (len(small.source), len(small.target)) == (50, 50)
    assert _fewer(task, 5000, 3).source is task.source


def test_several_sources_share_one_hold_out():
    sources = (blobs(name="one"), blobs(seed=5, name="two"))
    task = Task(sources=sources, target=blobs(shift=1.5, seed=1).unlabelled())
    _, told, _ = adapt(Auto(candidates=FEW), task)
    assert told["shift"]["shown"]
    assert {c["strategy"] for c in told["candidates"]} <= set(FEW)


def test_places_are_means_of_ranks_and_source_only_wins_ties():
    def trial(name, *values):
        scores = dict(zip("uvw", values, strict=False))
        return Trial(name, None, np.zeros(0), np.zeros(0), scores)

    trials = [trial("b", 3, 1), trial("source-only", 1, 3), trial("a", 2, 2)]
    assert [t.name for t in rank(trials)] == ["source-only", "a", "b"]
    assert [t.name for t in rank([trial("a", 1), trial("b", 2)])] == ["b", "a"]


@pytest.mark.parametrize("change", [{"members": 0}, {"holdout": 1.0}, {"confidence": 0.0}])
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(ValueError, match="1"):
        Auto(**change)


def test_where_classes_differ_in_number_nothing_is_aligned():
    """Alignment would mix the classes, and looks good to every validator while it does."""
    source, target = load("digits:upright#as=table"), load("digits:upright#as=table&half=b")
    few = target.take(np.flatnonzero(np.isin(target.y, (1, 7))))
    task, _ = match([source], few)
    adapted, told, said = adapt(Auto(candidates=("coral", "linear-monge", "mlls")), task)
    assert "class shares" in told["left_out"]["coral"]
    assert any("class shares" in s for s in said)
    floor = discover().strategies["source-only"]().adapt(task)
    harmed = CORAL().adapt(task)
    assert accuracy(adapted, few) >= accuracy(floor, few) > accuracy(harmed, few) + 0.2


def test_where_classes_differ_in_number_their_shares_are_used():
    """Held-out source at the target's shares tells what is gained, where other validators err."""

    def drawn(n, shares, seed):
        rng = np.random.default_rng(seed)
        y = rng.choice(3, n, p=shares)
        x = rng.normal(size=(n, 6)) + 1.5 * np.eye(6)[y]
        return Labelled(name=f"{seed}", schema=SCHEMA, x=x.astype(np.float32), y=y)

    target = drawn(2000, [0.9, 0.05, 0.05], 1)
    task = task_of(drawn(2000, [1 / 3] * 3, 0), target)
    adapted, told, said = adapt(Auto(candidates=("mlls", "bbse", "coral"), members=1), task)
    assert told["answer"][0] in ("mlls", "bbse")
    assert any("class shares differ" in s for s in said)
    assert [set(c["scores"]) for c in told["candidates"]] == [{AT_SHARES}] * 3
    floor = discover().strategies["source-only"]().adapt(task)
    gain = accuracy(adapted, target) - accuracy(floor, target)
    assert gain > 0.05
    assert told["gain"]["low"] - 0.02 < gain < told["gain"]["high"] + 0.02
