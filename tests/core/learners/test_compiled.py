"""A compiled encoder trains to the same weights, and only for as long as it is trained."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch._inductor.config

from isthmus import BadInput, Run
from isthmus.errors import ProviderUnavailable
from isthmus.learners import MLP, Training, compiled
from isthmus.testing.domains import MAKERS
from isthmus_alignment.deep.dann import DANN
from isthmus_relational.graph.graph_dann import GraphDANN

TABLE = DANN(network=MLP(widths=(8,)), training=Training(steps=20, batch_size=16))
compiler = pytest.mark.skipif(not shutil.which("g++"), reason="compiling needs a C++ compiler")


@pytest.fixture
def calls(monkeypatch):
    """Count the graphs that are compiled, by a backend that runs them as they are."""
    found = []

    def backend(graph, inputs):
        found.append(graph)
        return graph.forward

    monkeypatch.setattr(compiled, "BACKEND", backend)
    torch.compiler.reset()
    yield found
    torch.compiler.reset()


def adapted(strategy, kind, **given):
    task, heldout = MAKERS[kind](0)
    model = strategy.adapt(task, Run(**given))
    return model, model.predict(heldout.x)


@compiler
def test_a_compiled_network_is_the_eager_one_to_rounding():
    torch.compiler.reset()
    (_, fast), (_, eager) = (adapted(TABLE, "table", compile=c) for c in (True, False))
    np.testing.assert_allclose(fast, eager, atol=1e-5)


def test_the_encoder_is_compiled_on_demand_and_eager_again_afterwards(calls):
    adapted(TABLE, "table")
    assert not calls
    model, _ = adapted(TABLE, "table", compile=True)
    count = len(calls)
    assert count
    task, _ = MAKERS["table"](0)
    model.part.train()(torch.as_tensor(task.source.x[:7]))
    assert len(calls) == count


def test_the_checkpoint_of_a_compiled_run_is_one_of_its_own(tmp_path):
    strategy = replace(TABLE, training=replace(TABLE.training, steps=2))
    adapted(strategy, "table", checkpoint=tmp_path)
    with pytest.raises(BadInput, match="written by other settings"):
        adapted(strategy, "table", checkpoint=tmp_path, compile=True)


def test_graphs_are_left_alone(calls):
    task, _ = MAKERS["graph"](0)
    GraphDANN(training=Training(steps=2)).adapt(task, Run(compile=True))
    assert not calls


def test_a_machine_that_cannot_compile_is_told(monkeypatch, tmp_path):
    torch.compiler.reset()
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("no-such-compiler",))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    with pytest.raises(ProviderUnavailable, match=r"cannot compile the network: .*C\+\+ compiler"):
        adapted(TABLE, "table", compile=True)
