"""The same problem, solved by every library that can: time, memory, and how well."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data import drawn, saved
from measure import Ledger, Record, Worker, compared, median
from venvs import OURS

SIZES = (500, 1000, 2000, 4000, 8000)
WIDE = (100, 400)  # fewer rows than columns
ROWS = {
    "tca": (OURS, "skada", "adapt"),
    "jdot": (OURS, "skada"),
    "lpl1": (OURS, "pot"),
    "sinkhorn": (OURS, "pot", "skada"),
    "emd": (OURS, "pot", "skada"),
    "sa": (OURS, "skada", "adapt"),
    "coral": (OURS, "skada", "adapt"),
    "linot": (OURS, "pot", "skada"),
}
LIBRARIES = (OURS, "skada", "adapt", "pot")
NOTES = ("criterion", "cost", "marginal_error", "iterations")


def run(ledger: Ledger, workers: dict[str, Worker], options: Any) -> None:
    """Measure by turns: of each repeat every library has one, so that all see the same machine."""
    for n in SIZES:
        data = saved(options.out / "data" / f"drawn-{n}.npz", lambda n=n: drawn(n))
        for method in ROWS:
            _turns(ledger, workers, options, method, n, f"{n}+{n}", data)
    n, d = WIDE
    data = saved(options.out / "data" / f"drawn-{n}-{d}.npz", lambda: drawn(n, d, 0.3))
    _turns(ledger, workers, options, "coral", n, f"{n}+{n} of {d} columns", data)
    _turns(ledger, workers, options, "source-only-1nn", n, f"{n}+{n} of {d} columns", data)


def _turns(
    ledger: Ledger, workers: dict[str, Worker], options: Any, method: str, n: int, problem: str,
    data: Path,
) -> None:  # fmt: skip
    for repeat in range(options.repeats):
        for library in ROWS.get(method, (OURS,)):
            setting = "matched" if method in ROWS else "default"
            cell = {
                "part": "speed",
                "library": library,
                "method": method,
                "setting": setting,
                "problem": problem,
                "rows": n,
                "repeat": repeat,
                "threads": options.threads,
                "limit": options.limit,
                "new": method == "emd",
                "data": str(data),
            }
            ledger.fill(workers[library], cell)


class Speed:
    """The records of the part, by method, rows and library."""

    def __init__(self, ledger: Ledger, threads: int, limit: float) -> None:
        self.found = ledger.of(part="speed", threads=threads, limit=limit)

    def of(self, method: str, problem: str, library: str) -> list[Record]:
        cells = [(r, r["cell"]) for r in self.found]
        wanted = (method, problem, library)
        return [r for r, c in cells if (c["method"], c["problem"], c["library"]) == wanted]

    def seconds(self, method: str, n: int, library: str, what: str = "total") -> float | None:
        """Return the median; ``total`` is fitting and predicting. Infinity where time ran out."""
        records = self.of(method, f"{n}+{n}", library)
        if any(r["status"] == "timeout" for r in records):
            return math.inf
        if what != "total":
            return median(records, what)
        total = [{**r, "total": r.get("fit_s", 0) + r.get("predict_s", 0)} for r in records]
        return median(total, "total")

    def ratio(self, method: str, n: int, library: str, what: str) -> float | None:
        theirs, ours = (self.seconds(method, n, who, what) for who in (library, OURS))
        return None if theirs is None or ours is None or math.isinf(ours) else theirs / ours

    def note(self, method: str, n: int, library: str, name: str) -> Any:
        ok = [r for r in self.of(method, f"{n}+{n}", library) if r["status"] == "ok"]
        return ok[0]["notes"].get(name) if ok else None


def tables(ledger: Ledger, options: Any) -> Iterator[str]:
    """Yield Markdown: every method, then the bars."""
    speed = Speed(ledger, options.threads, options.limit)
    limit = options.limit

    def cell(value: float | None, ratio: float | None) -> str:
        if value is None:
            return ""
        said = f"> {limit:g}" if math.isinf(value) else f"{value:.3g}"
        if ratio is None:
            return said
        return f"{said} ({'>' if math.isinf(value) else ''}{_ratio(ratio, limit)}x)"

    for method, libraries in ROWS.items():
        yield f"\n**{method}**\n"
        yield "| rows | library | fit, s (ratio) | predict, s | memory, MB | accuracy | solution |"
        yield "|---|---|---|---|---|---|---|"
        for n in SIZES:
            for who in libraries:
                records = speed.of(method, f"{n}+{n}", who)
                if not records:
                    continue
                fit = speed.seconds(method, n, who, "fit_s")
                ratio = None if who == OURS else speed.ratio(method, n, who, "fit_s")
                if ratio is not None and math.isinf(ratio):
                    ratio = limit / (speed.seconds(method, n, OURS, "fit_s") or limit)
                failed = [r["reason"] for r in records if r["status"] == "failed"]
                predict, mb = median(records, "predict_s"), median(records, "growth_mb")
                accuracy = median(records, "accuracy")
                notes = ", ".join(
                    f"{k.replace('_', ' ')} {v:.4g}"
                    for k in NOTES
                    if (v := speed.note(method, n, who, k)) is not None
                )
                yield (
                    f"| {n:,} + {n:,} | {who} | {cell(fit, ratio)} | {cell(predict, None)} | "
                    f"{'' if mb is None else f'{mb:.0f}'} | "
                    f"{'' if accuracy is None else f'{100 * accuracy:.1f}'} | "
                    f"{notes or '; '.join(failed[:1])} |"
                )
    yield "\n| bar | found | |"
    yield "|---|---|---|"
    for what, found, met in bars(speed, options):
        yield f"| {what} | {found} | {'' if met is None else 'pass' if met else '**fail**'} |"


def _ratio(value: float, limit: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def bars(speed: Speed, options: Any) -> Iterator[tuple[str, str, bool | None]]:
    """Yield what is asked, what was found, and whether that is enough (None: not measured)."""

    def against(
        method: str, n: int, who: str, least: float, what: str = "fit_s"
    ) -> tuple[str, bool | None]:
        ours, theirs = (speed.seconds(method, n, library, what) for library in (OURS, who))
        return compared(ours, theirs, options.limit, least, ".1f")

    for n, least in ((1000, 10), (2000, 40)):
        yield f"TCA, {n:,} + {n:,}: {least} times skada", *against("tca", n, "skada", least)
        ours, *others = (speed.note("tca", n, who, "criterion") for who in (OURS, "skada", "adapt"))
        known = [v for v in others if v is not None]
        said = "not measured" if ours is None else f"{ours:.4g} against {max(known, default=0):.4g}"
        yield (
            f"TCA, {n:,} + {n:,}: a better objective",
            said,
            None if ours is None or not known else ours > max(known) * (1 - 1e-3),
        )
    for n in (1000, 2000):
        yield f"JDOT, {n:,} + {n:,}: 10 times skada", *against("jdot", n, "skada", 10)
        yield f"lpl1, {n:,} + {n:,}: 8 times POT", *against("lpl1", n, "pot", 8)
        yield f"3,000 new rows, {n:,} + {n:,}: 8 times POT", *against("emd", n, "pot", 8, "new_s")
    peak = median(speed.of("sinkhorn", "8000+8000", OURS), "peak_mb")
    said = "not measured" if peak is None else f"{peak:.0f} MB, libraries included"
    yield "entropic OT, 8,000 + 8,000: below 1 GB", said, None if peak is None else peak < 1024
    for method in ("sa", "coral", "linot"):
        for n in SIZES:
            peers = [who for who in ROWS[method] if who != OURS]
            times = {who: speed.seconds(method, n, who) for who in peers}
            known = {who: t for who, t in times.items() if t is not None}
            if not known:
                continue
            best = min(known, key=lambda who: known[who])
            found = against(method, n, best, 1.0, "total")
            yield f"{method}, {n:,} + {n:,}: not slower than {best}, fit and predict", *found
    problem = "{0}+{0} of {1} columns".format(*WIDE)
    ours, skada, adapt = (
        median(speed.of("coral", problem, who), "accuracy") for who in (OURS, "skada", "adapt")
    )
    floor = median(speed.of("source-only-1nn", problem, OURS), "accuracy")
    if ours is not None and floor is not None:
        said = f"{100 * ours:.1f} (source-only {100 * floor:.1f}, skada {100 * (skada or 0):.1f}, "
        said += f"ADAPT {100 * (adapt or 0):.1f})"
        yield (
            f"CORAL, {problem}: no worse than source-only, both with 1-NN",
            said,
            ours >= floor - 0.02,
        )
