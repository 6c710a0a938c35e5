"""Our reweighting methods beside skada and ADAPT, on the same arrays in one run.

    python benchmarks/peers/reweighting.py [weighing] [weights-scale] [--readme]

Without a part: both. Environments and records are kept under ``--out``, as alignment.py does.
"""

from __future__ import annotations

import weighing
import weights_scale
from alignment import main

if __name__ == "__main__":
    main(
        {"weighing": weighing, "weights-scale": weights_scale}, kind="weights", kept="weights.jsonl"
    )
