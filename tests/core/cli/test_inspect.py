"""isthmus inspect, as a person or a script meets it."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from isthmus.cli import main

PAIR = ["--source", "digits:upright", "--target", "digits:blurred"]


def call(capsys, *args, code=0):
    if code:
        with pytest.raises(SystemExit) as stopped:
            main(["inspect", *map(str, args)])
        assert stopped.value.code == code
    else:
        main(["inspect", *map(str, args)])
    return capsys.readouterr()


@pytest.fixture
def tables(tmp_path):
    """Two CSV files: the column 'dose' moved; the target's labels are swapped."""
    rng = np.random.default_rng(0)

    def write(name, move, swap):
        y = rng.integers(2, size=200)
        age, dose = 2.5 * y + rng.normal(size=200), rng.normal(size=200) + move
        labels = [("ill", "well")[k ^ swap] for k in y]
        lines = [f"{a},{b},{c}" for a, b, c in zip(age, dose, labels)]
        (tmp_path / name).write_text("\n".join(["age,dose,state", *lines]))
        return f"csv:{tmp_path / name}#label=state"

    return write("s.csv", 0, False), write("t.csv", 1, False), write("swapped.csv", 1, True)


def test_digits_are_said_to_be_shifted(capsys):
    out = call(capsys, *PAIR)
    assert "upright -> blurred" in out.out
    assert "shift     yes" in out.out
    assert "pixel" in out.out
    assert "isthmus compare" in out.err


def test_scripts_get_one_object(capsys):
    out = call(capsys, *PAIR, "--json")
    found = json.loads(out.out)
    assert out.err == ""
    assert found["shift"]["shown"] is True
    assert found["rows"]["source"] == {"used": 630, "total": 630}
    assert json.loads(call(capsys, *PAIR, "--json").out) == found


def test_columns_have_their_names_and_files_are_written(capsys, tables, tmp_path):
    out = tmp_path / "new" / "folder"
    pair = ["--source", tables[0], "--target", tables[1]]
    said = call(capsys, *pair, "--out", out)
    assert "1 of 2 differ" in said.out
    assert "dose" in said.out
    assert {p.name for p in out.iterdir()} == {"shift.html", "shift.json"}
    assert "dose" in (out / "shift.html").read_text(encoding="utf-8")
    printed = json.loads(call(capsys, *pair, "--json").out)
    assert json.loads((out / "shift.json").read_text()) == printed
    call(capsys, *pair, "--out", out)  # and again over them


def test_target_labels_change_nothing_and_support_does(capsys, tables):
    source, target, swapped = tables
    first = json.loads(call(capsys, "--source", source, "--target", target, "--json").out)
    bare = target.split("#")[0] + "#drop=state"
    again = json.loads(call(capsys, "--source", source, "--target", bare, "--json").out)
    assert first == again
    args = ["--source", source, "--target", swapped, "--support", swapped, "--json"]
    assert json.loads(call(capsys, *args).out)["kinds"]["concept"] == "shown"


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["--target", "digits:blurred"], "--source"),
        (["--source", "digits:upright", "--target", "npz:missing.npz"], "missing.npz"),
        (["--source", "digits:uprigth", "--target", "digits:blurred"], "'upright'"),
        ([*PAIR, "--weights", "w.safetensors"], "--backbone"),
        ([*PAIR, "--backbone", "resnet81"], "resnet18"),
        (["--source", "digits:upright#as=table", "--target", "digits:blurred"], "table"),
        ([*PAIR, "--out", __file__], "is a file"),
    ],
)
def test_mistakes_get_one_sentence(capsys, args, word):
    said = call(capsys, *args, code=2).err
    assert word in said
    assert "Traceback" not in said


def test_missing_values_are_named(capsys, tmp_path):
    x = np.zeros((20, 2), np.float32)
    np.savez(tmp_path / "s.npz", x=x, y=np.arange(20) % 2)
    x[3, 1] = np.nan
    np.savez(tmp_path / "t.npz", x=x, y=np.arange(20) % 2)
    args = ["--source", f"npz:{tmp_path / 's.npz'}", "--target", f"npz:{tmp_path / 't.npz'}"]
    said = json.loads(call(capsys, *args, "--json", code=2).err)
    assert "row 3, column 1" in said["error"]
    assert said["exit"] == 2


def test_help_is_light_and_other_names_lead_here(capsys):
    code = (
        "import sys; from isthmus.cli import main\n"
        "try: main(['inspect', '--help'])\n"
        "except SystemExit: pass\n"
        "print('HEAVY', sorted({'torch', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in out.stdout
    with pytest.raises(SystemExit):
        main(["diagnose"])
    assert "Did you mean 'inspect'?" in capsys.readouterr().err
