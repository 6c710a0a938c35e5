"""Our shallow and transport methods beside skada, ADAPT and POT, on the same arrays in one run.

    python benchmarks/peers/alignment.py [speed] [accuracy] [scale] [--data ROOT] [--readme]

Without a part: all of them. Peers are installed in environments of their own under ``--out``.
What has been measured is kept in ``records.jsonl`` there and not measured again, so a run that was
stopped goes on; ``--fresh`` starts anew. Prints tables; ``--readme`` puts them into README.md.
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Any

import accuracy
import scale
import speed
from data import SETS
from measure import HERE, Ledger, workers

PARTS: dict[str, Any] = {"speed": speed, "accuracy": accuracy, "scale": scale}


def main(given: dict[str, Any] = PARTS, kind: str = "from", kept: str = "records.jsonl") -> None:
    """Run the parts that the command line names; ``kind`` of methods, ``kept`` their records."""
    parser = argparse.ArgumentParser(description="Our methods beside those of other libraries.")
    parser.add_argument("parts", nargs="*", choices=[*given, []], help="default: all")
    parser.add_argument("--data", type=Path, default=os.environ.get("ISTHMUS_DATA"))
    parser.add_argument("--out", type=Path, default=Path("runs/peers"))
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--limit", type=float, default=60, help="seconds per cell")
    parser.add_argument("--repeats", type=int, default=3, help="of a speed cell, by turns")
    parser.add_argument("--sets", nargs="*", choices=list(SETS), help="of the part accuracy")
    parser.add_argument("--ring", action="store_true", help="accuracy: each domain to the next")
    parser.add_argument("--fresh", action="store_true", help="forget earlier measurements")
    parser.add_argument("--report", action="store_true", help="print only what is there")
    parser.add_argument("--readme", action="store_true", help="put the tables into README.md")
    options = parser.parse_args()
    parts = options.parts or list(given)
    if "accuracy" in parts and not options.data:
        parser.error("accuracy needs --data or ISTHMUS_DATA: the folder of data sets")
    options.out = options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.fresh:
        (options.out / kept).unlink(missing_ok=True)
    ledger = Ledger(options.out / kept)
    for name in parts:
        part = given[name]
        if not options.report:
            with workers(part.LIBRARIES, options.out, options.threads, kind) as started:
                part.run(ledger, started, options)
        text = "\n".join(part.tables(ledger, options))
        print(f"\n## {name}\n\n{text}")
        if options.readme:
            place(name, text)


def place(name: str, text: str) -> None:
    """Put a part's tables between its marks in README.md."""
    page = HERE / "README.md"
    marks = f"<!-- {name} -->", f"<!-- end of {name} -->"
    pattern = re.compile(f"{marks[0]}.*?{marks[1]}", re.DOTALL)
    body = f"{marks[0]}\n{text}\n{marks[1]}"
    page.write_text(pattern.sub(lambda _: body, page.read_text()))


if __name__ == "__main__":
    main()
