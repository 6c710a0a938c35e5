from __future__ import annotations

import importlib
from importlib.metadata import entry_points

import pytest

FAMILIES = {
    "baselines": ("baseline", {"source-only", "target-only"}),
    "reweighting": ("reweighting", {"ulsif", "discriminator"}),
    "alignment": ("alignment", {"coral", "dann", "mcc"}),
    "finetuning": ("finetuning", {"fine-tune", "l2-sp"}),
    "relational": ("relational", {"a2gnn", "graph-dann"}),
}


@pytest.mark.parametrize("plugin", FAMILIES)
def test_a_plugin_names_its_family_and_only_its_own_classes(plugin: str) -> None:
    (entry,) = entry_points(group="isthmus", name=plugin)
    classes = importlib.import_module(entry.value).isthmus_strategies()
    family, names = FAMILIES[plugin]
    assert names <= {c.name for c in classes}
    assert {c.family for c in classes} == {family}
    assert {c.__module__.partition(".")[0] for c in classes} == {f"isthmus_{plugin}"}


def test_only_the_ceiling_is_an_oracle() -> None:
    oracles = {
        c.name
        for plugin in FAMILIES
        for c in importlib.import_module(f"isthmus_{plugin}.plugin").isthmus_strategies()
        if c.oracle
    }
    assert oracles == {"target-only"}
