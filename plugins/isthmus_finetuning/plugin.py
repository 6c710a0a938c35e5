"""Entry point of the fine-tuning family."""

from __future__ import annotations

from isthmus import Strategy, hookimpl


@hookimpl
def isthmus_strategies() -> list[type[Strategy]]:
    from isthmus_finetuning.fine_tune import FineTune
    from isthmus_finetuning.l2sp import L2SP

    return [FineTune, L2SP]
