"""A run within a run keeps where and how it runs, and tells nobody."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from isthmus import BadInput, Needs, Run, RunFailed, Strategy, UnsupportedTask
from isthmus.testing.domains import table
from isthmus_alignment.shallow.tca import TCA
from isthmus_baselines.source_only import SourceOnly


def test_a_silent_run_differs_in_its_ears_and_in_what_is_asked_for(tmp_path):
    heard = []
    ears = {
        "log": lambda step, values: heard.append(values),
        "say": heard.append,
        "progress": lambda stage, done, total: heard.append(stage),
        "watch": lambda network, step: heard.append(step),
    }
    run = Run(
        seed=3, device="cuda", precision="bf16", compile=True, budget=2.0, checkpoint=tmp_path,
        checkpoint_every=1.0, key="k", **ears,
    )  # fmt: skip
    inner = run.silent(budget=1.0, progress=run.progress)
    inner.log(0, {})
    inner.say("nothing")
    assert inner.watch is None
    assert not heard
    inner.progress("adapt", 1, 2)
    assert heard == ["adapt"]
    kept = {f.name for f in dataclasses.fields(Run)} - {*ears, "budget"}
    assert all(getattr(inner, name) == getattr(run, name) for name in kept)
    assert inner.budget == 1.0


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"budget": -1.0}, {"budget": float("nan")}])
def test_a_run_that_cannot_be_is_refused(wrong):
    with pytest.raises(BadInput, match=next(iter(wrong))):
        Run(**wrong)


def test_stages_and_strategies_within_share_one_budget():
    ends = []

    @dataclass(frozen=True, kw_only=True)
    class Inner(Strategy):
        name: ClassVar[str] = "inner"
        family: ClassVar[str] = "baseline"
        needs: ClassVar[Needs] = Needs(kinds=frozenset({"table"}))

        def _adapt(self, task, run):
            ends.append(run.ends(time.monotonic() + 100))
            return None

    @dataclass(frozen=True, kw_only=True)
    class Outer(Inner):
        name: ClassVar[str] = "outer"

        def _adapt(self, task, run):
            super()._adapt(task, run)
            Inner().adapt(task, run)
            Inner().adapt(task, replace(run, budget=1.0))

    began = time.monotonic()
    Outer().adapt(table(0)[0], Run(budget=50.0))
    assert began + 50 <= ends[0] == ends[1] < began + 51
    assert ends[2] < began + 10


def test_numbers_beyond_float32_are_refused_by_place():
    task, _ = table(0)
    x = np.asarray(task.target.x, np.float64)
    x[3, 1] = 1e60
    wrong = replace(task, target=replace(task.target, x=x))
    with pytest.raises(UnsupportedTask, match="a number beyond float32 in row 3, column 1"):
        SourceOnly().adapt(wrong)


def test_a_setting_that_is_not_one_of_its_texts_is_refused_before_it_runs():
    with pytest.raises(BadInput, match="kernel='nonsense': expected"):
        TCA(kernel="nonsense").adapt(table(0)[0])


def test_a_matrix_that_cannot_be_factored_ends_in_a_sentence():
    @dataclass(frozen=True, kw_only=True)
    class Singular(SourceOnly):
        name: ClassVar[str] = "singular"

        def _adapt(self, task, run):
            return np.linalg.inv(np.zeros((2, 2)))

    with pytest.raises(RunFailed, match="singular met a matrix"):
        Singular().adapt(table(0)[0])
