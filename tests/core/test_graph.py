"""Relations and graphs: what is refused, and what a subgraph keeps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from isthmus import BadInput, Graph, Relation, rows

EDGES = np.array([[0, 1, 2, 3, 0, 1], [1, 2, 3, 3, 1, 0]])  # a loop, a repeat, a reversed repeat
FEATURES = np.arange(8, dtype=np.float32).reshape(4, 2)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"index": EDGES.T}, r"index has shape \(6, 2\), expected \(2, m\)"),
        ({"index": EDGES.astype(float)}, "must hold integers, got float64"),
        ({"index": EDGES, "weight": np.ones(2, np.float32)}, r"\(2,\) weights for 6 tuples"),
    ],
)
def test_relations_that_do_not_fit(settings, sentence):
    with pytest.raises(BadInput, match=sentence):
        Relation(**settings)


def test_a_relation_of_a_node_that_is_not_there():
    with pytest.raises(BadInput, match="names node 3, but there are 3"):
        Graph(FEATURES[:3], (Relation(index=EDGES),))


def test_edges_are_each_pair_once_in_both_directions():
    edges = Graph(FEATURES, (Relation(index=EDGES),)).edges()
    assert sorted(map(tuple, edges.T.tolist())) == [(0, 1), (1, 0), (1, 2), (2, 1), (2, 3), (3, 2)]
    directed = Graph(FEATURES, (Relation(index=EDGES[:, :3], directed=True),)).edges()
    assert directed.T.tolist() == [[0, 1], [1, 2], [2, 3]]
    assert Graph(FEATURES, ()).edges().shape == (2, 0)


@pytest.mark.parametrize("features", [FEATURES, sparse.csr_matrix(FEATURES)])
@pytest.mark.parametrize(
    "index", [np.array([3, 2, 0]), [3, 2, 0], np.array([True, False, True, True])]
)
def test_a_subgraph_keeps_the_edges_inside_it(features, index):
    weight = np.arange(6, dtype=np.float32)
    graph = Graph(features, (Relation(index=EDGES, weight=weight),))
    part = graph[index]
    kept = np.arange(4)[index]
    np.testing.assert_array_equal(rows.dense(part.features), FEATURES[kept])
    assert len(part) == rows.count(part) == 3
    inner = kept[part.relations[0].index].T.tolist()
    assert inner == [[2, 3], [3, 3]]
    assert part.relations[0].weight.tolist() == [2, 3]


def test_keys_see_the_neighbours():
    alike = np.ones((4, 2), np.float32)
    alike[0] = 2
    keys = Graph(alike, (Relation(index=np.array([[0, 2], [1, 3]])),)).row_keys()
    assert keys[2] == keys[3]
    assert keys[1] != keys[2]
