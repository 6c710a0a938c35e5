from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from isthmus import Graph, Labelled, Run, Task
from isthmus.artefact import TorchAdapted
from isthmus.learners.feed import Batch
from isthmus.learners.graphs import GCN, GraphEncoder
from isthmus.learners.loop import Training
from isthmus.learners.network import Network
from isthmus_alignment.deep.discrepancy import multi_kernel_mmd
from isthmus_relational.graph.a2gnn import A2GNN, AsymmetricPropagation

Nodes = Callable[..., Labelled]
SHORT = Training(steps=30, optimiser="adam", lr=0.01, schedule="constant")


def operator(graph: Graph) -> Any:
    """Return D^-1/2 (A + I) D^-1/2 of Kipf & Welling, dense and in double precision."""
    a = np.eye(len(graph))
    for i, j in graph.edges().T:
        a[i, j] = 1
    r = 1 / np.sqrt(a.sum(1))
    return r[:, None] * a * r


def network(domain: Labelled, **settings: Any) -> Network:
    torch.manual_seed(0)
    return Network(domain.schema, GCN(**settings), pretrained=False).eval()


def batch(domain: Labelled) -> Batch:
    x = torch.from_numpy(domain.x.features), torch.from_numpy(domain.x.edges())
    return Batch(x=x, y=torch.from_numpy(domain.y))


def linear(layer: Any) -> tuple[Any, Any]:
    return layer.weight.detach().double().numpy().T, layer.bias.detach().double().numpy()


@pytest.mark.parametrize("layers", [1, 2])
def test_without_propagation_the_encoder_is_a_perceptron(layers: int, nodes: Nodes) -> None:
    """The source's features see no neighbour."""
    domain = nodes(20, 0)
    net = network(domain, width=7, layers=layers, dropout=0.0)
    encoder = net.encoder
    assert isinstance(encoder, GraphEncoder)
    h = domain.x.features.astype(np.float64)
    for layer in encoder.layers:
        w, b = linear(layer.linear)
        h = np.maximum(h @ w + b, 0)
    got = encoder.hidden(*batch(domain).x, 0).detach().numpy()
    np.testing.assert_allclose(got, h, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 10])
def test_the_target_is_transformed_once_and_propagated_often(steps: int, nodes: Nodes) -> None:
    domain = nodes(20, 1)
    net = network(domain, width=7, layers=2, steps=steps, dropout=0.0)
    encoder = net.encoder
    assert isinstance(encoder, GraphEncoder)
    many = np.linalg.matrix_power(operator(domain.x), steps)
    h = domain.x.features.astype(np.float64)
    for layer in encoder.layers:
        w, b = linear(layer.linear)
        h = np.maximum(many @ h @ w + b, 0)
    np.testing.assert_allclose(
        encoder.hidden(*batch(domain).x, steps).detach().numpy(), h, atol=1e-5
    )
    w, b = linear(net.head)  # the classifier propagates once more
    z = operator(domain.x) @ h @ w + b
    p = np.exp(z - z.max(1, keepdims=True))
    wanted = p / p.sum(1, keepdims=True)
    got = TorchAdapted(part=net, schema=domain.schema).predict(domain.x)
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_the_losses_are_those_of_the_paper(nodes: Nodes) -> None:
    source, target = nodes(12, 0), nodes(30, 1, 0.5)
    net = network(source, width=7, steps=4, dropout=0.0)
    encoder = net.encoder
    assert isinstance(encoder, GraphEncoder)
    objective = AsymmetricPropagation(5.0, 2, 1000)
    torch.manual_seed(3)
    (step,) = objective(net, batch(source), batch(target), 0.0)
    h_s, h_t = encoder.hidden(*batch(source).x, 0), encoder.hidden(*batch(target).x, 4)
    w, b = linear(net.head)
    z = operator(source.x) @ h_s.detach().double().numpy() @ w + b
    chosen = (z - np.log(np.exp(z).sum(1, keepdims=True)))[np.arange(12), source.y]
    assert step.losses["task"].item() == pytest.approx(-chosen.mean(), rel=1e-5)
    torch.manual_seed(3)
    draws = [torch.randint(n, (n,)) for _ in range(2) for n in (12, 30)]
    gaps = [multi_kernel_mmd(h_s[i], h_t[j]) for i, j in (draws[:2], draws[2:])]
    wanted = 5.0 * torch.stack(gaps).mean()
    assert step.losses["mmd"].item() == pytest.approx(wanted.item(), rel=1e-5)


def test_equal_graphs_have_no_gap_where_nothing_propagates(nodes: Nodes) -> None:
    """With zero steps source and target are encoded alike; only the draws differ."""
    domain = nodes(300, 0)
    net = network(domain, width=7, steps=0, dropout=0.0)
    size = {}
    for steps in (0, 10):
        net.encoder.steps = steps  # type: ignore[assignment]
        torch.manual_seed(0)
        (step,) = AsymmetricPropagation(1.0, 20, 300)(net, batch(domain), batch(domain), 0.0)
        size[steps] = step.losses["mmd"].item()
    assert size[0] < 0.02
    assert size[10] > 5 * size[0]


def test_predictions_follow_their_nodes(nodes: Nodes) -> None:
    """Source, target and the graph to predict, each numbered anew."""
    source, target, heldout = nodes(60, 0), nodes(80, 1, 0.3), nodes(70, 2, 0.3)
    strategy = A2GNN(training=SHORT, width=16)
    p = strategy.adapt(Task(sources=(source,), target=target)).predict(heldout.x)
    rng = np.random.default_rng(5)
    a, b, c = (rng.permutation(n) for n in (60, 80, 70))
    moved = strategy.adapt(Task(sources=(source.take(a),), target=target.take(b)))
    np.testing.assert_allclose(moved.predict(heldout.x[c]), p[c], atol=1e-3)


def test_repeated_and_reversed_edges_count_once(nodes: Nodes) -> None:
    from isthmus import Relation

    domain = nodes(40, 0)
    edges = domain.x.relations[0].index
    twice = np.concatenate([edges, edges[::-1], [[3], [3]]], axis=1)
    net = network(domain, width=7, steps=3)
    adapted = TorchAdapted(part=net, schema=domain.schema)
    again = Graph(domain.x.features, (Relation(index=twice),))
    np.testing.assert_array_equal(adapted.predict(again), adapted.predict(domain.x))


def test_nodes_without_edges_are_survived(nodes: Nodes) -> None:
    source = nodes(40, 0)
    lonely = Graph(source.x.features, ())
    target = Labelled(name="lonely", schema=source.schema, x=lonely, y=source.y)
    p = A2GNN(training=SHORT, width=8).adapt(Task(sources=(source,), target=target)).predict(lonely)
    assert np.isfinite(p).all()


def test_propagation_helps_where_neighbours_share_a_label(nodes: Nodes) -> None:
    """With features this noisy the neighbours are what tells the classes apart."""
    rng = np.random.default_rng(0)

    def noisy(domain: Labelled) -> Labelled:
        x = domain.x.features + 1.5 * rng.normal(size=domain.x.features.shape)
        graph = Graph(x.astype(np.float32), domain.x.relations)
        return Labelled(name="noisy", schema=domain.schema, x=graph, y=domain.y)

    source, target = noisy(nodes(300, 0)), noisy(nodes(300, 1))
    task = Task(sources=(source,), target=target)
    training = Training(steps=100, optimiser="adam", lr=0.01, schedule="constant")

    def accuracy(steps: int) -> float:
        p = A2GNN(steps=steps, training=training, width=32).adapt(task, Run()).predict(target.x)
        return float((p.argmax(1) == target.y).mean())

    assert accuracy(2) > accuracy(0) + 0.05
