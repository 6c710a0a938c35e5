"""Graph convolution equals the dense matrices of the paper, forwards and backwards."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from isthmus import BadInput, Graph, Relation, Schema
from isthmus.learners import GCN
from isthmus.learners.graphs import Convolution, GraphEncoder, normalisation, propagate

RNG = np.random.default_rng(0)
N, D = 12, 5
PAIRS = RNG.integers(0, 9, (2, 20))  # nodes 9 to 11 are isolated, others are targets many times
GRAPH = Graph(RNG.normal(size=(N, D)).astype(np.float32), (Relation(index=PAIRS),))
X, EDGES = torch.from_numpy(GRAPH.features), torch.from_numpy(GRAPH.edges())


def adjacency():
    """D^-1/2 (A + I) D^-1/2, float64, from the pairs themselves."""
    a = np.zeros((N, N))
    for i, j in PAIRS.T:
        if i != j:
            a[i, j] = a[j, i] = 1
    a += np.eye(N)
    r = a.sum(1) ** -0.5
    return torch.tensor(r[:, None] * a * r[None, :])


def test_the_graph_of_the_test_has_what_it_should():
    degree = np.bincount(EDGES[1], minlength=N)
    assert (degree[9:] == 0).all()
    assert degree.max() > 3


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_propagation_is_a_power_of_the_matrix(steps):
    found = propagate(X, EDGES, normalisation(N, EDGES), steps)
    expected = torch.linalg.matrix_power(adjacency(), steps) @ X.double()
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=1e-5)


def as_csr(x):
    m = sparse.csr_matrix(x)
    parts = (torch.from_numpy(a.astype(t)) for a, t in [(m.indptr, "i8"), (m.indices, "i8")])
    return torch.sparse_csr_tensor(*parts, torch.from_numpy(m.data), m.shape, check_invariants=True)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("form", ["dense", "csr"])
@pytest.mark.parametrize("steps", [1, 2])
def test_a_convolution_and_its_gradients_are_the_dense_ones(form, steps):
    torch.manual_seed(0)
    layer, goal = Convolution(D, 4), torch.randn(N, 4)
    x = X.clone().requires_grad_(form == "dense")
    z = layer(as_csr(X.numpy()) if form == "csr" else x, EDGES, normalisation(N, EDGES), steps)
    (z * goal).sum().backward()
    w = layer.linear.weight.detach().double().requires_grad_()
    b = layer.linear.bias.detach().double().requires_grad_()
    x2 = X.double().requires_grad_()
    expected = torch.linalg.matrix_power(adjacency(), steps) @ x2 @ w.T + b
    (expected * goal).sum().backward()
    pairs = [(z, expected), (layer.linear.weight.grad, w.grad), (layer.linear.bias.grad, b.grad)]
    if form == "dense":
        pairs.append((x.grad, x2.grad))
    for found, wanted in pairs:
        torch.testing.assert_close(found.double(), wanted, atol=1e-5, rtol=1e-5)


def test_two_layers_are_the_network_of_the_paper():
    """softmax(P relu(P X W0) W1), with the head as the second layer."""
    torch.manual_seed(0)
    encoder, width = GCN(width=7, dropout=0.0).encoder(
        Schema(kind="graph", shape=(D,)), pretrained=True
    )
    head = torch.nn.Linear(width, 3)
    found = head(encoder(X, EDGES))
    p = adjacency().float()
    layer = encoder.layers[0].linear
    expected = p @ (p @ X @ layer.weight.T + layer.bias).relu() @ head.weight.T + head.bias
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_nodes_may_be_numbered_anyhow():
    torch.manual_seed(0)
    encoder = GraphEncoder(D, 7, 2, 1, 0.5).eval()
    order = RNG.permutation(N)
    other = GRAPH[order]
    found = encoder(torch.from_numpy(other.features), torch.from_numpy(other.edges()))
    torch.testing.assert_close(found, encoder(X, EDGES)[torch.from_numpy(order)])


def test_a_graph_without_edges_is_a_table():
    torch.manual_seed(0)
    encoder, none = GraphEncoder(D, 7, 1, 3, 0.0), torch.zeros((2, 0), dtype=torch.int64)
    layer = encoder.layers[0].linear
    torch.testing.assert_close(encoder(X, none), layer(X).relu())


@pytest.mark.parametrize("given", [{"dropout": 1.0}, {"width": 0}, {"layers": 0}, {"steps": -1}])
def test_impossible_sizes_are_refused(given):
    with pytest.raises(BadInput):
        GCN(**given)
