"""The child's end of a measurement of training: steps in blocks, one block per word of the parent.

    PYTHON trainer.py LIBRARY METHOD SETTING DATA BLOCK SIZE DEVICE

Trains on the arrays in DATA, warms up, says {} and waits; for every line that it reads it does
BLOCK steps and answers their seconds, until its input ends. What goes wrong is an answer too.
Runs in the peer's environment: needs torch, NumPy and the library, not isthmus.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
import warnings
from pathlib import Path

import numpy as np
import torch
from libraries.parts import Enough, Meter

WARM = 60


def main(
    library: str, method: str, setting: str, path: str, block: str, size: str, device: str
) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer

    def tell(**said: object) -> None:
        print(json.dumps(said), file=answers, flush=True)

    def turn(seconds: float | None) -> bool:
        more = {"peak_mb": torch.cuda.max_memory_allocated() / 2**20} if cuda else {}
        tell(**{} if seconds is None else {"seconds": seconds, **more})
        return bool(sys.stdin.readline())

    cuda = device != "cpu"
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    try:
        call, options = importlib.import_module(f"libraries.deep_{library}").METHODS[method][
            setting
        ]
        with np.load(path) as archive:
            data = dict(archive)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call(data, Meter(int(block), WARM, turn, cuda), int(size), device, **options)
    except Enough:
        return
    except Exception as error:
        traceback.print_exc()
        last = traceback.extract_tb(error.__traceback__)[-1]
        reason = str(error).strip().split("\n")[0]
        where = f"{Path(last.filename).name}:{last.lineno}"
        tell(reason=f"{type(error).__name__}: {reason} ({where})")


if __name__ == "__main__":
    main(*sys.argv[1:])
