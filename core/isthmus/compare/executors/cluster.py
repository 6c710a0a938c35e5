"""A Ray cluster: the machines that it has, and the cells go where a worker is free."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from isthmus.compare.bench import Bench, Setup
from isthmus.compare.cell import Cell
from isthmus.compare.executors import Job
from isthmus.compare.executors.worker import prepare, work
from isthmus.errors import ProviderUnavailable

LOOK = 0.5  # seconds between two looks at what runs too long
GRACE = 30.0  # seconds in which the cluster ends a cell that was stopped; it may never say so
AHEAD = 2  # cells handed to the cluster for each that it can run: none waits for the next


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Every machine must have isthmus, the study's plugins and its data under the same paths.

    ``address`` is that of a running cluster; without one, Ray starts on this machine for the study.
    A cell is never tried twice by itself: a lost worker is its record, and the next run tries it.
    """

    address: str | None = None

    def __str__(self) -> str:
        return "a Ray cluster" + (f" at {self.address}" if self.address else "")

    def run(self, jobs: Iterator[Job], bench: Bench) -> Iterator[tuple[Job, Cell, None]]:
        import ray

        here = not ray.is_initialized()
        if here:
            try:
                ray.init(address=self.address, log_to_driver=False, include_dashboard=False)
            except (ConnectionError, RuntimeError) as error:
                raise ProviderUnavailable(f"no Ray cluster at {self.address}: {error}") from error
        try:
            yield from _run(ray, jobs, bench.setup)
        finally:
            if here:
                ray.shutdown()


def _run(ray: Any, jobs: Iterator[Job], setup: Setup) -> Iterator[tuple[Job, Cell, None]]:
    study, on_gpu = setup.study, setup.device.startswith("cuda")
    remote = ray.remote(_begin_and_work).options(
        num_cpus=study.threads, num_gpus=int(on_gpu), max_retries=0, num_returns="streaming"
    )
    shared, timeout = ray.put(setup), study.timeout
    busy: dict[Any, Job] = {}
    began: dict[Any, float] = {}  # a cell's time counts from when a worker has it
    late: dict[Any, float] = {}  # those that were told to stop, and when
    more = True
    while busy or more:
        while more and len(busy) < AHEAD * _slots(ray, study.threads, on_gpu):
            job = next(jobs, None)
            if job is None:
                more = False
            else:
                busy[remote.remote(shared, job)] = job
        ready, _ = ray.wait(list(busy), timeout=LOOK) if busy else ([], [])
        for stream in ready:
            cell = _next(ray, stream, busy[stream], timeout, stream in late)
            if cell is None:
                began[stream] = time.monotonic()
            else:
                yield busy.pop(stream), cell, None
                began.pop(stream, None)
        now = time.monotonic()
        for stream, start in list(began.items()):
            if timeout is not None and now - start > timeout and stream not in late:
                late[stream] = now
                ray.cancel(stream, force=True)
            elif now - late.get(stream, now) > GRACE:
                del began[stream]
                job = busy.pop(stream)
                yield job, job.timed_out(timeout), None


def _begin_and_work(setup: Setup, job: Job) -> Iterator[Cell | None]:
    """Say that a worker has the cell, then give the cell."""
    prepare(setup.study.threads, setup.study.memory)
    yield None
    yield work(setup, job)


def _slots(ray: Any, threads: int, on_gpu: bool) -> int:
    """Return how many cells the machines of the cluster can run at once; they come and go."""
    has = ray.cluster_resources()
    slots = int(has.get("CPU", 0)) // threads
    return max(1, min(slots, int(has.get("GPU", 0))) if on_gpu else slots)


def _next(ray: Any, stream: Any, job: Job, timeout: float | None, late: bool) -> Cell | None:
    """Return the cell, the record of how it was lost, or None when it has only begun."""
    try:
        cell: Cell | None = ray.get(next(stream))
        return cell
    except Exception as error:
        if late:
            return job.timed_out(timeout)
        if isinstance(error, ray.exceptions.RayTaskError):
            reason = str(error.cause)
        else:
            first = str(error).strip().partition("\n")[0]
            reason = f"the worker died: {type(error).__name__}: {first}"
        return replace(job.blank, status="failed", reason=reason)
