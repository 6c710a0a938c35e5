"""The fields of recipes: their types, which recipes fit them, and how the command line says so."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args, get_origin

T = TypeVar("T")
PLAIN = (bool, int, float, str)


def choices(base: type[T]) -> dict[str, Callable[[], T]]:
    """Return what makes each recipe of a type, by slug, as the command line writes them.

    These are the concrete subclasses, and what ``base.shorthands()`` adds to them.
    """
    found: dict[str, Callable[[], T]] = {}
    if "shorthands" in vars(base):
        found.update(vars(base)["shorthands"].__get__(None, base)())
    found.update(_concrete(base))
    return dict(sorted(found.items()))


def _concrete(base: type[T]) -> dict[str, Callable[[], T]]:
    found: dict[str, Callable[[], T]] = {}
    for cls in base.__subclasses__():
        found.update(_concrete(cls))
        if dataclasses.is_dataclass(cls) and not inspect.isabstract(cls):
            found[slug(cls)] = cls
    return found


def plain_slug(value: Any) -> str:
    return str(value).lower().replace("-", "").replace("_", "")


def hints_of(cls: type) -> dict[str, Any]:
    """Return the type of each field."""
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}


def recipe_type(hint: Any) -> type[Any] | None:
    """Return the class in ``Learner`` or ``Learner | None``."""
    for option in get_args(hint) or (hint,):
        if inspect.isclass(option) and option not in (*PLAIN, type(None), tuple):
            return option
    return None


def spell(hint: Any) -> str:
    """Return a type as the command line shows it."""
    if get_origin(hint) is Literal:
        return " | ".join(map(str, get_args(hint)))
    if get_origin(hint) in (types.UnionType, typing.Union):
        return " | ".join(spell(a) for a in get_args(hint))
    if get_origin(hint) is tuple:
        items = get_args(hint)
        return ",".join("..." if a is Ellipsis else spell(a) for a in items)
    if hint is type(None):
        return "none"
    if not inspect.isclass(hint) or hint in PLAIN:
        return getattr(hint, "__name__", str(hint))
    return " | ".join(choices(hint)) or hint.__name__


def slug(cls: type) -> str:
    return cls.__name__.lower()
