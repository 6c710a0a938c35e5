"""The parent's end of a measurement: children that stay, records that are kept, medians."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from venvs import python_of

HERE = Path(__file__).parent
Record = dict[str, Any]
THREADS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")


@dataclass(frozen=True)
class Worker:
    """One library in a process of its own, which forks one more for every cell."""

    library: str
    process: subprocess.Popen[str]
    methods: dict[str, list[str]]  # and the settings under which each can be run

    def run(self, cell: Record) -> Record:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(cell) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"the worker of {self.library} died; its last words are above")
        found: Record = json.loads(answer)
        return found


def environment(threads: int) -> dict[str, str]:
    """Return the variables of a child, which has so many threads."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return env | {f"{name}_NUM_THREADS": str(threads) for name in THREADS}


@contextmanager
def workers(
    libraries: Iterable[str], root: Path, threads: int, kind: str = "from"
) -> Iterator[dict[str, Worker]]:
    """Start a worker per library (making its environment under ``root`` first); end them after.

    ``kind`` names the methods: ``from`` maps rows, ``weights`` weights them.
    """
    env = environment(threads)
    env |= {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
    env |= {f"TF_NUM_{kind}_THREADS": str(threads) for kind in ("INTRAOP", "INTEROP")}
    log = root / "worker.log"
    with ExitStack() as stack:
        err = stack.enter_context(log.open("w"))
        started = {}
        for library in libraries:
            command = [str(python_of(library, root)), str(HERE / "worker.py"), kind, library]
            process = stack.enter_context(
                subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=err,
                    env=env,
                    text=True,
                )
            )
            assert process.stdin is not None
            assert process.stdout is not None
            stack.callback(process.stdin.close)  # the end of its input is the end of the worker
            hello = process.stdout.readline()
            if not hello:
                sys.exit(f"{library} cannot be imported: see {log}")
            started[library] = Worker(library, process, json.loads(hello))
        yield started


@dataclass
class Ledger:
    """Records of cells in a file of JSON lines; a cell that has one is not run again."""

    path: Path
    records: dict[str, Record] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path.is_file():
            for line in self.path.read_text().splitlines():
                record = json.loads(line)
                self.records[_key(record["cell"])] = record

    def has(self, cell: Record) -> bool:
        return _key(cell) in self.records

    def fill(self, worker: Worker, cell: Record) -> Record:
        """Return the record of a cell, measured now if there is none.

        A method that ran out of time is not tried on a larger problem, nor in the rest of its set,
        over which it has no mean any more.
        """
        key = _key(cell)
        if key not in self.records:
            self.records[key] = {"cell": cell, **(self._slower(cell) or worker.run(cell))}
            with self.path.open("a") as out:
                out.write(json.dumps(self.records[key]) + "\n")
            said = self.records[key]
            line = " ".join(str(cell[k]) for k in ("library", "method", "setting", "problem"))
            print(f"{line}: {said['status']} {said.get('fit_s', said.get('reason'))}", flush=True)
        return self.records[key]

    def of(self, **wanted: Any) -> list[Record]:
        """Return the records whose cells have these values."""
        return [
            r
            for r in self.records.values()
            if all(r["cell"].get(k) == v for k, v in wanted.items())
        ]

    def _slower(self, cell: Record) -> Record | None:
        same = {k: cell[k] for k in ("part", "library", "method", "setting", "threads", "limit")}
        for r in self.of(**same):
            there = r["cell"]
            within = there["rows"] <= cell["rows"] or there.get("set", "") == cell.get("set")
            if r["status"] == "timeout" and within:
                return {"status": "timeout", "reason": f"{r['reason']} on {r['cell']['problem']}"}
        return None


def _key(cell: Record) -> str:
    return json.dumps({k: v for k, v in cell.items() if k != "data"}, sort_keys=True)


def median(records: Iterable[Record], what: str) -> float | None:
    """Return the median of a value over repeats; None where there is none."""
    values = [r[what] for r in records if r["status"] == "ok" and r.get(what) is not None]
    return statistics.median(values) if values else None


def compared(
    ours: float | None, theirs: float | None, limit: float, least: float, form: str
) -> tuple[str, bool | None]:
    """Say how many times as long theirs takes, and whether that is ``least`` (None: not known).

    Infinite seconds stand for more than ``limit``.
    """
    if ours is None or theirs is None or math.isinf(ours):
        return "not measured", None
    bound = math.isinf(theirs)
    ratio = (limit if bound else theirs) / ours
    said = f"{'> ' if bound else ''}{ratio:{form}} ({theirs:.3g} s against {ours:.3g} s)"
    return said, ratio >= least or (None if bound else False)
