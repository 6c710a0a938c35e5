"""What the documents say is what the code does: their code runs, their lists are complete."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from pathlib import Path

import pytest

from isthmus import hookspecs
from isthmus.cli import cli
from isthmus.cli.listing import describe_strategy
from isthmus.manager import discover
from isthmus.testing import check_strategy

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def blocks(path, language="python"):
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def module(source, name, folder):
    """Import source as a file, so that dataclasses and pickle find their module."""
    path = folder / f"{name}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(name, path)
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Every Python block of the page, run in order in one module."""
    page = DOCS / "write-a-plugin.md"
    return module("\n\n".join(blocks(page)), "write_a_plugin", tmp_path_factory.mktemp("page"))


def test_the_page_on_plugins_runs_and_its_checks_pass(written, capsys):
    assert written.isthmus_strategies() == [written.MeanShift]
    found = discover({"mean-shift": written}, third_party=False)
    assert found.strategies["mean-shift"] is written.MeanShift


@pytest.mark.parametrize("name", ["NearestCentre", "DeepMeanShift"])
def test_the_other_strategies_of_the_page_pass_the_contract(written, name):
    cls = getattr(written, name)
    from isthmus.learners.loop import Training

    deep = {"training": Training(steps=100)} if name == "DeepMeanShift" else {}
    assert len(check_strategy(cls(**deep)).passed) > 30


def test_the_entry_point_of_the_page_names_its_module():
    (text,) = blocks(DOCS / "write-a-plugin.md", "toml")
    project = tomllib.loads(text)["project"]
    assert project["entry-points"]["isthmus"] == {"mean-shift": "mean_shift"}


def test_the_readmes_python_runs(tmp_path, capsys):
    example, plugin = blocks(ROOT / "README.md")
    module(example, "readme_example", tmp_path)
    assert 0.5 < float(capsys.readouterr().out) <= 1
    assert len([line for line in example.splitlines() if line.strip()]) <= 15
    made = module(plugin, "readme_plugin", tmp_path)
    assert "checks" in str(check_strategy(made.MeanShift()))
    assert len([line for line in plugin.splitlines() if line.strip()]) <= 20


def test_hooks_are_documented_with_their_arguments():
    text = (DOCS / "hooks.md").read_text(encoding="utf-8")
    hooks = {n for n, f in vars(hookspecs).items() if n.startswith("isthmus_") and callable(f)}
    assert set(re.findall(r"^## (isthmus_\w+)$", text, re.MULTILINE)) == hooks
    for name in hooks:
        assert f"`{name}() -> " in text


def test_the_readme_lists_every_strategy_and_command():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = dict(
        re.findall(r"^\| `([a-z0-9-]+)` \| ([a-z]+)(?: \(oracle\))? \| ", text, re.MULTILINE)
    )
    found = discover(third_party=False).strategies.items()
    assert listed == {name: cls.family for name, _, cls in found}
    for name in cli.commands:
        assert f"isthmus {name}" in text or f"`{name}`" in text, name


def test_the_page_of_strategies_is_up_to_date():
    sys.path.insert(0, str(DOCS))
    try:
        import generate
    finally:
        sys.path.remove(str(DOCS))
    assert generate.page() == (DOCS / "strategies.md").read_text(encoding="utf-8"), "run make docs"


def test_every_strategy_cites_its_paper_and_says_its_cost():
    for name, dist, cls in discover(third_party=False).strategies.items():
        card = describe_strategy(name, cls, dist)
        if card["family"] != "baseline":
            assert re.search(r"\b(19|20)\d\d\b", card["paper"]), f"{name}: no year in its module"
            assert len(card["idea"]) > 20


def test_nothing_in_the_project_names_a_machine_or_a_registry():
    bad = re.compile(r"(/(work|root|home/\w+)/|pypi\.org|pythonhosted|files\.python)")
    for path in ROOT.rglob("*"):
        inside = path.relative_to(ROOT).parts
        if path.suffix in {".py", ".md", ".toml", ".txt"} and inside[0] in {
            "core", "plugins", "docs", "benchmarks", "examples", "README.md", "pyproject.toml",
            "constraints.txt", "CHANGELOG.md",
        }:  # fmt: skip
            assert not bad.search(path.read_text(encoding="utf-8")), path
