"""Images per second that training takes: ours, other libraries, and a loop written by hand.

    python benchmarks/peers/deep.py [methods] [options] [--data ROOT] [--tllib CLONE] [--readme]

``methods`` runs each method in every library that has it, ``options`` the loop by hand and ours
under what torch offers to be faster (``--device cuda``: on a GPU, with peak memory). All train in
processes that stay and take turns, a block of steps each, so that all meet the same machine.
Without $ISTHMUS_DATA the images are noise. What was measured is kept under ``--out`` and not
measured again; ``--fresh`` starts anew.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from alignment import place
from data import Arrays, saved
from images import ABSENT, ALONE, METHODS, OPTIONS, PEERS, PLAIN, Found
from measure import HERE, Ledger, Record, environment
from venvs import BY_HAND, OURS, python_of

ROWS = 6400  # of noise


class Trainer:
    """One library that trains in a process of its own, and stands still between its turns."""

    def __init__(self, library: str, cell: Record, options: Any) -> None:
        env = environment(options.threads)
        if options.tllib:
            env["PYTHONPATH"] = str(options.tllib)
        if options.device == "cpu":
            env["CUDA_VISIBLE_DEVICES"] = ""
        words = [cell[k] for k in ("method", "setting", "data", "block", "rows", "device")]
        command = [python_of(f"deep-{library}", options.out), HERE / "trainer.py", library, *words]
        with (options.out / "worker.log").open("a") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=env,
                text=True,
            )
        self.failed = self._answer().get("reason")

    def run(self, cell: Record) -> Record:
        """Do one block of steps."""
        if self.failed is None:
            assert self.process.stdin is not None
            self.process.stdin.write("\n")
            self.process.stdin.flush()
            answer = self._answer()
            self.failed = answer.get("reason")
        if self.failed is not None:
            return {"status": "failed", "reason": self.failed}
        load = os.getloadavg()[0]
        return {"status": "ok", "fit_s": answer.pop("seconds"), "load": load, **answer}

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> Record:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        answer: Record = json.loads(line) if line else {"reason": "the process died"}
        return answer


def run(
    ledger: Ledger, part: str, pairs: list[tuple[str, str]], method: str, data: Path, options: Any
) -> None:
    """Measure ``options.turns`` blocks of each (library, setting), which take turns."""

    def cell(library: str, setting: str, turn: int) -> Record:
        return {
            "part": part,
            "library": library,
            "method": method,
            "setting": setting,
            "problem": data.stem,
            "rows": options.batch,
            "repeat": turn,
            "threads": options.threads,
            "limit": 0,
            "block": options.block,
            "device": options.device,
            "data": str(data),
        }

    turns = range(options.turns)
    if all(ledger.has(cell(*pair, turn)) for pair in pairs for turn in turns):
        return
    with ExitStack() as stack:
        trainers = {}
        for pair in pairs:
            trainers[pair] = Trainer(pair[0], cell(*pair, 0), options)
            stack.callback(trainers[pair].close)
        for turn in turns:
            for pair in pairs[turn % len(pairs) :] + pairs[: turn % len(pairs)]:
                ledger.fill(trainers[pair], cell(*pair, turn))


def digits(root: Path | None) -> Arrays:
    """Return MNIST and USPS as bytes of MNIST's size, or noise where there is no data."""
    if root is None:
        rng = np.random.default_rng(0)
        x = rng.integers(0, 256, (2, ROWS, 28, 28, 1), dtype=np.uint8)
        return {"x_source": x[0], "y_source": rng.integers(0, 10, ROWS), "x_target": x[1]}
    import torch

    from isthmus.learners.pixels import resize

    with np.load(root / "digits/mnist.npz") as mnist, np.load(root / "digits/usps.npz") as usps:
        small = torch.from_numpy(usps["x"]).permute(0, 3, 1, 2).float()
        large = resize(small, (28, 28)).round().to(torch.uint8).permute(0, 2, 3, 1)
        return {
            "x_source": mnist["x"],
            "y_source": mnist["y"].astype(np.int64),
            "x_target": large.contiguous().numpy(),
        }


def parsed() -> Any:
    parser = argparse.ArgumentParser(description="Images per second that training takes.")
    parser.add_argument("parts", nargs="*", choices=["methods", "options", []])
    parser.add_argument("--data", type=Path, default=os.environ.get("ISTHMUS_DATA"))
    parser.add_argument("--out", type=Path, default=Path("runs/peers"))
    parser.add_argument("--tllib", type=Path, help="a clone of Transfer-Learning-Library")
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    parser.add_argument("--device", default="cpu", help="cpu, cuda")
    parser.add_argument("--batch", type=int, default=32, help="of each domain")
    parser.add_argument("--block", type=int, default=10, help="steps of a turn")
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=METHODS)
    parser.add_argument("--fresh", action="store_true", help="forget earlier measurements")
    parser.add_argument("--report", action="store_true", help="print only what is there")
    parser.add_argument("--readme", action="store_true", help="put the tables into README.md")
    return parser.parse_args()


def main(options: Any) -> None:
    options.out = options.out.resolve()
    kept = options.out / "deep.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    if options.fresh:
        kept.unlink(missing_ok=True)
    ledger = Ledger(kept)
    root = None if options.data is None else Path(options.data)
    options.problem = "noise" if root is None else "mnist-usps"
    data = saved(options.out / "data" / f"{options.problem}.npz", lambda: digits(root))
    peers = [p for p in PEERS if p != "tllib" or options.tllib]
    for part in options.parts or ["methods", "options"]:
        for method in () if options.report else options.methods:
            if part == "methods":
                who = [OURS, *([BY_HAND] if method in ALONE else []), *peers]
                pairs = [(w, PLAIN) for w in who if (w, method) not in ABSENT]
            else:
                pairs = [(w, how) for w in OPTIONS for how in OPTIONS[w] if method in ALONE]
            run(ledger, f"deep-{part}", pairs, method, data, options)
        found = Found(ledger, options, f"deep-{part}")
        text = "\n".join([*getattr(found, part)(), "", found.conditions(options)])
        print(f"\n{text}")
        if options.readme:
            place(f"deep-{part}", text)


if __name__ == "__main__":
    main(parsed())
