"""The catalogue, asked in this process; plugins that are really installed: test_odd_plugins.py."""

import pytest

from isthmus import Needs, PluginError, Strategy, hookimpl
from isthmus.manager import Plugin, discover


def test_extra_plugins_are_modules_objects_or_classes():
    found = discover({"a": Extra, "b": Extra(), "c": None}, third_party=False)
    assert found.strategies["a:extra"] is found.strategies["b:extra"] is ExtraStrategy
    assert status(found, "a").status == status(found, "b").status == "conflict"
    assert status(found, "c").status == "no-hooks"


def test_names_behave_like_a_mapping():
    names = discover({"mine": Extra}, third_party=False).strategies
    assert "extra" in names and "mine:extra" in names and "isthmus:extra" not in names
    assert list(names) == [name for name, _, _ in names.items()] == sorted(names)
    assert ("extra", "mine", ExtraStrategy) in names.items()
    assert [n for n in names if ":" in n] == []  # nothing is contested
    with pytest.raises(PluginError, match="no strategy is called 'extr'") as caught:
        names["extr"]
    assert "Did you mean 'extra'?" in caught.value.hint


def test_classes_are_asked_for_once_and_only_at_first_use():
    class Counting:
        calls = 0

        @hookimpl
        def isthmus_strategies(self):
            Counting.calls += 1
            return [ExtraStrategy]

    found = discover({"counting": Counting}, third_party=False)
    assert Counting.calls == 0
    assert found.everything() is found.everything()
    assert found.strategies is found.strategies
    assert Counting.calls == 1


def test_one_broken_hook_does_not_cost_the_other_hooks_of_a_plugin():
    class Mixed(Extra):
        @hookimpl
        def isthmus_evaluators(self):
            raise LookupError("no evaluators today")

    found = discover({"mixed": Mixed}, third_party=False).everything()
    assert found.strategies["extra"] is ExtraStrategy
    assert status(found, "mixed").status == "failed"
    assert status(found, "mixed").reason == "isthmus_evaluators: LookupError: no evaluators today"


def test_failed_outranks_conflict_and_keeps_both_reasons():
    class Mixed(Extra):
        @hookimpl
        def isthmus_datasets(self):
            raise LookupError("no datasets today")

    found = discover({"mixed": Mixed, "other": Extra}, third_party=False).everything()
    assert status(found, "mixed").status == "failed"
    assert "'extra' is claimed by" in status(found, "mixed").reason
    assert "no datasets today" in status(found, "mixed").reason


@pytest.mark.parametrize("when", ["loaded", "asked"])
def test_the_user_can_still_interrupt(when):
    class Slow:
        def __init__(self):
            if when == "loaded":
                raise KeyboardInterrupt

        @hookimpl
        def isthmus_strategies(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        discover({"slow": Slow}, third_party=False).everything()


class ExtraStrategy(Strategy):
    name = "extra"
    family = "odd"
    needs = Needs(kinds=frozenset({"table"}))

    def _adapt(self, task, run):
        raise NotImplementedError


class Extra:
    @hookimpl
    def isthmus_strategies(self):
        return [ExtraStrategy]


def status(found, name) -> Plugin:
    return next(p for p in found.plugins if p.dist == name)
