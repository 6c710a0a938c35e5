"""The command line as a person or a script meets it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from isthmus.artefact import load
from isthmus.cli import main

PAIR = ["--source", "digits:upright", "--target", "digits:blurred"]
BRIEF = ["--set", "training.steps=60"]


@pytest.fixture
def isthmus(capsys):
    def call(*args, code=0):
        with pytest.raises(SystemExit) if code else _nothing() as stopped:
            main([str(a) for a in args])
        if code:
            assert stopped.value.code == code, capsys.readouterr().err
        return capsys.readouterr()

    return call


class _nothing:
    def __enter__(self):
        return None

    def __exit__(self, kind, error, at):
        return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One deep adaptation that the tests of this file share."""
    out = tmp_path_factory.mktemp("adapted") / "mcc"
    main(["adapt", *PAIR, "--strategy", "mcc", *BRIEF, "--out", str(out), "--quiet"])
    return out


@pytest.fixture(scope="module")
def bundle(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "bundle"
    main(["export", str(folder), "--out", str(out), "--quiet"])
    return out


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from isthmus.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'sklearn', 'matplotlib', 'pandas', 'scipy', 'onnxruntime'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in out.stdout


def test_a_misspelt_command_and_a_misspelt_strategy_are_answered_with_the_nearest(
    isthmus, tmp_path
):
    assert "Did you mean 'adapt'?" in isthmus("trian", code=2).err
    said = isthmus("adapt", *PAIR, "--strategy", "corl", "--out", tmp_path / "x", code=2).err
    assert "no strategy is called 'corl'" in said
    assert "Did you mean 'coral'?" in said
    said = isthmus("adapt", *PAIR, "--startegy", "coral", "--out", tmp_path / "x", code=2).err
    assert "--strategy" in said


def test_errors_are_json_for_scripts(isthmus, tmp_path):
    out = isthmus("adapt", *PAIR, "--strategy", "corl", "--out", tmp_path / "x", "--json", code=2)
    assert out.out == ""
    error = json.loads(out.err)
    assert error == {
        "error": "no strategy is called 'corl'",
        "hint": "Did you mean 'coral'?",
        "exit": 2,
    }


def test_lists_have_the_shapes_that_scripts_rely_on(isthmus):
    plugins = json.loads(isthmus("plugins", "--json").out)
    assert {p["name"] for p in plugins if p["dist"] == "isthmus"} >= {"alignment", "datasets"}
    assert all(set(p) >= {"name", "dist", "version", "status", "reason"} for p in plugins)
    strategies = json.loads(isthmus("strategies", "--json").out)
    keys = {"name", "family", "kinds", "needs", "parameters", "export", "dist"}
    assert all(set(s) >= keys for s in strategies)
    families = {s["family"] for s in strategies}
    assert families == {
        "baseline",
        "selection",
        "reweighting",
        "alignment",
        "finetuning",
        "relational",
    }
    assert {e["name"] for e in json.loads(isthmus("evaluators", "--json").out)} >= {
        "accuracy",
        "r2",
    }
    assert {d["scheme"] for d in json.loads(isthmus("datasets", "--json").out)} >= {"npz", "digits"}


def test_a_card_says_what_a_strategy_is(isthmus):
    card = isthmus("strategies", "coral").out
    assert "AAAI 2016" in card
    assert "shrinkage" in card
    assert "no strategy is called 'xx'" in isthmus("strategies", "xx", code=2).err


def test_adapting_writes_an_artefact_and_says_so(isthmus, tmp_path):
    out = tmp_path / "coral"
    result = json.loads(isthmus("adapt", *PAIR, "--strategy", "coral", "--out", out, "--json").out)
    keys = {"out", "strategy", "seed", "device", "seconds", "peak_mb", "diagnostics"}
    assert keys <= set(result)
    assert {p.name for p in out.iterdir()} == {"adapted.json", "weights.safetensors", "log.jsonl"}
    record = json.loads((out / "adapted.json").read_text())["record"]
    assert record["strategy"] == "coral"
    assert record["target"] == "digits:blurred"
    again = isthmus("adapt", *PAIR, "--strategy", "coral", "--out", out, code=2).err
    assert "already holds an adapted model" in again
    assert "--overwrite" in again
    isthmus("adapt", *PAIR, "--strategy", "coral", "--out", out, "--overwrite")


def test_foreign_files_are_never_removed(isthmus, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    said = isthmus("adapt", *PAIR, "--strategy", "coral", "--out", tmp_path, "--overwrite", code=2)
    assert "thesis.tex" in said.err
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_evaluating_gives_scores_and_tables(isthmus, folder):
    result = json.loads(
        isthmus("evaluate", folder, "--on", "digits:blurred#split=test", "--json").out
    )
    assert result["n"] == 269
    assert 0.3 < result["scores"]["accuracy"] <= 1
    assert set(result["scores"]) >= {"balanced-accuracy", "f1", "log-loss", "brier"}
    assert sum(sum(r.values()) for r in result["tables"]["confusion-matrix"].values()) == 269
    assert "r2" not in result["scores"]
    text = isthmus("evaluate", folder, "--on", "digits:blurred#split=test").out
    assert "true \\ predicted" in text
    said = isthmus("evaluate", folder, "--on", "digits:blurred#as=table", code=2).err
    assert "table" in said


def test_a_validator_gets_held_out_source_data(isthmus, folder):
    args = ["evaluate", folder, "--on", "digits:blurred#split=test", "--json"]
    without = json.loads(isthmus(*args).out)["scores"]
    assert "importance-weighted-risk" not in without
    found = json.loads(isthmus(*args, "--source", "digits:upright#split=test").out)["scores"]
    assert 0 <= found["importance-weighted-risk"] <= 1


def test_the_bundle_predicts_what_the_artefact_does(isthmus, folder, bundle, tmp_path):
    from isthmus.artefact import load
    from isthmus.compose import load_labelled
    from isthmus.manager import discover

    domain = load_labelled(discover(third_party=False), "digits:blurred#split=test")
    np.savez(tmp_path / "digits.npz", x=domain.x[:30])
    found = json.loads(isthmus("predict", bundle, tmp_path / "digits.npz", "--json").out)
    assert len(found) == 30
    wanted = load(folder)[0].predict(domain.x[:30])
    assert [f["label"] for f in found] == [str(k) for k in wanted.argmax(1)]
    np.testing.assert_allclose([f["probability"] for f in found], wanted.max(1), atol=1e-4)
    lines = isthmus("predict", bundle, tmp_path / "digits.npz", "--csv").out.splitlines()
    assert lines[0] == "input,label,probability"
    assert len(lines) == 31
    text = isthmus("predict", bundle, tmp_path / "digits.npz")
    assert "and 10 more" in text.out
    assert text.err.count("running on") == 1


def test_a_missing_gpu_is_an_error_that_names_what_is_missing(
    isthmus, bundle, tmp_path, monkeypatch
):
    np.savez(tmp_path / "digits.npz", x=np.zeros((1, 8, 8, 1), np.uint8))
    import torch

    if torch.cuda.is_available():  # then CUDA must work
        isthmus("predict", bundle, tmp_path / "digits.npz", "--device", "cuda")
    else:
        said = isthmus("predict", bundle, tmp_path / "digits.npz", "--device", "cuda", code=4).err
        assert "cuda" in said.lower()
        said = isthmus(
            "adapt",
            *PAIR,
            "--strategy",
            "dann",
            "--device",
            "cuda",
            "--out",
            tmp_path / "x",
            code=4,
        )
        assert "GPU" in said.err


def test_a_failed_gate_exits_3_and_leaves_no_bundle(isthmus, folder, tmp_path, monkeypatch):
    from isthmus.artefact import TorchAdapted
    from isthmus.deploy import bundle as bundles

    sane = TorchAdapted.onnx

    def tampered(self):
        from dataclasses import replace

        import torch

        class Wrong(torch.nn.Module):
            def __init__(self, net):
                super().__init__()
                self.net = net

            def forward(self, image):
                out = self.net(image)
                return out.flip(1) if torch.compiler.is_exporting() else out

        graph = sane(self)
        return replace(graph, module=Wrong(graph.module))

    monkeypatch.setattr(TorchAdapted, "onnx", tampered)
    assert bundles
    isthmus("export", folder, "--out", tmp_path / "b", code=3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["--source", "digits:upright", "--target", "nowhere"], "nowhere"),
        (["--source", "digits:upright", "--target", "npz:missing.npz"], "missing.npz"),
        (["--source", "digits:uprigth", "--target", "digits:blurred"], "'upright'"),
        (["--source", "digits:upright#splt=all", "--target", "digits:blurred"], "'split'"),
        ([*PAIR, "--set", "shrinkag=1"], "'shrinkage'"),
        ([*PAIR, "--set", "shrinkage=much"], "shrinkage=much"),
        ([*PAIR, "--set", "shrinkage"], "KEY=VALUE"),
        ([*PAIR, "--backbone", "resnet81"], "resnet18"),
        ([*PAIR, "--start", "no/such/folder"], "--start"),
    ],
)
def test_bad_input_gets_one_sentence_and_writes_nothing(isthmus, tmp_path, args, word):
    out = tmp_path / "out"
    said = isthmus("adapt", *args, "--strategy", "coral", "--out", out, code=2).err
    assert word in said
    assert "Traceback" not in said
    assert not (out / "adapted.json").exists()


def test_source_only_is_refused_what_it_cannot_take(isthmus, tmp_path):
    said = isthmus(
        "adapt",
        "--target",
        "digits:blurred",
        "--strategy",
        "coral",
        "--out",
        tmp_path / "o",
        code=2,
    )
    assert "coral needs" in said.err


def test_doctor_reports_and_check_strategy_counts(isthmus):
    found = json.loads(isthmus("doctor", "--json").out)
    assert {f["name"] for f in found} >= {"plugins"}
    assert all(set(f) == {"name", "ok", "detail", "command"} for f in found)
    result = json.loads(isthmus("check-strategy", "coral", "--json").out)
    assert result["checks"] == len(result["passed"]) > 30
    assert result["failed"] == {}


def test_a_strategy_for_tables_says_how_series_become_one(isthmus, tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((6, 2, 5), np.float32), y=np.arange(6) % 2)
    pair = ["--source", f"npz:{tmp_path}/a.npz", "--target", f"npz:{tmp_path}/a.npz"]
    said = isthmus("adapt", *pair, "--strategy", "coral", "--out", tmp_path / "x", code=2).err
    assert "got a 'series' domain" in said
    assert "as=table flattens" in said


def test_only_the_first_of_torchruns_processes_speaks_and_writes(isthmus, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.distributed.init_process_group", lambda backend: None)
    monkeypatch.setattr("torch.distributed.destroy_process_group", lambda: None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, written in (("1", False), ("0", True)):
        monkeypatch.setenv("RANK", rank)
        out = tmp_path / rank
        said = isthmus("adapt", *PAIR, "--strategy", "coral", "--out", out, "--device", "cpu")
        assert (out / "adapted.json").exists() == out.exists() == written
        assert bool(said.out) == bool(said.err) == written


def test_a_killed_adaptation_resumes_to_the_same_weights(tmp_path):
    """SIGKILL after the first checkpoint, then the same command with --resume."""
    base = [sys.executable, "-m", "isthmus", "adapt", *PAIR, "--strategy", "dann", "--quiet"]
    base += ["--set", "training.steps=200"]
    base += ["--checkpoint-every", "0"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*base, "--out", str(tmp_path / "whole")], check=True, env=env)
    out = tmp_path / "killed"
    process = subprocess.Popen([*base, "--out", str(out)], env=env)
    while not list(out.glob("checkpoint/*.safetensors")):
        assert process.poll() is None, "finished before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "adapted.json").exists()
    refused = subprocess.run([*base, "--out", str(out)], env=env, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    subprocess.run([*base, "--out", str(out), "--resume"], check=True, env=env)
    same = (out / "weights.safetensors").read_bytes()
    assert same == (tmp_path / "whole" / "weights.safetensors").read_bytes()
    steps = [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert steps == list(range(200))
    assert not (out / "checkpoint").exists()


def test_columns_of_a_csv_are_taken_by_name_everywhere(isthmus, tmp_path):
    """Two files with the same columns in another order, and one more at prediction."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 2)) * [1, 50]
    y = np.where(x[:, 0] > 0, "up", "down")
    rows = [f"{a},{b},{c}" for (a, b), c in zip(x, y)]
    (tmp_path / "s.csv").write_text("\n".join(["small,large,y", *rows]))
    (tmp_path / "t.csv").write_text("\n".join(["large,small", *(f"{b},{a}" for a, b in x)]))
    (tmp_path / "p.csv").write_text("\n".join(["id,large,small", *(f"7,{b},{a}" for a, b in x)]))
    source, target = f"csv:{tmp_path / 's.csv'}#label=y", f"csv:{tmp_path / 't.csv'}"
    out = tmp_path / "out"
    isthmus(
        "adapt", "--source", source, "--target", target, "--strategy", "source-only", "--out", out
    )
    isthmus("export", out, "--out", tmp_path / "b")
    found = json.loads(isthmus("predict", tmp_path / "b", tmp_path / "p.csv", "--json").out)
    assert np.mean([f["label"] == c for f, c in zip(found, y)]) > 0.95


def test_a_split_is_that_of_the_adaptation_unless_asked_otherwise(isthmus, tmp_path):
    """With another seed a test split would hold rows that were trained on."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", x=rng.normal(size=(40, 3)), y=rng.integers(0, 2, 40))
    uri, out = f"npz:{tmp_path / 'a.npz'}#rows=20", tmp_path / "model"
    pair = ["--source", uri, "--target", uri, "--strategy", "source-only", "--seed", "7"]
    isthmus("adapt", *pair, "--set", "learner=nearestneighbours", "--out", out)
    scores = [
        json.loads(isthmus("evaluate", out, "--on", uri, "--json", *seed).out)["scores"]["accuracy"]
        for seed in ([], ["--seed", "7"], ["--seed", "8"])
    ]
    assert scores[0] == scores[1] == 1.0  # the rows that 1-NN has learnt
    assert scores[2] < 1.0
    isthmus("export", out, "--sample", uri, "--out", tmp_path / "bundle")
    golden = np.load(tmp_path / "bundle" / "golden_input.npz")["x"]
    known = load(out)[0].part.state_dict()
    stored = known["rows"] + known["centre"]
    assert max(np.abs(stored.numpy() - row).sum(1).min() for row in golden) < 1e-5


def test_what_the_loader_did_to_rows_is_said_with_the_bundle(isthmus, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", x=rng.normal(5, 3, size=(40, 3)), y=rng.integers(0, 2, 40))
    uri = f"npz:{tmp_path / 'a.npz'}#normalise=zscore"
    model, bundle = tmp_path / "model", tmp_path / "bundle"
    isthmus("adapt", "--source", uri, "--target", uri, "--strategy", "coral", "--out", model)
    assert "normalise=zscore" in isthmus("export", model, "--out", bundle).err
    assert "normalise=zscore" in isthmus("predict", bundle, tmp_path / "a.npz").err
    assert "normalise=zscore" in (bundle / "README.md").read_text().split("## Run it")[0]


def test_a_finished_adaptation_is_not_adapted_again(isthmus, tmp_path):
    out = tmp_path / "model"
    first = isthmus("adapt", *PAIR, "--strategy", "mcc", *BRIEF, "--out", out, "--json").out
    weights = (out / "weights.safetensors").read_bytes()
    again = isthmus("adapt", *PAIR, "--strategy", "mcc", *BRIEF, "--out", out, "--resume", "--json")
    for key in ("seconds", "diagnostics", "strategy"):
        assert json.loads(again.out)[key] == json.loads(first)[key]
    said = isthmus("adapt", *PAIR, "--strategy", "dann", "--out", out, "--resume", code=2).err
    assert "adapted in another way" in said
    assert (out / "weights.safetensors").read_bytes() == weights


def test_other_data_or_another_start_is_not_resumed(isthmus, tmp_path):
    rng = np.random.default_rng(0)

    def write(name, shift=0.0):
        np.savez(tmp_path / name, x=rng.normal(shift, size=(60, 3)), y=rng.integers(0, 2, 60))
        return f"npz:{tmp_path / name}"

    pair = ["--source", write("a.npz"), "--target", write("b.npz"), "--strategy", "dann"]
    out = tmp_path / "model"
    isthmus("adapt", *pair, *BRIEF, "--out", out)
    write("a.npz", shift=1.0)
    assert "on other data" in isthmus("adapt", *pair, *BRIEF, "--out", out, "--resume", code=2).err


def test_a_start_that_is_not_there_is_told(isthmus, tmp_path):
    start = ["--strategy", "shot", "--start", "no/such/folder"]
    assert "no/such/folder" in isthmus("adapt", *PAIR, *start, "--out", tmp_path / "m", code=2).err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--start", "here"], "begins from no model: leave --start out"),
        (["--support", "digits:blurred"], "reads no target labels: leave --support out"),
        (["--weights", "/no/such/file"], "--weights are those of a backbone"),
        (["--seed", "-1"], "not in the range"),
        (["--budget", "nan"], "budget=nan"),
    ],
)
def test_what_would_not_be_read_is_refused(isthmus, tmp_path, more, said):
    refused = isthmus("adapt", *PAIR, "--strategy", "mcc", *more, "--out", tmp_path / "m", code=2)
    assert said in refused.err
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("out", ["/proc/none", "file/inside"])
def test_a_place_that_cannot_be_written_is_told(isthmus, tmp_path, folder, out):
    (tmp_path / "file").write_text("")
    place = tmp_path / out  # an absolute one stays as it is
    assert "cannot write" in isthmus("export", folder, "--out", place, code=2).err
    said = isthmus("adapt", *PAIR, "--strategy", "coral", "--out", place, code=2).err
    assert "cannot write" in said


def test_commas_and_quotes_of_classes_survive_csv(isthmus, tmp_path):
    rng = np.random.default_rng(0)
    names = np.array(['a, "b"', "c"])
    x = rng.normal(size=(20, 2))
    np.savez(tmp_path / "a.npz", x=x, y=(x[:, 0] > 0).astype(int), classes=names)
    uri = f"npz:{tmp_path / 'a.npz'}"
    model, bundle = tmp_path / "model", tmp_path / "bundle"
    isthmus("adapt", "--source", uri, "--target", uri, "--strategy", "coral", "--out", model)
    isthmus("export", model, "--out", bundle)
    printed = isthmus("predict", bundle, tmp_path / "a.npz", "--csv").out
    rows = list(csv.DictReader(printed.splitlines()))
    assert {row["label"] for row in rows} == set(names)


def test_what_hides_in_a_folder_is_neither_in_the_way_nor_removed(isthmus, tmp_path):
    (tmp_path / ".adapted.json.1234").write_text("left by a kill")
    (tmp_path / ".git").mkdir()
    for more in ([], ["--overwrite"]):
        isthmus("adapt", *PAIR, "--strategy", "coral", "--out", tmp_path, *more)
    assert (tmp_path / ".git").is_dir()
    assert (tmp_path / "adapted.json").is_file()


def test_a_sample_is_read_by_the_names_of_its_columns(isthmus, tmp_path):
    rng = np.random.default_rng(0)
    rows = ["a,b,c,y"] + [f"{i},{10 + i},{20 + i},{rng.integers(0, 2)}" for i in range(20)]
    (tmp_path / "s.csv").write_text("\n".join(rows))
    (tmp_path / "t.csv").write_text(
        "c,b,a\n" + "\n".join(f"{20 + i},{10 + i},{i}" for i in range(9))
    )
    model = tmp_path / "model"
    pair = ["--source", f"csv:{tmp_path}/s.csv#label=y", "--target", f"csv:{tmp_path}/t.csv"]
    isthmus("adapt", *pair, "--strategy", "coral", "--out", model)
    bundle = tmp_path / "bundle"
    isthmus("export", model, "--sample", f"csv:{tmp_path}/t.csv", "--out", bundle)
    golden = np.load(bundle / "golden_input.npz")["x"]
    assert (golden[:, 0] < golden[:, 1]).all()
    assert (golden[:, 1] < golden[:, 2]).all()
