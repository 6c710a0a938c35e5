"""A backbone takes the place of a strategy's network, and its settings stay."""

from __future__ import annotations

import pytest

from isthmus import BadInput, Schema
from isthmus.compose import build_strategy
from isthmus.learners.backbones import Backbone
from isthmus.manager import discover

CATALOGUE = discover(third_party=False)
PHOTOS = Schema(kind="image", shape=(96, 96, 3), classes=("cat", "dog"))


@pytest.mark.parametrize(
    ("name", "settings", "holder"),
    [
        ("dann", {"network": "backbone"}, lambda s: s),
        ("source-only", {"learner": "neural", "learner.network": "backbone"}, lambda s: s.learner),
    ],
)
def test_a_backbone_by_name_keeps_the_other_settings_of_one(name, settings, holder):
    prefix = [*settings][-1]
    given = {**settings, f"{prefix}.tune_norm": False, f"{prefix}.bottleneck": 16}
    recipe, _ = build_strategy(
        CATALOGUE, name, given, PHOTOS, backbone="mobilenet_v2", weights="none"
    )
    wanted = Backbone(model="mobilenet_v2", weights="none", tune_norm=False, bottleneck=16)
    assert holder(recipe).network == wanted


def test_a_backbone_replaces_any_other_network():
    recipe, _ = build_strategy(
        CATALOGUE, "dann", {"network": "lenet"}, PHOTOS, backbone="resnet18", weights="none"
    )
    assert recipe.network == Backbone(model="resnet18", weights="none")


def test_a_learner_that_is_no_network_takes_no_backbone():
    with pytest.raises(BadInput, match="learner 'forest' takes no backbone"):
        build_strategy(CATALOGUE, "source-only", {"learner": "forest"}, PHOTOS, backbone="resnet18")
