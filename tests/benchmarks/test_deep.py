"""The benchmark of training: the same network and step for all, turns that are told apart."""

from __future__ import annotations

import importlib
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from isthmus import Schema
from isthmus.learners import LeNet

PEERS = Path(__file__).parents[2] / "benchmarks/peers"
SCHEMA = Schema(kind="image", shape=(28, 28, 1), classes=("a", "b"))


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(PEERS)
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(PEERS) in str(getattr(sys.modules[name], "__file__", None)):
            del sys.modules[name]


def test_everybody_trains_our_network(peers: Any) -> None:
    theirs, (ours, width) = (
        peers("libraries.parts").encoder(),
        LeNet().encoder(SCHEMA, pretrained=False),
    )
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 1, 28, 28)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=0, atol=0)
    assert width == peers("libraries.parts").WIDTH
    assert str(ours) == str(theirs)


@pytest.mark.parametrize("library", ["isthmus", "by_hand"])
@pytest.mark.parametrize("method", ["source-only", "dann"])
def test_a_meter_hands_out_blocks_of_steps_until_it_is_enough(
    peers: Any, library: str, method: str
) -> None:
    parts, rng = peers("libraries.parts"), np.random.default_rng(0)
    data = {k: rng.integers(0, 256, (40, 28, 28, 1), np.uint8) for k in ("x_source", "x_target")}
    data["y_source"] = rng.integers(0, 10, 40)
    blocks: list[float | None] = []

    def turn(seconds: float | None) -> bool:
        blocks.append(seconds)
        return len(blocks) < 3

    call, given = peers(f"libraries.deep_{library}").METHODS[method]["eager"]
    meter = parts.Meter(2, 1, turn, cuda=False)
    with pytest.raises(parts.Enough):
        call(data, meter, 8, "cpu", **given)
    warm, *timed = blocks
    assert warm is None
    assert all(seconds is not None and seconds > 0 for seconds in timed)
    assert len(timed) == 2


def test_ratios_are_of_the_turns_in_which_both_ran(peers: Any, tmp_path: Path) -> None:
    Ledger, images = peers("measure").Ledger, peers("images")
    options = Namespace(threads=1, device="cpu", block=10, batch=32, problem="noise")
    ledger = Ledger(tmp_path / "deep.jsonl")
    seconds = {"isthmus": [1.0, 2.0, 4.0], "by_hand": [2.0, 4.0], "skada": [3.0, 6.0, 12.0]}
    for library, found in seconds.items():
        for turn, s in enumerate(found):
            cell = {
                "part": "deep-methods", "library": library, "method": "dann", "setting": "eager",
                "problem": "noise", "rows": 32, "repeat": turn, "threads": 1, "limit": 0,
                "block": 10, "device": "cpu", "data": "elsewhere",
            }  # fmt: skip
            worker = Namespace(run=lambda cell, s=s: {"status": "ok", "fit_s": s, "load": 1.5})
            ledger.fill(worker, cell)
            assert ledger.has(cell | {"data": "another place"})
            assert not ledger.has(cell | {"repeat": 9})
    table = images.Found(Ledger(tmp_path / "deep.jsonl"), options, "deep-methods")  # read anew
    assert table.ratio("dann", ("isthmus", "eager"), ("by_hand", "eager")) == 2
    assert table.ratio("dann", ("isthmus", "eager"), ("skada", "eager")) == 3
    assert table.images("dann", "isthmus") == 320
    line = next(line for line in table.methods() if "`dann`" in line)
    assert line == "| `dann` | 320 | 240 (2.00x) | 107 (3.00x) |  |  | 0.97x by_hand | pass |"
    assert "load 1.5" in table.conditions(options)
    other = images.Found(ledger, Namespace(**{**vars(options), "threads": 2}), "deep-methods")
    assert other.images("dann", "isthmus") is None
