"""Processes of this machine, started anew (spawn): a fork after OpenMP has run deadlocks."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from typing import Any

from isthmus.compare.bench import Bench
from isthmus.compare.cell import Cell
from isthmus.compare.executors import Job
from isthmus.compare.executors.worker import prepare, threads_of_children, work


@dataclass(frozen=True, kw_only=True)
class Processes:
    """``jobs`` workers; with several ``devices`` they are dealt out, one process for each.

    Every worker is a pool of its own, so that one that dies, hangs or is out of memory takes its
    cell along and nothing else.
    """

    jobs: int = 1
    devices: tuple[str, ...] = ()

    def __str__(self) -> str:
        on = f" on {', '.join(self.devices)}" if self.devices else ""
        return f"{self.jobs} process{'es' if self.jobs > 1 else ''}{on}"

    def run(self, jobs: Iterator[Job], bench: Bench) -> Iterator[tuple[Job, Cell, None]]:
        from pebble import ProcessPool

        study = bench.setup.study
        devices = self.devices or (bench.setup.device,)
        context: Any = multiprocessing.get_context("spawn")
        started = (study.threads, study.memory, os.getpid())
        pools = [
            ProcessPool(max_workers=1, initializer=prepare, initargs=started, context=context)
            for _ in range(self.jobs)
        ]
        setups = [replace(bench.setup, device=devices[i % len(devices)]) for i in range(self.jobs)]
        free, busy = list(range(self.jobs)), dict[Future[Cell], tuple[Job, int]]()
        try:
            with threads_of_children(study.threads):
                while True:
                    while free and (job := next(jobs, None)) is not None:
                        i = free.pop(0)
                        future: Future[Cell] = pools[i].schedule(
                            work, args=[setups[i], job], timeout=study.timeout
                        )
                        busy[future] = job, i
                    if not busy:
                        break
                    for future in wait(busy, return_when=FIRST_COMPLETED).done:
                        job, i = busy.pop(future)
                        free.append(i)
                        yield job, _outcome(future, job, study.timeout), None
        finally:
            for pool in pools:
                pool.stop()  # type: ignore[no-untyped-call]
            for pool in pools:
                pool.join()


def _outcome(future: Future[Cell], job: Job, timeout: float | None) -> Cell:
    """Return the worker's answer, or the record of how it was lost."""
    from pebble import ProcessExpired

    try:
        return future.result()
    except TimeoutError:
        return job.timed_out(timeout)
    except ProcessExpired as error:
        return replace(job.blank, status="failed", reason=epitaph(error.exitcode))
    except Exception as error:
        return replace(job.blank, status="failed", reason=f"{type(error).__name__}: {error}")


def epitaph(code: int | None) -> str:
    """Say how a process died."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        more = ", perhaps because memory ran out" if name == "SIGKILL" else ""
        return f"the worker died: killed by {name}{more}"
    return f"the worker died with exit code {code}"
