"""The child's end of a measurement: one library imported once, one forked process per cell.

    PYTHON worker.py KIND LIBRARY   reads a cell (JSON) per line, answers a record per line

KIND is ``from`` (methods that map rows) or ``weights`` (methods that weight them).

Runs in the peer's environment: needs NumPy, scikit-learn and the library, not isthmus. The process
that forks never computes, so that no thread is lost by forking, and the peak memory of a cell is
that of its own process. Seconds are those of the processor where there is one thread: what else
the machine does then hardly counts.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from libraries.outcome import heads, nearest
from libraries.ratio import judged

(KIND, LIBRARY), OURS = sys.argv[1:], "isthmus"
WARM = 80  # rows of each domain in the first, unmeasured call: it pays for what is loaded late

ENOUGH = 0.2  # seconds that a clock of coarse ticks can tell


def peak_mb() -> float:
    """Return the most memory that this process has held, in MB (Linux counts in kB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def allow(seconds: int) -> None:
    """Let this process compute for so long, then end it by a signal."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))


def measure(cell: dict[str, Any], methods: dict[str, Any]) -> dict[str, Any]:
    """Run one cell and return its record. ``cell["part"]`` says what is measured."""
    method, settings = methods[cell["method"]][cell["setting"]]
    with np.load(cell["data"]) as archive:
        x_s, y_s, x_t = (archive[k] for k in ("x_source", "y_source", "x_target"))
        x_j, y_j = (archive[k] for k in ("x_judged", "y_judged"))
        x_new = archive["x_new"] if cell.get("new") else None
    if LIBRARY != OURS:  # NumPy's own type; in float32 some of their solvers never converge
        x_s, x_t, x_j = (np.asarray(x, np.float64) for x in (x_s, x_t, x_j))
        x_new = None if x_new is None else np.asarray(x_new, np.float64)
    if cell["part"] != "accuracy":
        first = np.unique(y_s, return_index=True)[1]  # no class may be missing
        some = np.union1d(first, np.arange(WARM))
        _predictor(method(x_s[some], y_s[some], x_t[:WARM], **settings), y_s[some])(x_j[:WARM])
    base = peak_mb()
    clock = time.process_time if cell["threads"] == 1 else time.perf_counter
    if cell["part"] == "accuracy":
        start = clock()
        found = method(x_s, y_s, x_t, **settings)
        seconds = clock() - start
        allow(resource.RLIM_INFINITY)  # heads are ours to pay for
        return {"fit_s": seconds, "accuracy": heads(found, y_s, x_j, y_j)}

    def fit() -> Any:
        found = method(x_s, y_s, x_t, **settings)
        return found, _predictor(found, y_s)

    (found, predict), seconds = timed(clock, fit)
    record = {"fit_s": seconds, "growth_mb": peak_mb() - base, "peak_mb": peak_mb()}
    if cell["part"] == "speed":
        predicted, record["predict_s"] = timed(clock, lambda: predict(x_j))
        record["accuracy"] = float((predicted == y_j).mean())
        if found.new is not None and x_new is not None:  # of a map that was given at rows only
            moved, record["new_s"] = timed(clock, lambda: found.new(x_new))
            record["moved"] = float(np.square(moved - x_new).mean())
    return record | {"notes": found.notes()}


def weigh(cell: dict[str, Any], methods: dict[str, Any]) -> dict[str, Any]:
    """Run one cell of a method that weights rows, and return its record."""
    method, settings = methods[cell["method"]][cell["setting"]]
    with np.load(cell["data"]) as archive:
        data = {k: archive[k] for k in archive.files}
    if LIBRARY != OURS:
        data = {k: np.asarray(v, np.float64) for k, v in data.items()}
    x_s, x_t, gamma = data["x_source"], data["x_target"], float(data["gamma"])
    method(x_s[:WARM], x_t[:WARM], gamma, **settings)
    base = peak_mb()
    clock = time.process_time if cell["threads"] == 1 else time.perf_counter
    found, seconds = timed(clock, lambda: method(x_s, x_t, gamma, **settings))
    record = {"fit_s": seconds, "growth_mb": peak_mb() - base, "peak_mb": peak_mb()}
    allow(resource.RLIM_INFINITY)  # what follows is not the method's
    return record | {"notes": judged(cell["method"], found, data) if cell["judged"] else {}}


def timed(clock: Any, call: Any) -> tuple[Any, float]:
    """Return the result and the mean seconds of one call, of many where one is too short."""
    start, runs, seconds = clock(), 0, 0.0
    while not runs or (seconds < ENOUGH and runs < 100):
        result, runs = call(), runs + 1
        seconds = clock() - start
    return result, seconds / runs


def _predictor(found: Any, y_source: Any) -> Any:
    return found.predict or nearest(found, y_source)


def attempt(cell: dict[str, Any], methods: dict[str, Any]) -> dict[str, Any]:
    """Measure; what goes wrong is the record."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return {"status": "ok", **(weigh if KIND == "weights" else measure)(cell, methods)}
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        reason = str(error).strip().split("\n")[0]
        return {"status": "failed", "reason": f"{type(error).__name__}: {reason} ({where})"}


def in_child(cell: dict[str, Any], methods: dict[str, Any]) -> dict[str, Any]:
    """Fork and measure there; the child dies when it has computed for ``cell["limit"]`` seconds."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(read)
        allow(int(cell["limit"] * cell["threads"]))
        with os.fdopen(write, "w") as out:
            json.dump(attempt(cell, methods), out)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        said = answer.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        cause = os.WTERMSIG(status)
        if cause == signal.SIGXCPU:
            return {"status": "timeout", "reason": f"more than {cell['limit']:g} s"}
        return {"status": "failed", "reason": f"ended by signal {cause} (9: out of memory)"}
    return json.loads(said) if said else {"status": "failed", "reason": "the process died"}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer
    methods = importlib.import_module(f"libraries.{KIND}_{LIBRARY}").METHODS
    print(json.dumps({m: list(settings) for m, settings in methods.items()}), file=answers)
    answers.flush()
    for line in sys.stdin:
        print(json.dumps(in_child(json.loads(line), methods)), file=answers)
        answers.flush()


if __name__ == "__main__":
    main()
