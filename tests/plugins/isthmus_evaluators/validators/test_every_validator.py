"""What holds for every validator: blind, indifferent to order and names, finite, clear refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isthmus import BadInput, Evidence, Labelled, PluginError, Schema
from isthmus.evaluator import judge
from isthmus.testing.domains import MAKERS
from isthmus_baselines.source_only import SourceOnly
from isthmus_evaluators import plugin
from isthmus_evaluators.validators import (
    class_ami,
    deep_embedded,
    importance_weighted,
    mixval,
    soft_neighbourhood,
)

ALL = [cls for cls in plugin.isthmus_evaluators() if not cls.reads_labels]
CHEAP = [cls for cls in ALL if not cls.adapts]
TARGET_ONLY = [cls for cls in CHEAP if not cls.reads_source]
every = pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.name)
cheap = pytest.mark.parametrize("cls", CHEAP, ids=lambda cls: cls.name)
target_only = pytest.mark.parametrize("cls", TARGET_ONLY, ids=lambda cls: cls.name)


class NoLabels(Labelled):
    """A labelled target that fails the test when its labels are read."""

    def __getattribute__(self, name):
        if name == "y":
            raise AssertionError("a validator read the target labels")
        return super().__getattribute__(name)


def test_each_says_what_it_costs():
    for cls in ALL:
        assert cls.scalar
        assert cls.outputs == {"classes"}
        assert "Cost" in cls.__doc__ or "ime" in cls.__doc__, cls.name


@every
def test_target_labels_are_out_of_reach(adapted, cls):
    e = adapted("table")
    fair = judge(cls(), e)
    lying = replace(e, target=replace(e.target, y=(e.target.y + 1) % 3))
    assert judge(cls(), lying) == fair
    assert judge(cls(), e.blind()) == fair
    # Nor does it look where it can.
    t = e.target
    guarded = object.__new__(NoLabels)
    for name in ("name", "schema", "x"):
        object.__setattr__(guarded, name, getattr(t, name))
    assert cls().score(replace(e, target=guarded)) == fair


@every
def test_scores_are_finite_on_every_built_in_kind(adapted, cls):
    for kind in ("table", "table:binary", "graph"):
        e = adapted(kind, n=90)
        if cls is mixval.MixVal and kind == "graph":
            continue
        assert np.isfinite(judge(cls(), e)), kind


@pytest.mark.parametrize("limit", [None, 40])
@cheap
def test_the_order_of_rows_does_not_matter(adapted, monkeypatch, cls, limit):
    if limit:
        for module in (class_ami, deep_embedded, importance_weighted, mixval, soft_neighbourhood):
            monkeypatch.setattr(module, "ROWS", limit)
    e = adapted("table", n=300)
    rng = np.random.default_rng(0)
    mixed = replace(
        e,
        target=e.target.take(rng.permutation(len(e.target))),
        source=e.source.take(rng.permutation(len(e.source))),
    )
    assert judge(cls(), mixed) == pytest.approx(judge(cls(), e), rel=1e-4, abs=1e-6)


@target_only
def test_the_names_of_the_classes_do_not_matter(evidence, cls):
    rng = np.random.default_rng(1)
    p, f = rng.dirichlet(np.ones(4), 120), rng.normal(size=(120, 3))
    y = np.zeros(120, np.int64)
    one = cls().score(evidence(y, p, features=f))
    other = cls().score(evidence(y, p[:, rng.permutation(4)], features=f))
    if cls is not class_ami.ClassAMI:  # sums over a table in another order
        assert other == pytest.approx(one, rel=1e-5)
    assert other == pytest.approx(one, abs=1e-6)


@cheap
def test_each_domain_is_passed_once_whatever_comes_first(shifted, cls):
    e = shifted(n=60).blind()
    cls().score(e)
    cls().score(e)
    extra = 2 if cls is mixval.MixVal else 0  # mixtures are new instances
    assert e.adapted.calls <= (2 if cls.reads_source else 1) + extra


def test_all_of_them_together_pass_each_domain_once(shifted):
    e = shifted(n=60).blind()
    for cls in sorted(CHEAP, key=lambda cls: not cls.reads_features):
        cls().score(e)
    assert e.adapted.calls == 3  # target, source, mixtures


def of_no_target(e):
    none = np.zeros(0, np.int64)
    task = replace(e.recipe.task, target=e.recipe.task.target.take(none))
    return replace(e, target=e.target.take(none), recipe=replace(e.recipe, task=task))


@cheap
def test_a_model_that_predicts_one_class_gets_a_finite_score(shifted, rule, cls):
    e = shifted(n=60)
    one = np.array([[1, 0]], np.float32)
    constant = rule(lambda x: np.repeat(one, len(x), axis=0), lambda x: x)
    assert np.isfinite(cls().score(replace(e, adapted=constant)))
    blank = rule(lambda x: np.full((len(x), 2), 0.5, np.float32), lambda x: 0 * x)
    assert np.isfinite(cls().score(replace(e, adapted=blank)))


@pytest.mark.parametrize("n", [1, 2, 3])
@cheap
def test_a_handful_of_instances_gets_a_finite_score_or_a_sentence(shifted, cls, n):
    try:
        assert np.isfinite(cls().score(shifted(n=n)))
    except BadInput as error:
        assert n == 1
        assert f"{cls.name} needs at least 2 instances, target has 1" in str(error)


@every
def test_regression_is_not_for_them(adapted, cls):
    _, heldout = MAKERS["table:values"](0, 40)
    assert not cls().applies(heldout.schema)
    e = adapted("table:values", SourceOnly(), n=60)
    with pytest.raises(BadInput, match="real outputs"):
        cls().score(e)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p * np.nan, "NaN or infinite"),
        (lambda p: 5 * p - 1, "not probabilities"),
        (lambda p: p[:, :1], "shape"),
    ],
    ids=["nan", "logits", "width"],
)
@every
def test_unusable_predictions_are_refused(adapted, rule, cls, change, words):
    e = adapted("table")
    whole = e.adapted
    broken = rule(lambda x: change(whole.predict(x)), lambda x: x)
    with pytest.raises(PluginError, match=words):
        cls().score(replace(e, adapted=broken))


@target_only
def test_an_empty_target_is_refused(adapted, cls):
    with pytest.raises(BadInput, match="is empty"):
        cls().score(of_no_target(adapted("table")))


@pytest.mark.parametrize("name", ["importance-weighted-risk", "dev", "reverse-validation"])
def test_an_empty_target_or_source_is_refused_where_both_are_read(adapted, name):
    (cls,) = (cls for cls in ALL if cls.name == name)
    e = adapted("table")
    with pytest.raises(BadInput, match="is empty"):
        cls().score(of_no_target(e))
    with pytest.raises(BadInput, match="is empty"):
        cls().score(replace(e, source=e.source.take(np.zeros(0, np.int64))))


@target_only
def test_a_single_known_class_gets_a_finite_score_or_a_sentence(rule, cls):
    x = np.arange(6, dtype=np.float32)[:, None]
    schema = Schema(kind="table", shape=(1,), classes=("only",))
    target = Labelled(name="target", schema=schema, x=x, y=np.zeros(6, np.int64))
    model = rule(lambda x: np.ones((len(x), 1), np.float32), lambda x: x)
    try:
        assert np.isfinite(cls().score(Evidence(adapted=model, target=target)))
    except BadInput as error:
        assert "needs two classes" in str(error)
