"""A run within a run keeps where and how it runs, and tells nobody."""

from __future__ import annotations

import dataclasses

from isthmus import Run


def test_a_silent_run_differs_in_its_ears_and_in_what_is_asked_for(tmp_path):
    heard = []
    ears = {
        "log": lambda step, values: heard.append(values),
        "say": heard.append,
        "progress": lambda stage, done, total: heard.append(stage),
        "watch": lambda network, step: heard.append(step),
    }
    run = Run(
        seed=3, device="cuda", precision="bf16", compile=True, budget=2.0, checkpoint=tmp_path,
        checkpoint_every=1.0, key="k", **ears,
    )  # fmt: skip
    inner = run.silent(budget=1.0, progress=run.progress)
    inner.log(0, {})
    inner.say("nothing")
    assert inner.watch is None
    assert not heard
    inner.progress("adapt", 1, 2)
    assert heard == ["adapt"]
    kept = {f.name for f in dataclasses.fields(Run)} - {*ears, "budget"}
    assert all(getattr(inner, name) == getattr(run, name) for name in kept)
    assert inner.budget == 1.0
