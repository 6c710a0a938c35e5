"""Accuracy on benchmarks of the field: ours at defaults, peers at the best that labels can find."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
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
        for source, target in pairs(name):
            path = options.out / "data" / f"{name}-{source}-{target}.npz"
            given = (name, source, target, options.data)
            saved(path, lambda given=given: real(*given))
            with np.load(path) as archive:
                rows = len(archive["y_source"]) + len(archive["x_target"])
            tasks.append((rows, f"{name}: {source} to {target}", path))
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


def means(records: list[Record]) -> dict[str, dict[Row, tuple[float, int]]]:
    """Return for each set the mean accuracy of each row, and of how many tasks."""
    values: dict[str, dict[Row, list[float]]] = defaultdict(lambda: defaultdict(list))
    for r in records:
        c = r["cell"]
        for head, value in r.get("accuracy", {}).items() if r["status"] == "ok" else ():
            values[c["set"]][c["library"], c["method"], c["setting"], head].append(value)
    return {
        name: {row: (100 * mean(v), len(v)) for row, v in found.items()}
        for name, found in values.items()
    }


def tables(ledger: Ledger, options: Any) -> Iterator[str]:
    """Yield Markdown: a column per set, ours one by one, the best of each peer."""
    found = means(ledger.of(part="accuracy", threads=options.threads, limit=options.limit))
    sets = [name for name in SETS if name in found]
    yield "| | " + " | ".join(f"{name} ({len(pairs(name))})" for name in sets) + " |"
    yield "|---|" + "---|" * len(sets)
    ours = list(dict.fromkeys(r for name in sets for r in found[name] if r[0] == OURS))
    order = {row: -mean(found[n].get(row, (0.0, 0))[0] for n in sets) for row in ours}
    for row in sorted(ours, key=lambda row: order[row]):
        cells = [_cell(found[n].get(row), len(pairs(n))) for n in sets]
        yield f"| {row[1]} | " + " | ".join(cells) + " |"
    for library in [lib for lib in LIBRARIES if lib != OURS]:
        for which, allowed in (("its defaults", {"default"}), ("all", {"default", "scaled"})):
            cells = []
            for name in sets:
                full = {
                    row: value
                    for row, (value, k) in found[name].items()
                    if row[0] == library and row[2] in allowed and k == len(pairs(name))
                    and row[1] != "source-only"
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


def _cell(found: tuple[float, int] | None, tasks: int) -> str:
    if found is None:
        return "none"
    value, k = found
    return f"{value:.1f}" if k == tasks else f"{value:.1f} [{k}/{tasks}]"
