"""Settings in and out: a recipe as JSON, JSON as a recipe, and ``--set key=value``."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, Literal, TypeVar, get_args, get_origin

from isthmus.errors import BadInput, nearest

T = TypeVar("T")


def describe(recipe: Any) -> Any:
    """Return the JSON form of a recipe; nested recipes name their type."""
    if dataclasses.is_dataclass(recipe) and not isinstance(recipe, type):
        values = {f.name: describe(getattr(recipe, f.name)) for f in dataclasses.fields(recipe)}
        return {"type": reference(type(recipe)), **values}
    if isinstance(recipe, tuple | list):
        return [describe(v) for v in recipe]
    if recipe is None or isinstance(recipe, bool | int | float | str):
        return recipe
    raise BadInput(f"a setting must be a number, text or a recipe, got {type(recipe).__name__}")


def restore(value: Any, base: type[T]) -> T:
    """Rebuild a recipe written by ``describe``; it must be a ``base``."""
    if not isinstance(value, dict) or "type" not in value:
        raise BadInput(f"expected the settings of a {base.__name__}, got {value!r}")
    cls = resolve(value["type"], base)
    known = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    given = {}
    for key, v in value.items():
        if key == "type":
            continue
        if key not in known:
            raise BadInput(f"{cls.__name__} has no setting {key!r}", hint=nearest(key, known))
        if isinstance(v, dict):
            v = restore(v, _recipe_type(hints[key]) or object)
        given[key] = tuple(v) if isinstance(v, list) else v
    return cls(**given)


def reference(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def resolve(name: str, base: type[T]) -> type[T]:
    """Return the class called ``module:Name``; only from isthmus or an installed plugin."""
    module, _, attribute = str(name).partition(":")
    if module.partition(".")[0] not in _packages():
        raise BadInput(f"{name!r} belongs to no installed plugin", hint="isthmus plugins")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise BadInput(f"{name!r} is not installed here ({error})", hint="isthmus plugins") from error
    if not (inspect.isclass(found) and issubclass(found, base)):
        raise BadInput(f"{name!r} is not a {base.__name__}")
    return found


def configure(cls: type[T], settings: Mapping[str, Any]) -> T:
    """Build a recipe from texts such as ``{"training.steps": "500", "learner": "ridge"}``."""
    recipe = cls()
    for key in sorted(settings, key=lambda k: k.count(".")):  # learner before learner.width
        recipe = _assign(recipe, key.split("."), settings[key], key)
    return recipe


def parameters(recipe: Any, prefix: str = "") -> Iterator[dict[str, Any]]:
    """Yield name, type and default of each hyper-parameter, nested ones dotted."""
    hints = typing.get_type_hints(type(recipe))
    for f in dataclasses.fields(recipe):
        value = getattr(recipe, f.name)
        name = prefix + f.name
        if dataclasses.is_dataclass(value):
            if options := choices(_recipe_type(hints[f.name]) or type(value)):
                yield {"name": name, "type": " | ".join(options), "default": _slug(type(value))}
            yield from parameters(value, name + ".")
        else:
            yield {"name": name, "type": _spell(hints[f.name]), "default": describe(value)}


def choices(base: type[T]) -> dict[str, type[T]]:
    """Return the concrete subclasses of a recipe type by slug, as the command line writes them."""
    found: dict[str, type[T]] = {}
    for cls in base.__subclasses__():
        found.update(choices(cls))
        if dataclasses.is_dataclass(cls) and not inspect.isabstract(cls):
            found[_slug(cls)] = cls
    return dict(sorted(found.items()))


def _assign(recipe: Any, path: list[str], text: Any, key: str) -> Any:
    known = [f.name for f in dataclasses.fields(recipe)]
    if path[0] not in known:
        raise BadInput(f"{_slug(type(recipe))} has no setting {key!r}", hint=nearest(path[0], known))
    hint = typing.get_type_hints(type(recipe))[path[0]]
    if len(path) == 1:
        value = _parse(text, hint, key)
    else:
        inner = getattr(recipe, path[0])
        if not dataclasses.is_dataclass(inner):
            raise BadInput(f"{key!r}: {path[0]!r} is {inner!r}, which has no settings of its own")
        value = _assign(inner, path[1:], text, key)
    try:
        return dataclasses.replace(recipe, **{path[0]: value})
    except ValueError as error:
        raise BadInput(f"{key}={text}: {error}") from error


def _parse(text: Any, hint: Any, key: str) -> Any:
    if get_origin(hint) is Literal:
        if text in get_args(hint):
            return text
        raise BadInput(f"{key}={text}: expected one of {', '.join(map(str, get_args(hint)))}")
    if get_origin(hint) in (types.UnionType, typing.Union):
        options = [a for a in get_args(hint) if a is not type(None)]
        if type(None) in get_args(hint) and str(text).lower() in ("none", "null", ""):
            return None
        for option in options[:-1]:
            try:
                return _parse(text, option, key)
            except BadInput:
                continue
        return _parse(text, options[-1], key)
    if get_origin(hint) is tuple:
        items = text.split(",") if isinstance(text, str) else text
        return tuple(_parse(t, get_args(hint)[0], key) for t in items)
    if hint is bool:
        if str(text).lower() in ("true", "false"):
            return str(text).lower() == "true"
        raise BadInput(f"{key}={text}: expected true or false")
    if hint in (int, float, str):
        try:
            return hint(text)
        except ValueError:
            raise BadInput(f"{key}={text}: expected {_spell(hint)}") from None
    options = choices(hint)
    if isinstance(text, hint):
        return text
    if str(text) in options:
        return options[str(text)]()
    raise BadInput(f"{key}={text}: no such {hint.__name__.lower()}", hint=nearest(str(text), options))


def _recipe_type(hint: Any) -> type | None:
    """Return the class in ``Learner`` or ``Learner | None``."""
    for option in get_args(hint) or (hint,):
        if inspect.isclass(option) and option not in (int, float, str, bool, type(None), tuple):
            return option
    return None


def _spell(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " | ".join(map(str, get_args(hint)))
    if get_origin(hint) in (types.UnionType, typing.Union):
        return " | ".join(_spell(a) for a in get_args(hint))
    if get_origin(hint) is tuple:
        return f"{_spell(get_args(hint)[0])},..."
    if hint is type(None):
        return "none"
    return " | ".join(choices(hint)) or getattr(hint, "__name__", str(hint))


def _slug(cls: type) -> str:
    return cls.__name__.lower()


def _packages() -> set[str]:
    own = {ep.value.partition(":")[0].partition(".")[0] for ep in entry_points(group="isthmus")}
    return own | {"isthmus"}
