"""Entry point of the relational family."""

from __future__ import annotations

from isthmus import Strategy, hookimpl


@hookimpl
def isthmus_strategies() -> list[type[Strategy]]:
    from isthmus_relational.graph.a2gnn import A2GNN
    from isthmus_relational.graph.graph_dann import GraphDANN

    return [A2GNN, GraphDANN]
