"""Reading the options of a domain URI, each mistake told in one sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence

from isthmus.dataset import Location
from isthmus.errors import BadInput, nearest


def choice(location: Location, key: str, allowed: Sequence[str], default: str) -> str:
    """Return the option ``key``, one of ``allowed``."""
    value = location.options.get(key, default)
    if value not in allowed and value != default:
        raise BadInput(
            f"{location.scheme}: {key}={value} is not one of {', '.join(allowed)}",
            hint=nearest(value, allowed),
        )
    return value


def whole(location: Location, key: str, default: int, minimum: int = 0) -> int:
    """Return the option ``key``, an integer of at least ``minimum``."""
    value = location.options.get(key)
    if value is None:
        return default
    if not value.isascii() or not value.isdigit() or int(value) < minimum:
        raise BadInput(
            f"{location.scheme}: {key}={value}, expected an integer of at least {minimum}"
        )
    return int(value)


def number(location: Location, key: str, default: float, low: float, high: float) -> float:
    """Return the option ``key``, a number strictly between ``low`` and ``high``."""
    value = location.options.get(key)
    if value is None:
        return default
    try:
        got = float(value)
    except ValueError:
        got = math.nan
    if not low < got < high:
        raise BadInput(
            f"{location.scheme}: {key}={value}, expected a number between {low:g} and {high:g}"
        )
    return got


def names(location: Location, key: str) -> list[str]:
    """Return the option ``key`` split at its commas; empty when it was not given."""
    return [n.strip() for n in location.options.get(key, "").split(",") if n.strip()]
