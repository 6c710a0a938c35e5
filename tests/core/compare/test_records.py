"""Records are found by what a cell is, whatever it is called, and are not lost or mixed up."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from isthmus.cli import main
from isthmus.compare.bench import Bench, Setup
from isthmus.compare.report import write_report
from isthmus.compare.results import begin, open_results, with_cells
from isthmus.compare.runner import _merged, run_study
from isthmus.compare.search import find_best
from isthmus.compare.selection import best_by
from isthmus.compare.store import Store
from isthmus.compare.study import Search, parse_study
from isthmus.errors import BadInput
from isthmus.strategy import Run

TASK = {"source": "digits:upright#as=table", "target": "digits:blurred#as=table", "name": "t"}


def run(folder, which="default", **body):
    """Run a study in its folder as the command does; return what it and the folder say."""
    base = {"name": "s", "task": [TASK], "strategy": [{"name": "coral"}]}
    study = parse_study({**base, **body}, "here")
    bench = Bench.open(Setup(study=study, third_party=False))
    begun = begin(folder, study, folder / "s.toml", bench.catalogue, {})
    outcomes = run_study(bench, store=Store(folder / "cells"), which=which)
    cells = [o.cell for o in sorted(outcomes, key=lambda o: o.number)]
    return with_cells(begun, cells), open_results(folder)


def scores(results):
    return [c.scores.get(results.score) for c in results.cells]


def test_a_folder_tells_what_the_run_told_whatever_was_run_there_before(tmp_path):
    for shrinkage in (0.01, 50.0, 0.01):
        strategy = [{"name": "coral", "set": {"shrinkage": shrinkage}}]
        told, kept = run(tmp_path, strategy=strategy)
        assert scores(kept) == scores(told)
        assert kept.cells[0].settings == {"shrinkage": shrinkage}
    told, kept = run(tmp_path, strategy=[{"name": "coral", "label": "renamed"}])
    assert (kept.cells[0].strategy, kept.cells[0].status) == ("renamed", "ok")
    twins = [{"name": "coral"}, {"name": "coral", "grid": {"shrinkage": [0.1, 1.0]}}]
    told, kept = run(tmp_path, strategy=twins)
    assert [c.status for c in kept.cells] == ["ok"] * 3
    assert scores(kept) == scores(told)


def test_an_older_folder_is_read_by_names(tmp_path):
    told, _ = run(tmp_path)
    (tmp_path / "cells" / "planned.jsonl").unlink()
    assert scores(open_results(tmp_path)) == scores(told)


def test_a_cell_that_could_not_begin_keeps_its_reason(tmp_path):
    _, kept = run(tmp_path, task=[{**TASK, "source": "npz:missing.npz"}])
    assert kept.cells[0].status == "failed"
    assert "missing.npz" in kept.cells[0].reason


def test_the_default_score_is_asked_for_and_ranks(tmp_path):
    told, _ = run(tmp_path, evaluators=["log-loss"])
    assert told.score == "log-loss"
    told, kept = run(tmp_path)
    assert told.score == kept.score == "accuracy"
    assert scores(told)[0] is not None


def test_a_report_of_values_is_by_their_score(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    np.savez(tmp_path / "a.npz", x=x, y=x.sum(1))
    uri = f"npz:{tmp_path / 'a.npz'}"
    told, kept = run(tmp_path, task=[{"source": uri, "target": uri, "name": "t"}])
    assert told.score == kept.score == "r2"


def test_what_was_scored_stays_when_one_score_more_takes_too_long(tmp_path):
    told, _ = run(tmp_path)
    old = told.cells[0]
    late = replace(old, status="timeout", reason="took too long", scores={})
    assert _merged(old, late).scores == old.scores
    assert "took too long" in _merged(old, late).said[-1]
    assert _merged(None, late) == late


def test_a_validator_that_raises_costs_nothing_but_its_score(tmp_path, monkeypatch):
    from isthmus_evaluators.validators.prediction_entropy import Entropy

    def broken(self, evidence):
        raise ValueError("of a plugin")

    monkeypatch.setattr(Entropy, "score", broken)
    _, kept = run(tmp_path, validators=["entropy"])
    assert kept.cells[0].status == "ok"
    assert kept.cells[0].unscored == {"entropy": "ValueError: of a plugin"}


def test_overwriting_keeps_no_score_of_before(tmp_path):
    run(tmp_path, validators=["snd", "entropy"])
    run(tmp_path, "overwrite", validators=["entropy"])
    _, kept = run(tmp_path, "only-missing", validators=["entropy"])
    assert set(kept.cells[0].scores) == {"accuracy", "entropy"}


def test_the_parts_of_a_task_count_in_its_key(tmp_path):
    a, b, c, d = (f"digits:{n}#as=table" for n in ("upright", "blurred", "inverted", "rotated"))
    tasks = [
        {"name": "two sources", "source": [a, b], "target": c, "test": d},
        {"name": "support", "source": a, "target": b, "test": c, "support": d},
    ]
    told, _ = run(tmp_path, task=tasks, strategy=[{"name": "source-only"}])
    assert len({cell.key for cell in told.cells}) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"task": TASK}, r"expected one \[\[task\]\] or more"),
        ({"strategy": {"name": "coral"}}, r"\[\[strategy\]\]"),
        ({"seeds": 3}, "seeds = 3, expected a list, each a whole number"),
        ({"evaluators": [1]}, "evaluators"),
        ({"validators": "snd"}, "validators = 'snd', expected a list, each a text"),
        ({"threads": 1.5}, "threads"),
        ({"budget": True}, "budget = True, expected a number"),
        ({"holdout": "x"}, "holdout"),
        ({"task": [{**TASK, "source": 5}]}, "source"),
        ({"task": [{"target": "digits:blurred"}]}, "has no source"),
        ({"task": [{**TASK, "target": ["a"]}]}, "target"),
        ({"strategy": [{"name": 3}]}, "name = 3, expected a text"),
        ({"strategy": [{"name": "coral", "label": 3}]}, "label"),
        ({"strategy": [{"name": "coral", "set": [1]}]}, "set = .*expected a table"),
        ({"strategy": [{"name": "coral", "grid": [1]}]}, "grid"),
        ({"strategy": [{"name": "coral", "search": 1}]}, "search"),
        ({"pairs": [{"domains": "csv:a.csv"}]}, "expected domains"),
    ],
)
def test_a_value_of_another_type_is_told(change, said):
    with pytest.raises(BadInput, match=said):
        parse_study({"name": "s", "task": [TASK], "strategy": [{"name": "coral"}], **change}, "s")


def test_copies_that_a_validator_chose_are_shown_and_not_tested(tmp_path):
    grid = [{"name": "source-only"}, {"name": "coral", "grid": {"shrinkage": [0.1, 1.0]}}]
    told, _ = run(tmp_path, strategy=grid, validators=["snd"])
    rng = np.random.default_rng(0)
    cells = [
        replace(c, task=f"t{i}", scores={k: v + 0.01 * rng.normal() for k, v in c.scores.items()})
        for c in told.cells
        for i in range(7)
    ]
    chosen = best_by(cells, "snd", True)
    write_report(tmp_path / "with.html", "t", cells, chosen=chosen, score="accuracy")
    write_report(tmp_path / "without.html", "t", cells, score="accuracy")
    pages = [(tmp_path / f"{name}.html").read_text() for name in ("with", "without")]
    said = f"All {len(cells)} cells have a score."
    assert [said in page for page in pages] == [True, True]
    assert "best by snd" in pages[0]
    claims = [page[page.index("Best ") :].partition("All ")[0] for page in pages]
    assert claims[0] == claims[1]


def test_a_search_of_a_share_is_between_its_ends_and_survives_nan():
    points, values = [], iter([float("nan"), 2.0, 3.0, 1.0])

    def attempt(point):
        points.append(point["shrinkage"])
        return None, None

    search = Search(space={"shrinkage": {"low": 0, "high": 1}}, by="odd", trials=4)
    _, _, told = find_best(search, attempt, lambda *_: next(values), Run(), {"shrinkage": 0.5})
    assert any(0 < p < 1 for p in points)
    assert told["search"]["chosen"] == {"shrinkage": points[2]}
    assert told["search"]["trials"][0]["failed"] == "odd gave nan"


def test_the_command_reports_what_it_ran(tmp_path, capsys):
    (tmp_path / "s.toml").write_text(
        f'[[task]]\nsource = "{TASK["source"]}"\ntarget = "{TASK["target"]}"\n'
        '[[strategy]]\nname = "coral"\n'
    )
    out = tmp_path / "out"
    main(["compare", str(tmp_path / "s.toml"), "--out", str(out), "--executor", "serial", "--json"])
    ran = json.loads(capsys.readouterr().out)["summary"][0]["mean"]
    main(["compare", "report", str(out), "--format", "markdown"])
    assert f"{ran:.3f}"[:5] in capsys.readouterr().out
