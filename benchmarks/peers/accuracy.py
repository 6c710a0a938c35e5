"""Accuracy on benchmarks of the field: ours at defaults, peers at the best that labels can find."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from statistics import mean
from typing import Any

import numpy as np
from data import SETS, pairs, real, saved
from measure import Ledger, Record, Worker
from venvs import OURS

LIBRARIES = (OURS, "skada", "adapt", "pot")
Row = tuple[str, str, str, str]  # library, method, setting, head


def run(ledger: Ledger, workers: dict[str, Worker], options: Any) -> None:
    """Run every method of every library under each of its settings, smaller tasks first."""
    for name in options.sets or SETS:
        tasks = []
        for source, target in pairs(name, options.ring):
            path = options.out / "data" / f"{name}-{source}-{target}.npz"
            given = (name, source, target, options.data)
            saved(path, lambda given=given: real(*given))
            with np.load(path) as archive:
                rows = len(archive["y_source"]) + len(archive["x_target"])
            tasks.append((rows, label(name, source, target), path))
        for rows, problem, path in sorted(tasks):
            for library, worker in workers.items():
                for method, settings in worker.methods.items():
                    for setting in settings:
                        if setting == "matched":
                            continue
                        cell = {
                            "part": "accuracy",
                            "library": library,
                            "method": method,
                            "setting": setting,
                            "problem": problem,
                            "set": name,
                            "rows": rows,
                            "threads": options.threads,
                            "limit": options.limit,
                            "data": str(path),
                        }
                        ledger.fill(worker, cell)


def label(name: str, source: str, target: str) -> str:
    return f"{name}: {source} to {target}"


def means(records: list[Record], tasks: Collection[str]) -> dict[str, dict[Row, tuple[float, int]]]:
    """Return for each set the mean accuracy of each row on the tasks, and on how many of them."""
    values: dict[str, dict[Row, list[float]]] = defaultdict(lambda: defaultdict(list))
    for r in records:
        c = r["cell"]
        if r["status"] != "ok" or c["problem"] not in tasks:
            continue
        for head, value in r["accuracy"].items():
            values[c["set"]][c["library"], c["method"], c["setting"], head].append(value)
    return {
        name: {row: (100 * mean(v), len(v)) for row, v in found.items()}
        for name, found in values.items()
    }


def tables(ledger: Ledger, options: Any) -> Iterator[str]:
    """Yield Markdown: a column per set, ours one by one, the best of each peer."""
    tasks = {name: [label(name, *pair) for pair in pairs(name, options.ring)] for name in SETS}
    records = ledger.of(part="accuracy", threads=options.threads, limit=options.limit)
    found = means(records, {task for some in tasks.values() for task in some})
    sets = [name for name in options.sets or SETS if name in found]
    count = {name: len(some) for name, some in tasks.items()}
    yield "| | " + " | ".join(f"{n} ({_share(count[n], len(pairs(n)))})" for n in sets) + " |"
    yield "|---|" + "---|" * len(sets)
    every = dict.fromkeys(r for name in sets for r in found[name])
    ours = [r for r in every if r[0] == OURS and r[2] == "default"]
    order = {row: -mean(found[n].get(row, (0.0, 0))[0] for n in sets) for row in ours}
    for row in sorted(ours, key=lambda row: order[row]):
        cells = [_cell(found[n].get(row), count[n]) for n in sets]
        yield f"| {row[1]} | " + " | ".join(cells) + " |"
    for library in LIBRARIES:
        for which, allowed in (("its defaults", {"default"}), ("all", {"default", "scaled"})):
            cells = []
            for name in sets:
                full = {
                    row: value
                    for row, (value, k) in found[name].items()
                    if row[0] == library and row[2] in allowed and k == count[name]
                    and not row[1].startswith("source-only")
                }  # fmt: skip
                if not full:
                    cells.append("none")
                    continue
                best = max(full, key=lambda row: full[row])
                head = "" if best[3] == "own" else f", {best[3]}"
                cells.append(f"{full[best]:.1f} {best[1]}{head}")
            yield f"| {library}, best of {which} (oracle) | " + " | ".join(cells) + " |"
    floor = [
        max(
            (v for (_, m, _, head), (v, _) in found[n].items() if m == "source-only" and head == h),
            default=None,
        )
        for n in sets
        for h in ("lr", "1nn")
    ]
    said = [
        " / ".join("" if v is None else f"{v:.1f}" for v in floor[2 * i : 2 * i + 2])
        for i in range(len(sets))
    ]
    yield "| source-only with the peers' heads, lr / 1nn | " + " | ".join(said) + " |"


def _share(some: int, every: int) -> str:
    return str(every) if some == every else f"{some} of {every}"


def _cell(found: tuple[float, int] | None, tasks: int) -> str:
    if found is None:
        return "none"
    value, k = found
    return f"{value:.1f}" if k == tasks else f"{value:.1f} [{k}/{tasks}]"
