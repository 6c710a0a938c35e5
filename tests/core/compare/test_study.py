"""Studies: read strictly, run fairly, failed cells in sight."""

from __future__ import annotations

import json

import pytest

from isthmus.cli import main
from isthmus.compare.bench import Bench, Setup
from isthmus.compare.cell import Cell
from isthmus.compare.report import write_report
from isthmus.compare.runner import run_study
from isthmus.compare.store import Store
from isthmus.compare.study import parse_study, read_study
from isthmus.compare.summary import summarise
from isthmus.errors import BadInput, PluginError

TASK = {"source": "digits:upright#as=table", "target": "digits:blurred#as=table"}
BODY = {
    "name": "small",
    "seeds": [0, 1],
    "task": [{**TASK, "name": "t", "test": "digits:blurred#as=table&split=test"}],
    "strategy": [
        {"name": "source-only"},
        {"name": "coral"},
        {"name": "coral", "label": "coral-0.1", "set": {"shrinkage": 0.1}},
        {"name": "target-only"},
        {"name": "fine-tune"},
        {"name": "a2gnn"},
    ],
}


def run(study, store=None):
    """Run a study in this process and return its outcomes."""
    bench = Bench.open(Setup(study=study, third_party=False))
    return sorted(run_study(bench, store=store), key=lambda outcome: outcome.number)


@pytest.fixture(scope="module")
def cells():
    study = parse_study(BODY, "here")
    return [o.cell for o in run(study)]


def test_every_cell_is_there_and_refusals_say_why(cells):
    assert len(cells) == 12
    by = {(c.strategy, c.seed): c for c in cells}
    assert by["coral", 0].status == "ok"
    assert by["coral", 0].scores["accuracy"] != by["coral-0.1", 0].scores["accuracy"]
    assert by["fine-tune", 0].status == by["a2gnn", 0].status == "refused"
    assert "labelled target instances" in by["fine-tune", 0].reason
    assert "graph" in by["a2gnn", 0].reason
    assert by["target-only", 0].oracle
    assert not by["coral", 0].oracle


def test_the_oracle_bounds_source_only(cells):
    mean = {r["strategy"]: r["mean"] for r in summarise(cells)}
    assert mean["target-only"] > mean["source-only"]


def test_a_second_run_gives_the_same_scores(cells):
    study = parse_study({**BODY, "seeds": [1], "strategy": [{"name": "coral"}]}, "here")
    (again,) = [o.cell for o in run(study)]
    (before,) = [c for c in cells if (c.strategy, c.seed) == ("coral", 1)]
    assert again.scores == before.scores


def test_the_summary_pairs_with_source_only_and_counts_what_is_missing():
    def cell(task, strategy, score):
        if score is None:
            return Cell(task=task, strategy=strategy, seed=0, status="failed", reason="x")
        return Cell(task=task, strategy=strategy, seed=0, scores={"accuracy": score})

    rows = summarise(
        [cell("a", "source-only", 0.5), cell("b", "source-only", 0.9)]
        + [cell("a", "x", 0.7), cell("b", "x", 0.8), cell("a", "y", None), cell("b", "y", 0.95)]
    )
    row = {r["strategy"]: r for r in rows}
    assert row["x"]["gain"] == pytest.approx(0.05)
    assert row["x"]["worse"] == 1
    assert row["y"]["gain"] == pytest.approx(0.05)
    assert row["y"]["missing"] == 1
    assert row["source-only"]["gain"] == 0


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"seds": [1]}, "'seeds'"),
        ({"task": []}, "at least one"),
        ({"task": [{"target": "digits:blurred"}]}, "no source"),
        ({"strategy": [{"nme": "coral"}]}, "'name'"),
        ({"strategy": [{"name": "coral"}, {"name": "coral"}]}, "two times"),
        ({"strategy": [{"name": "coral", "tasks": ["u"]}]}, "no task 'u'"),
        ({"holdout": 2}, "holdout"),
    ],
)
def test_a_mistake_in_a_study_is_told_before_anything_runs(change, word):
    with pytest.raises(BadInput) as caught:
        parse_study({**BODY, **change}, "here")
    assert word in f"{caught.value} {caught.value.hint}"


def test_a_misspelt_strategy_is_told_before_anything_runs():
    study = parse_study({**BODY, "strategy": [{"name": "corl"}]}, "here")
    with pytest.raises(PluginError, match="corl"):
        run(study)


def test_a_file_that_is_no_toml(tmp_path):
    (tmp_path / "s.toml").write_text("a = ")
    with pytest.raises(BadInput, match="not TOML"):
        read_study(tmp_path / "s.toml")
    with pytest.raises(BadInput, match="cannot read"):
        read_study(tmp_path / "none.toml")


def test_the_command_writes_results_and_a_page_that_needs_no_network(tmp_path, capsys):
    (tmp_path / "s.toml").write_text(
        'evaluators = ["accuracy", "importance-weighted-risk"]\nholdout = 0.2\n'
        '[[task]]\nsource = "digits:upright#as=table"\ntarget = "digits:noisy#as=table"\n'
        '[[strategy]]\nname = "source-only"\n[[strategy]]\nname = "coral"\n'
        '[[strategy]]\nname = "a2gnn"\n'
    )
    main(["compare", str(tmp_path / "s.toml"), "--out", str(tmp_path / "r"), "--json"])
    result = json.loads(capsys.readouterr().out)
    assert {c["status"] for c in result["cells"]} == {"ok", "refused"}
    assert "importance-weighted-risk" in result["cells"][0]["scores"]
    assert json.loads((tmp_path / "r" / "results.json").read_text()) == result
    page = (tmp_path / "r" / "report.html").read_text()
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "refused" in page
    assert len(page) < 1_000_000


def test_the_report_escapes_what_it_shows(tmp_path):
    cells = [
        Cell(task="<b>t</b>", strategy="source-only", seed=0, scores={"accuracy": 0.5}),
        Cell(task="<b>t</b>", strategy="<script>", seed=0, scores={"accuracy": 0.6}),
    ]
    write_report(tmp_path / "r.html", "t", cells)
    page = (tmp_path / "r.html").read_text()
    assert "<script>" not in page
    assert "<b>t" not in page


def test_finished_cells_are_not_run_again_wherever_they_stand(tmp_path, monkeypatch):
    from isthmus_alignment.shallow.coral import CORAL

    runs = []
    sane = CORAL._adapt
    monkeypatch.setattr(CORAL, "_adapt", lambda self, t, r: runs.append(self) or sane(self, t, r))

    def go(*strategies, seeds=(0,)):
        study = parse_study({**BODY, "seeds": list(seeds), "strategy": list(strategies)}, "here")
        return [o.cell for o in run(study, Store(tmp_path))]

    coral = {"name": "coral"}
    (first,) = go(coral)
    assert len(runs) == 1
    again = go({"name": "source-only"}, {**coral, "label": "renamed"}, {"name": "a2gnn"})
    assert len(runs) == 1
    assert again[1].scores == first.scores
    assert again[1].strategy == "renamed"
    go({**coral, "set": {"shrinkage": 0.5}})
    go(coral, seeds=(1,))
    assert len(runs) == 3
    for path in tmp_path.glob("*.json"):
        path.write_text("{cut sho")
    go(coral)
    assert len(runs) == 4


def test_a_failed_cell_is_tried_again(tmp_path, monkeypatch):
    from isthmus_alignment.shallow.coral import CORAL

    study = parse_study({**BODY, "seeds": [0], "strategy": [{"name": "coral"}]}, "here")
    with monkeypatch.context() as m:
        m.setattr(CORAL, "_adapt", lambda self, task, run: 1 / 0)
        (outcome,) = run(study, Store(tmp_path))
    assert outcome.cell.status == "failed"
    assert "ZeroDivisionError" in outcome.cell.reason
    assert outcome.adapted is None
    (outcome,) = run(study, Store(tmp_path))
    assert outcome.cell.status == "ok"


def test_a_task_that_cannot_be_loaded_costs_only_its_cells():
    tasks = [{**TASK, "name": "t"}, {**TASK, "name": "u", "target": "npz:nowhere.npz"}]
    study = parse_study(
        {**BODY, "seeds": [0], "task": tasks, "strategy": [{"name": "coral"}]}, "here"
    )
    good, bad = [o.cell for o in run(study)]
    assert good.status == "ok"
    assert bad.status == "failed"
    assert "nowhere.npz" in bad.reason
