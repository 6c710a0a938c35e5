"""Recipes become JSON and texts and come back; what is misspelt is told with its nearest match."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, fields, replace
from typing import Literal

import pytest

from isthmus import BadInput, Strategy
from isthmus.learners import GCN, MLP, Architecture, Backbone, Learner, LeNet, Neural, Training
from isthmus.learners.linear import Linear
from isthmus.learners.neural import FULL_BATCH
from isthmus.manager import discover
from isthmus.settings import (
    check,
    choices,
    configure,
    describe,
    parameters,
    reference,
    resolve,
    restore,
)

STRATEGIES = {name: cls for name, _, cls in discover().strategies.items()}
RECIPES = [
    *(pytest.param(cls, Strategy, id=name) for name, cls in STRATEGIES.items()),
    *(pytest.param(make, Learner, id=f"learner {s}") for s, make in choices(Learner).items()),
    *(pytest.param(make, Architecture, id=s) for s, make in choices(Architecture).items()),
]


@dataclass(frozen=True, kw_only=True)
class Odd:
    """Every type a setting may have."""

    count: int = 1
    rate: float = 0.5
    on: bool = False
    how: Literal["a", "b"] = "a"
    level: Literal[1, 2] = 1
    limit: float | None = None
    width: float | Literal["median"] = "median"
    sizes: tuple[int, ...] = (3,)
    pair: tuple[int, float] = (1, 2.0)
    label: str = ""
    learner: Learner | None = None
    several: tuple[Learner, ...] = ()


@pytest.mark.parametrize(("make", "base"), RECIPES)
def test_every_built_in_recipe_comes_back_from_json(make, base):
    recipe = make()
    text = json.dumps(describe(recipe), allow_nan=False)
    assert restore(json.loads(text), base) == recipe


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_parameter_is_listed_and_its_default_can_be_set(name):
    recipe = STRATEGIES[name]()
    listed = list(parameters(recipe))
    json.dumps(listed, allow_nan=False)
    assert {p["name"].partition(".")[0] for p in listed} == {f.name for f in fields(recipe)}
    for p in listed:
        default = p["default"]
        text = ",".join(map(str, default)) if isinstance(default, list) else str(default)
        assert configure(type(recipe), {p["name"]: text}) == recipe, p["name"]


def test_recipes_in_recipes_come_back():
    odd = Odd(learner=Neural(network=MLP(widths=(5,))), several=(Linear(penalty=2.0), Neural()))
    hint = describe(odd)
    assert hint["learner"]["network"]["widths"] == [5]
    rebuilt = [restore(v, Learner) for v in hint["several"]]
    assert tuple(rebuilt) == odd.several


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("count", "7", 7),
        ("count", 7, 7),
        ("rate", "1e-3", 1e-3),
        ("rate", 2, 2.0),
        ("on", "true", True),
        ("on", False, False),
        ("how", "b", "b"),
        ("level", "2", 2),
        ("level", 2, 2),
        ("limit", "none", None),
        ("limit", "3", 3.0),
        ("width", "0.5", 0.5),
        ("width", "median", "median"),
        ("sizes", "4,5", (4, 5)),
        ("sizes", "4, 5,", (4, 5)),
        ("sizes", "", ()),
        ("sizes", [4, 5], (4, 5)),
        ("pair", "4,5", (4, 5.0)),
        ("label", "x=y", "x=y"),
        ("learner", "linear", Linear()),
        ("learner", "none", None),
        ("several", "linear,neural", (Linear(), Neural())),
    ],
)
def test_texts_and_toml_values(key, text, value):
    found = getattr(configure(Odd, {key: text}), key)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("count", "2.5", "count=2.5: expected a whole number"),
        ("count", 2.7, "expected a whole number"),
        ("count", True, "expected a whole number"),
        ("rate", "fast", "expected a finite number"),
        ("rate", "nan", "expected a finite number"),
        ("rate", "inf", "expected a finite number"),
        ("on", "yes", "expected true or false"),
        ("how", "c", "expected a | b"),
        ("level", "3", "expected 1 | 2"),
        ("sizes", "4,x", "expected a whole number"),
        ("sizes", 4, "expected int,..."),
        ("pair", "1", "expected 2 values, got 1"),
        ("label", 3, "expected text"),
        ("learner", "linaer", "no such learner"),
    ],
)
def test_a_wrong_value_is_told_in_one_sentence(key, text, message):
    with pytest.raises(BadInput, match=key) as caught:
        configure(Odd, {key: text})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_misspelt_names_have_a_nearest_match():
    source_only, dann = STRATEGIES["source-only"], STRATEGIES["dann"]
    for cls, given, hint in [
        (dann, {"wieght": "1"}, "'weight'"),
        (dann, {"training.stpes": "1"}, "'steps'"),
        (dann, {"steps": "1"}, "'training.steps'"),
        (source_only, {"learner": "logistc"}, "'logistic'"),
        (source_only, {"learner": "mlp", "learner.network.width": "3"}, "'widths'"),
    ]:
        with pytest.raises(BadInput) as caught:
            configure(cls, given)
        assert hint in caught.value.hint, (given, caught.value.hint)


def test_settings_of_what_was_not_chosen_name_the_choices():
    with pytest.raises(BadInput, match="has no settings of its own") as caught:
        configure(STRATEGIES["source-only"], {"learner.training.steps": "5"})
    assert "learner=backbone | cnn1d | dtn" in caught.value.hint


def test_broken_rules_of_a_recipe_name_the_setting():
    with pytest.raises(BadInput, match=r"training.steps=0: training needs steps >= 1"):
        configure(STRATEGIES["dann"], {"training.steps": "0"})


@pytest.mark.parametrize(
    ("slug", "learner"),
    [
        ("mlp", Neural(network=MLP())),
        ("lenet", Neural(network=LeNet())),
        ("backbone", Neural(network=Backbone())),
        ("gcn", Neural(network=GCN(), training=FULL_BATCH)),
        ("nearest-neighbours", choices(Learner)["nearestneighbours"]()),
        ("Logistic", choices(Learner)["logistic"]()),
    ],
)
def test_learners_by_name(slug, learner):
    assert configure(STRATEGIES["source-only"], {"learner": slug}).learner == learner


def test_a_network_chosen_by_name_takes_its_settings():
    given = {"learner": "lenet", "learner.network.dropout": "0.1", "learner.training.steps": "9"}
    recipe = configure(STRATEGIES["source-only"], given)
    assert recipe.learner == Neural(network=LeNet(dropout=0.1), training=Training(steps=9))


def test_what_can_be_chosen_is_shown():
    shown = {p["name"]: p["type"] for p in parameters(STRATEGIES["source-only"]())}
    for slug in ("logistic", "ridge", "nearestneighbours", "mlp", "lenet", "backbone", "gcn"):
        assert slug in shown["learner"].split(" | ")


def test_choices_do_not_depend_on_what_was_imported():
    code = (
        "from isthmus.learners.learner import Learner\n"
        "from isthmus.settings import choices\n"
        "print(*choices(Learner))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    shown = set(done.stdout.split())
    assert {"logistic", "ridge", "nearestneighbours", "mlp", "gcn", "backbone"} <= shown


def test_the_core_imports_no_torch():
    code = (
        "import sys, isthmus, isthmus.manager, isthmus.settings; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("os:system", "belongs to no installed plugin"),
        ("isthmus_evil:Learner", "belongs to no installed plugin"),
        ("isthmus.artefact:Path", "is not a Learner"),
        ("isthmus.artefact:load", "is not a Learner"),
        ("isthmus.learners.architectures:MLP", "is not a Learner"),
        ("isthmus.learners.neural:Linear", "is not a Learner"),  # only imported there
        ("isthmus.learners.linear:Gone", "is missing here"),
        ("isthmus.gone:Linear", "is missing here"),
        ("", "belongs to no installed plugin"),
    ],
)
def test_only_classes_of_the_wanted_kind_are_resolved(name, message):
    with pytest.raises(BadInput, match=message):
        resolve(name, Learner)


def test_a_class_is_found_by_its_reference():
    assert resolve(reference(Neural), Learner) is Neural


@pytest.mark.parametrize(
    "value",
    [
        3,
        {},
        {"type": reference(Linear), "penalti": 1.0},
        {"type": reference(Linear), "penalty": "much"},
        {"type": reference(Linear), "penalty": -1.0},
        {"type": reference(Neural), "network": {"type": reference(Linear)}},
        {"type": reference(Neural), "network": {"type": "os:system"}},
    ],
)
def test_edited_settings_are_refused(value):
    with pytest.raises(BadInput):
        restore(value, Learner)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object()])
def test_what_json_cannot_hold_is_no_setting(value):
    with pytest.raises(BadInput, match="a setting must be"):
        describe(replace(Odd(), rate=value))


@pytest.mark.parametrize("order", [1, -1])
def test_settings_that_need_each_other_may_come_in_any_order(order):
    given = {"training.patience": "2", "training.validator": "snd"}
    recipe = configure(Neural, dict(list(given.items())[::order]))
    assert (recipe.training.patience, recipe.training.validator) == (2, "snd")


def test_a_setting_that_stays_wrong_is_told_first():
    with pytest.raises(BadInput, match="patience"):
        configure(Neural, {"training.patience": "2", "training.lr": "0.1"})


def test_a_text_that_a_field_does_not_know_is_refused_within_too():
    with pytest.raises(BadInput, match="schedule='often': expected"):
        check(Neural(training=Training(schedule="often")))


def test_what_cannot_be_looked_up_is_left_to_itself():
    class Plain:
        pass

    Here = Literal["a"]

    @dataclass(frozen=True, kw_only=True)
    class Local:
        kind: Here = "a"

    check(Plain())
    check(Local(kind="b"))
