"""Reverse validation: the way back by hand, every built-in kind, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from isthmus import BadInput, Evidence, Labelled, Needs, Recipe, Run, Strategy, Task
from isthmus.evaluator import judge
from isthmus.learners import Neural, Training
from isthmus.testing.domains import MAKERS
from isthmus_alignment.shallow.coral import CORAL
from isthmus_baselines.source_only import SourceOnly
from isthmus_baselines.target_only import TargetOnly
from isthmus_evaluators.validators.reverse_validation import ReverseValidation
from isthmus_finetuning.fine_tune import FineTune


class Spy(Strategy):
    """CORAL that keeps what it was asked."""

    name: ClassVar[str] = "spy"
    family: ClassVar[str] = "test"
    needs: ClassVar[Needs] = Needs(kinds=frozenset({"table"}), sources="any")

    def __init__(self):
        self.seen = []

    def _adapt(self, task, run):
        self.seen.append((task, run))
        return CORAL().adapt(task, run)


def test_it_is_the_way_back_by_hand(adapted):
    e = adapted("table")
    task, y = e.recipe.task, e.adapted.predict(e.recipe.task.target.x).argmax(1)
    back = CORAL().adapt(
        Task(
            sources=(Labelled(name="t", schema=task.schema, x=task.target.x, y=y),),
            target=task.source.unlabelled(),
        ),
        Run(seed=0),
    )
    expected = (back.predict(e.source.x).argmax(1) == e.source.y).mean()
    assert judge(ReverseValidation(), e) == pytest.approx(expected)
    assert expected > 0.9


def test_the_way_back_sees_no_label_and_shares_no_folder(adapted, tmp_path):
    spy, said = Spy(), []
    e = adapted("table", spy)
    run = Run(seed=7, checkpoint=tmp_path, key="own", say=said.append, budget=60.0)
    task = replace(e.recipe.task, support=e.recipe.task.source)
    e = replace(e, recipe=Recipe(strategy=spy, task=task, run=run))
    judge(ReverseValidation(), e)
    (_, _), (back, used) = spy.seen
    assert back.support is None
    assert not isinstance(back.target, Labelled)
    assert back.target.x is task.source.x
    assert back.source.x is task.target.x
    assert (used.seed, used.budget, used.checkpoint, used.key) == (7, 60.0, None, "")
    assert not said
    assert not list(tmp_path.iterdir())


def test_a_better_model_comes_back_better(adapted):
    """A model whose target labels are random cannot regain the source."""
    good = adapted("table")
    k = len(good.schema.classes)

    class Blind(type(good.adapted)):
        def predict(self, x):
            return np.eye(k, dtype=np.float32)[np.random.default_rng(0).integers(0, k, len(x))]

    bad = Blind(part=good.adapted.part, schema=good.schema)
    e = replace(good, adapted=bad)
    assert ReverseValidation().score(e) < ReverseValidation().score(good) - 0.3


def test_labels_of_one_class_come_back_as_that_class(adapted, rule):
    spy = Spy()
    e = adapted("table", spy)
    constant = rule(lambda x: np.eye(3, dtype=np.float32)[np.full(len(x), 2)])
    e = replace(e, adapted=constant)
    assert ReverseValidation().score(e) == pytest.approx((e.source.y == 2).mean())
    assert len(spy.seen) == 1  # the way back was not walked


def test_a_class_that_is_not_predicted_is_no_obstacle(adapted, rule):
    e = adapted("table")
    two = rule(lambda x: np.eye(3, dtype=np.float32)[(x[:, 0] > 0).astype(int)])
    assert 0 <= ReverseValidation().score(replace(e, adapted=two)) < 1


def test_predictions_on_one_target_are_not_made_twice(adapted, rule):
    e = adapted("table")
    counting = rule(e.adapted.predict)
    e = replace(e, adapted=counting, target=e.recipe.task.target)
    _ = e.predictions
    ReverseValidation().score(e)
    assert counting.calls == 1


@pytest.mark.parametrize("kind", ["table:binary", "image", "graph"])
def test_every_kind_of_classes(adapted, kind):
    quick = SourceOnly(learner=Neural(training=Training(steps=100))) if kind == "image" else None
    e = adapted(kind, quick)
    assert 0.6 < judge(ReverseValidation(), e) <= 1


def test_several_sources_come_back_as_one(adapted):
    e = adapted("table")
    half = [e.recipe.task.source.take(np.arange(i, 60, 2)) for i in (0, 1)]
    task = replace(e.recipe.task, sources=tuple(half))
    e = replace(e, recipe=replace(e.recipe, task=task))
    assert ReverseValidation().score(e) > 0.9


def test_the_order_of_rows_does_not_matter(adapted):
    e = adapted("table")
    rng = np.random.default_rng(0)
    task = Task(
        sources=(e.recipe.task.source.take(rng.permutation(60)),),
        target=e.recipe.task.target.take(rng.permutation(120)),
    )
    mixed = replace(
        e, source=e.source.take(rng.permutation(60)), recipe=replace(e.recipe, task=task)
    )
    assert ReverseValidation().score(mixed) == pytest.approx(ReverseValidation().score(e))


def refused(e, strategy, task):
    return replace(e, recipe=Recipe(strategy=strategy, task=task, run=Run()))


def test_what_cannot_go_back_is_refused(adapted):
    e = adapted("table")
    task, support = e.recipe.task, e.target
    learns = "learns from labelled target instances"
    with pytest.raises(BadInput, match=f"cannot go back with target-only: it {learns}"):
        ReverseValidation().score(refused(e, TargetOnly(), replace(task, support=support)))
    with pytest.raises(BadInput, match=f"cannot go back with fine-tune: it {learns}"):
        ReverseValidation().score(refused(e, FineTune(), replace(task, support=support)))
    with pytest.raises(BadInput, match="it starts from a given model"):
        ReverseValidation().score(refused(e, SourceOnly(), replace(task, start=e.adapted)))
    with pytest.raises(BadInput, match="it was given no source to go back to"):
        ReverseValidation().score(refused(e, SourceOnly(), Task(target=task.target)))
    task, heldout = MAKERS["table:values"](0, 60)
    values = Evidence(
        adapted=SourceOnly().adapt(task),
        target=heldout,
        source=task.source,
        recipe=Recipe(strategy=SourceOnly(), task=task, run=Run()),
    )
    assert not ReverseValidation().applies(heldout.schema)
    with pytest.raises(BadInput, match="real outputs"):
        ReverseValidation().score(values)


def test_it_asks_for_a_recipe_and_held_out_source_data(adapted):
    e = adapted("table")
    with pytest.raises(BadInput, match="adapts once more"):
        ReverseValidation().score(replace(e, recipe=None))
    with pytest.raises(BadInput, match="held out of the training"):
        ReverseValidation().score(replace(e, source=None))
