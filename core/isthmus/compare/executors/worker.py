"""What happens inside a worker process, whoever started it."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from isthmus.compare.bench import Bench, Setup
from isthmus.compare.cell import Cell
from isthmus.compare.executors import Job

_benches: dict[str, Bench] = {}  # by the study they are of: a worker keeps its data in memory


def prepare(threads: int, memory: float | None, parent: int | None = None) -> None:
    """Bound the threads and the memory (GB) of this process, and let it die with its parent."""
    set_threads(threads)
    if memory is not None:
        size = int(memory * 1e9)
        resource.setrlimit(
            resource.RLIMIT_DATA, (size, resource.getrlimit(resource.RLIMIT_DATA)[1])
        )
    with suppress(OSError):  # when memory runs out, the kernel shall take a worker
        Path("/proc/self/oom_score_adj").write_text("900")
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def work(setup: Setup, job: Job) -> Cell:
    """Run a job; the data must be those that its key was made of."""
    bench = _benches.get(name := repr(setup))
    if bench is None:
        _benches.clear()
        bench = _benches[name] = Bench.open(setup)
    found = bench.blank(job.task, job.seed, job.strategy)
    if found.key != job.blank.key:
        return replace(
            job.blank,
            status="failed",
            reason=f"the worker reads other data or has other versions than the study's: "
            f"{found.reason or 'its cell has another key'}",
        )
    return bench.run(found, job.task, job.seed, job.strategy)[0]


def set_threads(threads: int) -> Any:
    """Give BLAS, OpenMP and torch so many threads; return threadpoolctl's limits."""
    import scipy.linalg  # noqa: F401  # limits reach the libraries that are loaded, and no others
    import sklearn.utils  # noqa: F401
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    return threadpool_limits(threads)


@contextmanager
def threads_of_children(threads: int) -> Iterator[None]:
    """Let the processes that are started in a block load their libraries with so many threads."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


@contextmanager
def limit_threads(threads: int) -> Iterator[None]:
    """Set the number of threads for the length of a block."""
    import torch

    before = torch.get_num_threads()
    limits = set_threads(threads)
    try:
        yield
    finally:
        limits.restore_original_limits()
        torch.set_num_threads(before)


def _follow(parent: int) -> None:
    """End this process when its parent is gone: a killed study leaves nobody at work."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
