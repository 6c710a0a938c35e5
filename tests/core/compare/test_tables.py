"""Tables for papers and for machines: every cell is there, and the best one is marked."""

from __future__ import annotations

import builtins
import csv
import io
import json
import re

import pytest

from core.compare.made_up import GAINS, cell, study
from isthmus.compare.tables import csv_text, latex, markdown, write_parquet
from isthmus.errors import ProviderUnavailable

ODD = 'comma, "quote"\nnew line | pipe & per_cent % \\ ~ ^ # {x} $'


def odd_cells():
    cells = study(GAINS, tasks=2, settings={"trade_off": 0.1}, said=("hello",))
    cells.append(cell("x", ODD, 0, None, status="failed", reason=ODD))
    return [*cells, cell("x", "task 0", 0, 0.9), cell("x", "task 0", 1, None, status="timeout")]


def test_csv_gives_back_every_cell():
    cells = odd_cells()
    rows = list(csv.DictReader(io.StringIO(csv_text(cells))))
    assert len(rows) == len(cells)
    for row, c in zip(rows, cells):
        assert (row["task"], row["strategy"], int(row["seed"])) == (c.task, c.strategy, c.seed)
        assert (row["status"], row["reason"]) == (c.status, c.reason)
        assert json.loads(row["settings"]) == c.settings
        assert row["score:accuracy"] == (str(c.scores["accuracy"]) if c.scores else "")


def test_parquet_gives_back_every_cell(tmp_path):
    import pyarrow.parquet as pq

    cells = odd_cells()
    write_parquet(tmp_path / "cells.parquet", cells)
    rows = pq.read_table(tmp_path / "cells.parquet").to_pylist()
    assert [(r["task"], r["strategy"], r["seed"], r["oracle"]) for r in rows] == [
        (c.task, c.strategy, c.seed, c.oracle) for c in cells
    ]
    assert [r["score:accuracy"] for r in rows] == [c.scores.get("accuracy") for c in cells]
    write_parquet(tmp_path / "none.parquet", [])
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0


def test_parquet_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ProviderUnavailable) as caught:
        write_parquet(tmp_path / "cells.parquet", odd_cells())
    assert caught.value.hint == "pip install 'isthmus[parquet]'"
    assert not (tmp_path / "cells.parquet").exists()


def markdown_rows(text):
    table = text.split("\n\n")[0].splitlines()
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table]
    return {r[0].strip(): [f.strip() for f in r[1:]] for r in rows}


def test_markdown_shows_every_strategy_and_what_is_missing():
    rows = markdown_rows(markdown(odd_cells()))
    assert {len(r) for r in rows.values()} == {5}
    assert set(rows) - {"strategy", "---"} == {
        "source-only", "coral", "tca", "x", "fine-tune (few labels)", "target-only (oracle)",
    }  # fmt: skip
    assert rows["coral"][2] == "–"
    assert rows["x"][0] == "0.900*"
    assert rows["x"][3] == "0.900†"
    assert "**" not in "".join(rows["x"] + rows["target-only (oracle)"])
    notes = markdown(odd_cells()).split("\n\n")[1]
    for sign in ("– no result", "* some seeds", "† over what there is"):
        assert sign in notes.replace("\\", "")


def test_latex_is_bold_for_the_best_and_underlined_for_the_second():
    text = latex(odd_cells())
    lines = {line.split(" &")[0]: line for line in text.splitlines() if " & " in line}
    assert r"\textbf{" in lines["fine-tune (few labels)"]
    assert r"\underline{" in lines["coral"]
    assert "textbf" not in lines["target-only (oracle)"]
    head = next(line for line in text.splitlines() if line.startswith("strategy"))
    assert r"per\_cent \% \textbackslash{} \textasciitilde{} \textasciicircum{} \# \{x\} \$" in head
    assert len({line.replace(r"\&", "").count("&") for line in lines.values()}) == 1
    assert text.count("{") == text.count("}")
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    assert " -- " in lines["coral"]
