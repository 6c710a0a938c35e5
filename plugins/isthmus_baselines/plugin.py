"""Entry point of the baselines."""

from __future__ import annotations

from isthmus import Strategy, hookimpl


@hookimpl
def isthmus_strategies() -> list[type[Strategy]]:
    from isthmus_baselines.source_only import SourceOnly
    from isthmus_baselines.target_only import TargetOnly

    return [SourceOnly, TargetOnly]
