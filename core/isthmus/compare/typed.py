"""TOML values as dataclasses: every key known, every value of its field's type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from isthmus.errors import BadInput, nearest

T = TypeVar("T")


def tables(body: Mapping[str, Any], key: str, where: str) -> Sequence[Mapping[str, Any]]:
    """Return the tables of ``[[key]]``."""
    found = body.get(key, ())
    if not fits(found, tuple[Mapping[str, Any], ...]):
        raise BadInput(f"{where}: expected one [[{key}]] or more, in double brackets")
    return found  # type: ignore[no-any-return]


def fill(cls: type[T], given: Mapping[str, Any], where: str) -> T:
    """Build a dataclass; a key or value that it does not have is refused in one sentence."""
    hints = get_type_hints(cls)
    for key, value in given.items():
        if key not in hints:
            raise BadInput(f"{where} has no key {key!r}", hint=nearest(key, hints))
        if not fits(value, hints[key]):
            raise BadInput(f"{where}: {key} = {value!r}, expected {_spelt(hints[key])}")
    try:
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})
    except TypeError as error:
        raise BadInput(f"{where}: {error}") from error


def fits(value: Any, hint: Any) -> bool:
    """Whether a TOML value is what a field is typed as; a whole number is a number too."""
    if get_origin(hint) is UnionType:
        return any(fits(value, option) for option in get_args(hint))
    if get_origin(hint) is tuple:
        return isinstance(value, list | tuple) and all(fits(v, get_args(hint)[0]) for v in value)
    if hint is float:
        return type(value) in (int, float)
    if hint in (bool, int):
        return type(value) is hint
    return isinstance(value, get_origin(hint) or hint)


def _spelt(hint: Any) -> str:
    if get_origin(hint) is UnionType:
        return " or ".join(_spelt(h) for h in get_args(hint) if h is not NoneType)
    if get_origin(hint) is tuple:
        return f"a list, each {_spelt(get_args(hint)[0])}"
    spelt = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
    return spelt.get(hint, "a table")
