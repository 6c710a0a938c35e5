"""What a hyper-parameter may be, said in one sentence where it is not."""

from __future__ import annotations

import math
from collections.abc import Callable

from isthmus import BadInput, Strategy


def at_least_one(strategy: Strategy, *names: str) -> None:
    """Raise BadInput where a setting of these names is below 1."""
    _check(strategy, names, lambda value: value >= 1, "1 or more")


def above_zero(strategy: Strategy, *names: str) -> None:
    _check(strategy, names, lambda value: 0 < value < math.inf, "a number above 0")


def from_zero(strategy: Strategy, *names: str) -> None:
    _check(strategy, names, lambda value: 0 <= value < math.inf, "a number from 0")


def a_share_if_given(strategy: Strategy, name: str) -> None:
    """Raise BadInput where a setting is neither None nor in [0, 1]."""
    wanted = "a number from 0 to 1"
    _check(strategy, [name], lambda value: value is None or 0 <= value <= 1, wanted)


def _check(
    strategy: Strategy, names: tuple[str, ...] | list[str], fits: Callable[..., bool], wanted: str
) -> None:
    for name in names:
        if not fits(value := getattr(strategy, name)):
            raise BadInput(f"{strategy.name}: {name}={value}, expected {wanted}")
