"""Images per second: what training took by method, library and setting, in tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from measure import Ledger, Record
from venvs import BY_HAND, OURS

PEERS = ("skada", "pytorch_adapt", "tllib")
METHODS = ("source-only", "dann", "cdan", "dan", "mcc", "mdd")
PLAIN = "eager"
FAST = ("nchw", "nhwc weights", "fused", "compile", "matmul medium", "bf16", "bf16 compile")
OPTIONS = {BY_HAND: (PLAIN, *FAST), OURS: (PLAIN, "compile", "bf16", "bf16 compile")}
ALONE = ("source-only", "dann")  # what there is by hand
ABSENT = [("pytorch_adapt", "mdd")]
BARS = {  # method: what ours must reach, in units of which library
    "source-only": (0.97, BY_HAND),
    "dann": (0.97, BY_HAND),
    "cdan": (1.35, "best peer"),
    "dan": (1.3, "tllib"),
    "mcc": (1.0, "best peer"),
    "mdd": (1.0, "best peer"),
}


class Found:
    """Seconds of blocks by method, library, setting and turn."""

    def __init__(self, ledger: Ledger, options: Any, part: str) -> None:
        kept = {k: getattr(options, k) for k in ("threads", "device", "block", "problem")}
        self.records = ledger.of(part=part, rows=options.batch, **kept)
        self.size, self.block = options.batch, options.block

    def conditions(self, options: Any) -> str:
        """Say what was measured, and how busy the machine was, ours included."""
        loads = [r["load"] for r in self.records if "load" in r]
        said = f"{options.problem} on {options.device}, {options.threads} threads, "
        said += f"batches of {self.size} of each domain, "
        said += f"{1 + max((r['cell']['repeat'] for r in self.records), default=-1)} turns"
        return said + (f", load {min(loads):.1f} to {max(loads):.1f}." if loads else ".")

    def of(self, method: str, library: str, setting: str = PLAIN) -> dict[int, Record]:
        wanted = {"method": method, "library": library, "setting": setting}
        return {
            r["cell"]["repeat"]: r
            for r in self.records
            if r["status"] == "ok" and all(r["cell"][k] == v for k, v in wanted.items())
        }

    def images(self, method: str, library: str, setting: str = PLAIN) -> float | None:
        """Return the median of images per second: those that pass the network."""
        records = self.of(method, library, setting).values()
        each = self.block * self.size * (1 if method == "source-only" else 2)
        return statistics.median(each / r["fit_s"] for r in records) if records else None

    def ratio(self, method: str, one: tuple[str, str], other: tuple[str, str]) -> float | None:
        """Return how many times as fast ``one`` is: the median over turns, in which both ran."""
        a, b = self.of(method, *one), self.of(method, *other)
        ratios = [b[turn]["fit_s"] / a[turn]["fit_s"] for turn in a.keys() & b.keys()]
        return statistics.median(ratios) if ratios else None

    def _missing(self, method: str, library: str) -> str:
        cells = [r["cell"] for r in self.records if r["status"] != "ok"]
        return (
            "failed" if any((c["method"], c["library"]) == (method, library) for c in cells) else ""
        )

    def methods(self) -> Iterator[str]:
        """Yield a table of methods and libraries."""
        libraries = (OURS, BY_HAND, *PEERS)
        ours = (OURS, PLAIN)
        yield f"| images/s (ours / theirs) | {' | '.join(libraries)} | bar | |"
        yield "|---" * (len(libraries) + 3) + "|"
        for method in METHODS:
            cells, ratios = [], {}
            for who in libraries:
                images = self.images(method, who)
                ratio = self.ratio(method, ours, (who, PLAIN)) if images else None
                if ratio is not None and who != OURS:
                    ratios[who] = ratio
                more = "" if who == OURS or ratio is None else f" ({ratio:.2f}x)"
                cells.append(
                    self._missing(method, who) if images is None else f"{images:,.0f}{more}"
                )
            least, against = BARS[method]
            theirs = [ratios[p] for p in PEERS if p in ratios]
            reached = min(theirs, default=None) if against == "best peer" else ratios.get(against)
            said = "not measured" if reached is None else "pass" if reached >= least else "**fail**"
            yield f"| `{method}` | {' | '.join(cells)} | {least:g}x {against} | {said} |"

    def options(self) -> Iterator[str]:
        """Yield a table of what torch offers; ratios are to the eager loop."""
        memory = any("peak_mb" in r for r in self.records)
        more = " MB |" if memory else ""
        yield f"| method | loop | eager, images/s | {' | '.join(FAST)} |{more}"
        yield "|---" * (len(FAST) + 3 + memory) + "|"
        for method in ALONE:
            for who in OPTIONS:
                ratios = [self.ratio(method, (who, fast), (who, PLAIN)) for fast in FAST]
                if (images := self.images(method, who)) is None:
                    continue
                said = ["" if r is None else f"{r:.2f}x" for r in ratios]
                line = f"| `{method}` | {who} | {images:,.0f} | {' | '.join(said)} |"
                if memory:
                    peaks = [
                        f"{setting} {max(r['peak_mb'] for r in records):.0f}"
                        for setting in (PLAIN, *FAST)
                        if (records := self.of(method, who, setting).values())
                    ]
                    line += f" {', '.join(peaks)} |"
                yield line
