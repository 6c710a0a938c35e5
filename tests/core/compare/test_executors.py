"""Cells run anywhere with the same result, and a worker that is lost costs its cell alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from isthmus.compare.bench import Bench, Setup
from isthmus.compare.executors import Job, cluster
from isthmus.compare.executors.cluster import Cluster
from isthmus.compare.executors.processes import Processes, epitaph
from isthmus.compare.executors.serial import Serial
from isthmus.compare.executors.worker import work
from isthmus.compare.runner import run_study
from isthmus.compare.store import Store
from isthmus.compare.study import parse_study

PLUGIN = Path(__file__).with_name("misbehaving.py")
DIGITS = {"source": "digits:upright#as=table", "target": "digits:blurred#as=table", "name": "t"}
BODY = {
    "name": "executors",
    "plugins": [str(PLUGIN)],
    "seeds": [0, 1],
    "timeout": 6,
    "memory": 6,
    "validators": ["information-maximisation", "importance-weighted-risk"],
    "task": [DIGITS, {**DIGITS, "name": "u", "target": "digits:noisy#as=table"}],
    "strategy": [
        {"name": "source-only"},
        {"name": "coral", "grid": {"shrinkage": [0.1, 1.0]}},
        {"name": "dies", "tasks": ["t"]},
        {"name": "hangs", "tasks": ["t"]},
        {"name": "hungry", "tasks": ["t"]},
        {"name": "a2gnn"},
        {"name": "mcc", "set": {"training.steps": 3}, "tasks": ["u"]},
    ],
}
ANYWHERE = [s for s in BODY["strategy"] if s["name"] not in ("dies", "hangs", "hungry")]


def run(executor, folder=None, **change):
    study = parse_study({**BODY, **change}, "here")
    bench = Bench.open(Setup(study=study, third_party=False))
    store = None if folder is None else Store(folder)
    outcomes = run_study(bench, executor=executor, store=store)
    return [o.cell for o in sorted(outcomes, key=lambda o: o.number)]


def lasting(cell):
    """What two runs of a cell must agree in."""
    return replace(cell, seconds=0.0, peak_mb=0.0)


@pytest.fixture(scope="module")
def here():
    return run(Serial(), strategy=ANYWHERE)


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    return run(Processes(jobs=2), tmp_path_factory.mktemp("cells"))


def test_two_processes_give_what_one_process_gives(here, processes):
    sound = [c for c in processes if c.family != "misbehaving"]
    assert [lasting(c) for c in sound] == [lasting(c) for c in here]
    assert sum(c.status == "ok" for c in sound) == 14


def test_a_worker_that_dies_hangs_or_is_out_of_memory_costs_its_cell(processes):
    lost = {(c.method, c.seed): c for c in processes if c.family == "misbehaving"}
    assert len(lost) == 6
    for seed in (0, 1):
        assert lost["dies", seed].status == "failed"
        assert "SIGKILL" in lost["dies", seed].reason
        assert lost["hangs", seed].status == "timeout"
        assert "6 s" in lost["hangs", seed].reason
        assert lost["hungry", seed].status == "failed"
        assert "Unable to allocate" in lost["hungry", seed].reason
    assert all(c.key for c in lost.values())


def test_devices_are_dealt_out_to_the_workers(monkeypatch):
    import pebble

    seen = []

    class Pool:
        def __init__(self, **options):
            assert options["max_workers"] == 1
            assert options["context"].get_start_method() == "spawn"

        def schedule(self, function, args, timeout):
            from concurrent.futures import Future

            seen.append(args[0].device)
            future = Future()
            future.set_result(args[1].blank)
            return future

        def stop(self):
            pass

        join = stop

    monkeypatch.setattr(pebble, "ProcessPool", Pool)
    run(Processes(jobs=2, devices=("cuda:0", "cuda:1")), strategy=ANYWHERE)
    assert set(seen) == {"cuda:0", "cuda:1"}


def test_a_cell_of_which_the_cluster_never_tells_again_is_given_up(monkeypatch):
    """It began on a machine that is gone, and nobody answers when it is told to stop."""
    study = parse_study({**BODY, "timeout": 0.1}, "here")
    bench = Bench.open(Setup(study=study, third_party=False))
    jobs = [
        Job(number=n, task=task, seed=seed, strategy=spec, blank=bench.blank(task, seed, spec))
        for n, (task, seed, spec) in zip(range(2), study.cells(), strict=False)
    ]
    silent, sound = [None], [None, replace(jobs[1].blank, status="ok")]

    class Ray:
        stopped: ClassVar = []
        streams = dict(enumerate([silent, sound]))

        def remote(self, _):
            return self

        def options(self, **_):
            return SimpleNamespace(remote=lambda _, job: iter(self.streams[job.number]))

        def wait(self, busy, timeout):
            time.sleep(0.01)
            return [s for s in busy if s.__length_hint__()], []

        def cancel(self, stream, force):
            self.stopped.append(stream)

        def cluster_resources(self):
            return {"CPU": 2}

        put = get = staticmethod(lambda x: x)

    monkeypatch.setattr(cluster, "GRACE", 0.1)
    cells = [cell for _, cell, _ in cluster._run(Ray(), iter(jobs), bench.setup)]
    assert [(c.status, c.seed) for c in cells] == [("ok", jobs[1].seed), ("timeout", jobs[0].seed)]
    assert "0.1 s" in cells[1].reason
    assert len(Ray.stopped) == 1


def test_a_worker_refuses_data_that_are_not_those_of_the_study():
    study = parse_study(BODY, "here")
    setup = Setup(study=study, third_party=False)
    bench = Bench.open(setup)
    task, seed, spec = next(study.cells())
    blank = replace(bench.blank(task, seed, spec), key="0" * 64)
    cell = work(setup, Job(number=0, task=task, seed=seed, strategy=spec, blank=blank))
    assert cell.status == "failed"
    assert "other data" in cell.reason


def test_how_a_process_died_is_told():
    assert epitaph(-9).endswith("memory ran out")
    assert epitaph(-11).endswith("SIGSEGV")
    assert "code 3" in epitaph(3)


def test_a_killed_study_continues_and_leaves_nobody_at_work(tmp_path):
    """The real command, killed in the middle: what was done is not done again."""
    log = tmp_path / "log"
    steps = ", ".join(f"{i}.0" for i in range(8))
    (tmp_path / "study.toml").write_text(
        f'plugins = ["{PLUGIN}"]\nseeds = [0, 1]\n'
        f'[[task]]\nsource = "{DIGITS["source"]}"\ntarget = "{DIGITS["target"]}"\n'
        '[[strategy]]\nname = "source-only"\n'
        f'[[strategy]]\nname = "sound"\nset = {{ log = "{log}", wait = 0.4 }}\n'
        f"grid = {{ step = [{steps}] }}\n"
    )
    out = tmp_path / "out"
    command = [sys.executable, "-m", "isthmus", "compare", str(tmp_path / "study.toml")]
    command += ["--out", str(out), "--jobs", "2", "--quiet"]
    began = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    until = time.monotonic() + 120
    while len(list((out / "cells").glob("*.json"))) < 6 and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(began.pid, signal.SIGKILL)
    began.wait()
    kept = {p.name: p.read_bytes() for p in (out / "cells").glob("*.json")}
    assert 6 <= len(kept) < 18
    assert gone(began.pid, within=60)  # the workers notice that they are alone
    before = log.read_text().splitlines()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = log.read_text().splitlines()[len(before) :]
    now = {p.name: p.read_bytes() for p in (out / "cells").glob("*.json")}
    assert len(now) == 18
    assert all(now[name] == body for name, body in kept.items())
    assert len(after) == 16 - sum(b'"method": "sound"' in body for body in kept.values())
    assert len(set(after)) == len(after)


def gone(group, within):
    """Say whether a process group ends within so many seconds."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """A Ray cluster of a head and two workers, each a set of processes of its own."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster as Nodes

    memory = 100 * 2**20
    made = Nodes(
        initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": memory}
    )
    made.add_node(num_cpus=1, object_store_memory=memory)
    yield made
    made.shutdown()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_ray_cluster_gives_what_this_process_gives(here, nodes, tmp_path):
    """Also when a machine is lost in the middle: its cells fail, and the next run has them."""
    strategies = [*ANYWHERE, {"name": "dies", "tasks": ["t"]}, {"name": "hangs", "tasks": ["t"]}]
    on_ray = Cluster(address=nodes.address)
    study = parse_study({**BODY, "strategy": strategies}, "here")
    bench = Bench.open(Setup(study=study, third_party=False))
    extra = nodes.add_node(num_cpus=2, object_store_memory=100 * 2**20)
    first = []
    for outcome in run_study(bench, executor=on_ray, store=Store(tmp_path)):
        first.append(outcome.cell)
        if len(first) == 3:
            nodes.remove_node(extra, allow_graceful=False)
    assert len(first) == 22
    again = run(on_ray, tmp_path, strategy=strategies)
    sound = [c for c in again if c.family != "misbehaving"]
    assert [lasting(c) for c in sound] == [lasting(c) for c in here]
    lost = {c.method: c for c in again if c.family == "misbehaving"}
    assert "worker died" in lost["dies"].reason
    assert lost["hangs"].status == "timeout"
