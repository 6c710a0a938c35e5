"""What is run again and what is not, what a study may hold, and hyper-parameters searched."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from isthmus.cli import main
from isthmus.compare.bench import Bench, Setup
from isthmus.compare.results import open_results
from isthmus.compare.runner import run_study
from isthmus.compare.store import Store
from isthmus.compare.study import parse_study, read_study
from isthmus.errors import BadInput

PLUGIN = Path(__file__).with_name("misbehaving.py")
TASK = {"source": "digits:upright#as=table", "target": "digits:blurred#as=table", "name": "t"}
STUDY = f"""
plugins = ["{PLUGIN}"]
[[task]]
source = "{TASK["source"]}"
target = "{TASK["target"]}"
[[strategy]]
name = "source-only"
[[strategy]]
name = "coral"
"""


def study_of(**body):
    base = {"name": "s", "plugins": [str(PLUGIN)], "task": [TASK]}
    return parse_study({**base, "strategy": [{"name": "source-only"}], **body}, "here")


def bench_of(**body):
    return Bench.open(Setup(study=study_of(**body), third_party=False))


def run(folder=None, which="default", **body):
    store = None if folder is None else Store(folder)
    outcomes = run_study(bench_of(**body), store=store, which=which)
    return sorted(outcomes, key=lambda o: o.number)


def test_all_ordered_pairs_of_a_set():
    domains = {"a": "npz:a.npz", "b": "npz:b.npz#x=1", "c": "npz:c.npz"}
    pairs = {"domains": domains, "test": "split=test", "support": "rows=5"}
    tasks = study_of(task=[], pairs=[pairs]).tasks
    assert [t.name for t in tasks] == [
        "a -> b", "a -> c", "b -> a", "b -> c", "c -> a", "c -> b"
    ]  # fmt: skip
    assert (tasks[0].sources, tasks[0].target) == (("npz:a.npz",), "npz:b.npz#x=1")
    assert tasks[0].test == "npz:b.npz#x=1&split=test"
    assert tasks[1].support == "npz:c.npz#rows=5"
    unnamed = study_of(task=[], pairs=[{"domains": ["npz:d/a.npz", "npz:d/b.npz"]}]).tasks
    assert [t.name for t in unnamed] == ["a -> b", "b -> a"]
    assert unnamed[0].test == unnamed[0].support == ""


def test_a_grid_becomes_a_strategy_for_each_combination():
    grid = {"shrinkage": [0.1, 1.0], "normalise": [True, False]}
    study = study_of(strategy=[{"name": "coral", "grid": grid}])
    assert [s.label for s in study.strategies] == [
        "coral (shrinkage=0.1, normalise=True)",
        "coral (shrinkage=0.1, normalise=False)",
        "coral (shrinkage=1.0, normalise=True)",
        "coral (shrinkage=1.0, normalise=False)",
    ]
    assert {s.group for s in study.strategies} == {"coral"}
    cells = [o.cell for o in run(strategy=[{"name": "coral", "grid": grid}])]
    assert len({c.key for c in cells}) == 4
    assert cells[1].settings == {"shrinkage": 0.1, "normalise": False}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"task": [], "pairs": [{"domains": ["npz:a.npz"]}]}, "two domains"),
        ({"task": [], "pairs": [{"domans": []}]}, "'domains'"),
        ({"strategy": [{"name": "coral", "grid": {"shrinkage": 1}}]}, "list of values"),
        ({"strategy": [{"name": "coral", "search": {"spac": {}}}]}, "'space'"),
        ({"strategy": [{"name": "coral", "search": {"space": {}}}]}, "by"),
        ({"seeds": [0, 0]}, "twice"),
        ({"seeds": ["a"]}, "whole number"),
        ({"timeout": 0}, "above 0"),
        ({"threads": -1}, "above 0"),
    ],
)
def test_a_mistake_in_the_file_is_told(change, word):
    with pytest.raises(BadInput) as caught:
        study_of(**change)
    assert word in f"{caught.value} {caught.value.hint}"


def search(**change):
    given = {"by": "information-maximisation", "trials": 4, "space": {"shrinkage": [0.1, 10.0]}}
    return [{"name": "coral", "search": {**given, **change}}]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"strategy": [{"name": "coral", "set": {"shrinkag": 1}}]}, "shrinkage"),
        ({"strategy": search(by="accuracy")}, "reads target labels"),
        ({"strategy": search(by="entropi")}, "entropi"),
        ({"strategy": search(trials=0)}, "trials"),
        ({"strategy": search(space={"shrinkag": [1.0]})}, "shrinkage"),
        ({"strategy": search(space={"shrinkage": {"low": 1.0}})}, "low, high"),
        (
            {"strategy": search(space={"shrinkage": {"low": 0.0, "high": 1.0, "log": True}})},
            "empty",
        ),
        ({"strategy": search(space={})}, "empty"),
        ({"validators": ["accuracy"]}, "reads target labels"),
        ({"evaluators": ["accurcy"]}, "accuracy"),
        ({"plugins": ["nowhere.py"]}, "no such file"),
        ({"plugins": ["no_such_module"]}, "no_such_module"),
    ],
)
def test_what_is_not_there_is_told_before_anything_runs(change, word):
    with pytest.raises(BadInput) as caught:
        bench_of(**change)
    assert word in f"{caught.value} {caught.value.hint}"


def test_a_plugin_that_cannot_be_imported_is_told(tmp_path):
    (tmp_path / "broken_plugin.py").write_text("1 / 0")
    with pytest.raises(BadInput, match="ZeroDivisionError"):
        bench_of(plugins=[str(tmp_path / "broken_plugin.py")])


def test_a_plugin_beside_the_study_is_found_from_anywhere_and_its_code_is_in_the_key(tmp_path):
    text = (
        PLUGIN.read_text()
        .replace('"sound"', '"mine"')
        .replace("[Sound, Dies, Hangs, Hungry]", "[Sound]")
    )
    (tmp_path / "my_method_1.py").write_text(text)
    (tmp_path / "s.toml").write_text(
        'plugins = ["my_method_1.py"]\n[[task]]\nsource = "digits:upright#as=table"\n'
        'target = "digits:blurred#as=table"\n[[strategy]]\nname = "mine"\n'
    )
    study = read_study(tmp_path / "s.toml")
    (outcome,) = run_study(Bench.open(Setup(study=study, third_party=False)))
    assert outcome.cell.status == "ok"
    (tmp_path / "my_method_1.py").write_text(text + "\n# another version\n")
    bench = Bench.open(Setup(study=study, third_party=False))
    assert bench.blank(*next(study.cells())).key != outcome.cell.key


def test_where_a_weights_file_lies_is_no_part_of_the_key(tmp_path):
    from safetensors.torch import save_file
    from torchvision.models import mobilenet_v2

    save_file(mobilenet_v2().state_dict(), tmp_path / "a.safetensors")
    images = {"source": "digits:upright", "target": "digits:blurred", "name": "images"}

    def key(name):
        given = {"name": "coral", "backbone": "mobilenet_v2", "weights": str(tmp_path / name)}
        bench = bench_of(task=[images], strategy=[given])
        return bench.blank(*next(bench.setup.study.cells())).key

    first = key("a.safetensors")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "a.safetensors").rename(tmp_path / "elsewhere" / "b.safetensors")
    assert key("elsewhere/b.safetensors") == first
    save_file(mobilenet_v2().state_dict(), tmp_path / "a.safetensors")
    assert key("a.safetensors") != first


def test_one_more_validator_runs_what_lacks_it_and_keeps_the_other_scores(tmp_path):
    log = str(tmp_path / "log")
    body = {"strategy": [{"name": "sound", "set": {"log": log}}]}
    (first,) = run(tmp_path, **body)
    (same,) = run(tmp_path, **body)
    assert (first.fresh, same.fresh) == (True, False)
    (more,) = run(tmp_path, **body, validators=["information-maximisation"])
    assert more.fresh
    assert more.cell.key == first.cell.key
    assert set(more.cell.scores) == {"accuracy", "information-maximisation"}
    (fewer,) = run(tmp_path, **body)
    assert not fewer.fresh
    (f1,) = run(tmp_path, **body, evaluators=["f1"])
    assert f1.fresh
    (both,) = run(tmp_path, **body, evaluators=["f1"], validators=["information-maximisation"])
    assert not both.fresh
    assert len(Path(log).read_text().splitlines()) == 3


def test_a_validator_that_cannot_answer_says_why_and_is_not_asked_again(tmp_path):
    body = {"validators": ["importance-weighted-risk"], "holdout": 0}
    (outcome,) = run(tmp_path, **body)
    assert outcome.cell.status == "ok"
    assert "held out" in outcome.cell.unscored["importance-weighted-risk"]
    assert not run(tmp_path, **body)[0].fresh


def test_source_data_are_held_out_when_a_validator_asks_for_them():
    assert bench_of().holdout == 0
    assert bench_of(validators=["information-maximisation"]).holdout == 0
    assert bench_of(validators=["importance-weighted-risk"]).holdout == 0.2
    assert bench_of(validators=["importance-weighted-risk"], holdout=0.3).holdout == 0.3


def test_a_validator_sees_the_target_of_the_adaptation_and_not_the_test_data():
    validators = ["information-maximisation"]
    (one,) = run(validators=validators, task=[{**TASK, "test": "digits:noisy#as=table"}])
    (two,) = run(validators=validators)
    assert one.cell.scores["accuracy"] != two.cell.scores["accuracy"]
    assert one.cell.scores[validators[0]] == two.cell.scores[validators[0]]


def test_words_for_what_to_run(tmp_path):
    log = tmp_path / "log"
    body = {
        "strategy": [
            {"name": "sound", "set": {"log": str(log)}},
            {"name": "coral"},
            {"name": "mcc", "set": {"training.steps": 2}},
        ]
    }
    run(tmp_path, **{**body, "strategy": body["strategy"][:2]})
    store = Store(tmp_path)
    (coral,) = [c for c in store if c.method == "coral"]
    store.put(replace(coral, status="failed", reason="x"))

    def fresh(which):
        before = {p: p.read_bytes() for p in tmp_path.glob("*.json")}
        found = {o.cell.method: o.fresh for o in run(tmp_path, which, **body)}
        for p in tmp_path.glob("*.json"):
            p.write_bytes(before[p]) if p in before else p.unlink()
        return {method for method, is_fresh in found.items() if is_fresh}

    assert fresh("default") == {"coral", "mcc"}
    assert fresh("only-missing") == {"mcc"}
    assert fresh("only-failed") == {"coral"}
    assert fresh("overwrite") == {"sound", "coral", "mcc"}
    left = {o.cell.method: o.cell.status for o in run(tmp_path, "only-failed", **body)}
    assert left == {"sound": "ok", "coral": "ok", "mcc": "missing"}


def test_a_search_takes_what_the_validator_likes_best_and_tells_its_trials():
    space = {"shrinkage": {"low": 0.01, "high": 100.0, "log": True}, "normalise": [True, False]}
    by = "information-maximisation"
    body = {"strategy": search(space=space, trials=5, by=by), "validators": [by]}
    (outcome,) = run(**body)
    found = outcome.cell.diagnostics["search"]
    assert len(found["trials"]) == 5
    assert found["trials"][0]["settings"] == {"shrinkage": 1.0, "normalise": True}  # the defaults
    best = max(found["trials"], key=lambda t: t["value"])
    assert found["chosen"] == best["settings"]
    assert outcome.cell.scores[by] == best["value"]
    (again,) = run(**body)
    assert again.cell.diagnostics == outcome.cell.diagnostics
    (alone,) = run(strategy=[{"name": "coral", "set": found["chosen"]}])
    assert alone.cell.scores["accuracy"] == outcome.cell.scores["accuracy"]
    assert alone.cell.key != outcome.cell.key  # how it was chosen is a part of what it is


def test_a_search_minimises_what_is_better_when_lower_and_survives_failed_trials(monkeypatch):
    from isthmus_alignment.shallow.coral import CORAL

    sane = CORAL._adapt

    def fragile(self, task, run):
        if self.shrinkage > 5:
            raise ZeroDivisionError("too much")
        return sane(self, task, run)

    monkeypatch.setattr(CORAL, "_adapt", fragile)
    body = {"strategy": search(by="importance-weighted-risk", trials=3), "holdout": 0.2}
    (outcome,) = run(**body)
    trials = outcome.cell.diagnostics["search"]["trials"]
    assert any("ZeroDivisionError" in t.get("failed", "") for t in trials)
    values = [t["value"] for t in trials if "value" in t]
    assert max(values) <= 0  # risks, turned round
    monkeypatch.setattr(CORAL, "_adapt", lambda self, task, run: 1 / 0)
    (outcome,) = run(**body)
    assert outcome.cell.status == "failed"
    assert "none of 3 trials" in outcome.cell.reason


@pytest.fixture
def finished(tmp_path, capsys):
    (tmp_path / "s.toml").write_text(STUDY)
    out = tmp_path / "out"
    main(["compare", str(tmp_path / "s.toml"), "--out", str(out), "--executor", "serial", "--json"])
    capsys.readouterr()
    return out


def test_a_folder_tells_its_status_and_gives_its_report_and_table(finished, capsys):
    main(["compare", "status", str(finished), "--json"])
    assert json.loads(capsys.readouterr().out)["status"] == {"ok": 2}
    record = next(p for p in (finished / "cells").glob("*.json") if "coral" in p.read_text())
    record.unlink()
    (finished / "report.html").unlink()
    main(["compare", "status", str(finished)])
    assert "1 missing" in capsys.readouterr().out
    main(["compare", "report", str(finished)])
    assert "coral" in (finished / "report.html").read_text()
    for form, mark in (("markdown", "| coral"), ("latex", "\\toprule")):
        main(["compare", "report", str(finished), "--format", form])
        assert mark in capsys.readouterr().out
    main(["compare", "export", str(finished), "--to", str(finished / "c.csv")])
    assert (finished / "c.csv").read_text().count("\n") == 3
    main(["compare", "export", str(finished)])
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(finished / "cells.parquet").to_pylist()
    assert [(r["strategy"], r["status"]) for r in table] == [
        ("source-only", "ok"),
        ("coral", "missing"),
    ]


def test_one_cell_is_reproduced_by_its_key_and_its_model_kept(finished, tmp_path, capsys):
    cell = next(c for c in open_results(finished).cells if c.method == "coral")
    command = ["compare", str(tmp_path / "s.toml"), "--out", str(finished)]
    main([*command, "--cell", cell.key[:12], "--save", str(tmp_path / "model")])
    printed = capsys.readouterr()
    assert "the same scores as on record" in printed.err
    main(["evaluate", str(tmp_path / "model"), "--on", TASK["target"], "--json"])
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert scores["accuracy"] == pytest.approx(cell.scores["accuracy"], abs=1e-9)
    with pytest.raises(SystemExit):
        main([*command, "--cell", "zzz"])
    assert "no cell" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*command, "--save", str(tmp_path / "model")])
    assert "--cell" in capsys.readouterr().err


def test_a_folder_without_a_study_is_told(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["compare", "status", str(tmp_path)])
    assert stopped.value.code == 2
    assert "holds no study" in capsys.readouterr().err


def test_results_go_to_a_folder_of_the_study_s_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_text('name = "My study, 2nd"\n' + STUDY)
    main(["compare", "study.toml", "--executor", "serial", "--quiet"])
    assert (tmp_path / "runs/my-study-2nd/report.html").exists()
    with pytest.raises(SystemExit):
        main(["compare", "staus", "runs/my-study-2nd"])
    assert "Did you mean 'status'" in capsys.readouterr().err


def test_odd_diagnostics_and_scores_that_are_no_numbers_cost_nothing(tmp_path, monkeypatch):
    import numpy as np

    from isthmus_alignment.shallow.coral import CORAL
    from isthmus_evaluators.validators.information_maximisation import InformationMaximisation

    sane = CORAL._adapt
    odd = {"array": np.arange(2.0), "nan": float("nan"), "path": Path("x"), "number": np.float32(1)}
    monkeypatch.setattr(CORAL, "_adapt", lambda s, t, r: replace(sane(s, t, r), diagnostics=odd))
    monkeypatch.setattr(InformationMaximisation, "score", lambda self, evidence: float("nan"))
    body = {"strategy": [{"name": "coral"}], "validators": ["information-maximisation"]}
    (outcome,) = run(tmp_path, **body)
    wanted = {"array": [0.0, 1.0], "nan": None, "path": "x", "number": 1.0}
    assert outcome.cell.diagnostics == wanted
    assert outcome.cell.unscored == {"information-maximisation": "gave nan"}
    (again,) = run(tmp_path, **body)
    assert not again.fresh
    json.dumps(again.cell.diagnostics, allow_nan=False)


def test_a_study_of_which_nothing_works_ends_with_one(tmp_path, capsys):
    (tmp_path / "s.toml").write_text(STUDY.replace(TASK["target"], "npz:nowhere.npz"))
    with pytest.raises(SystemExit) as stopped:
        main(["compare", str(tmp_path / "s.toml"), "--out", str(tmp_path), "--executor", "serial"])
    assert stopped.value.code == 1
    assert "nowhere.npz" in capsys.readouterr().err
