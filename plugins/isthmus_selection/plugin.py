"""Entry point of the selection family."""

from __future__ import annotations

from isthmus import Strategy, hookimpl


@hookimpl
def isthmus_strategies() -> list[type[Strategy]]:
    from isthmus_selection.auto import Auto

    return [Auto]
