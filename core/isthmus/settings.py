"""Settings in and out: a recipe as JSON, JSON as a recipe, and ``--set key=value``.

A recipe is a frozen dataclass of numbers, texts, tuples and other recipes. A field typed as a
recipe (``learner: Learner``) takes any concrete subclass, which is named by its slug: its class
name in small letters.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
import types
import typing
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, Literal, TypeVar, get_args, get_origin

from isthmus.errors import BadInput, nearest
from isthmus.fields import PLAIN, hints_of, plain_slug, recipe_type, slug, spell
from isthmus.fields import choices as choices

T = TypeVar("T")


def describe(recipe: Any) -> Any:
    """Return the JSON form of a recipe; nested recipes name their type."""
    if dataclasses.is_dataclass(recipe) and not isinstance(recipe, type):
        values = {f.name: describe(getattr(recipe, f.name)) for f in dataclasses.fields(recipe)}
        return {"type": reference(type(recipe)), **values}
    if isinstance(recipe, tuple | list):
        return [describe(v) for v in recipe]
    if isinstance(recipe, float) and not math.isfinite(recipe):
        raise BadInput(f"a setting must be finite, got {recipe}")
    if recipe is None or isinstance(recipe, PLAIN):
        return recipe
    raise BadInput(f"a setting must be a number, text or a recipe, got {type(recipe).__name__}")


def restore(value: Any, base: type[T]) -> T:
    """Rebuild a recipe written by ``describe``; it must be a ``base``."""
    if not isinstance(value, dict) or "type" not in value:
        raise BadInput(f"expected the settings of a {base.__name__}, got {value!r}")
    cls = resolve(value["type"], base)
    hints = hints_of(cls)
    if wrong := [key for key in value if key not in (*hints, "type")]:
        raise BadInput(f"{cls.__name__} has no setting {wrong[0]!r}", hint=nearest(wrong[0], hints))
    given = {key: _parse(v, hints[key], key) for key, v in value.items() if key != "type"}
    try:
        return cls(**given)
    except TypeError as error:
        raise BadInput(f"these are not all the settings of {cls.__name__}: {error}") from error


def reference(cls: type) -> str:
    """Return the name by which ``resolve`` finds the class: ``module:Name``."""
    return f"{cls.__module__}:{cls.__qualname__}"


def resolve(name: str, base: type[T]) -> type[T]:
    """Return the class called ``module:Name``; only from isthmus or an installed plugin."""
    module, _, attribute = str(name).partition(":")
    if module.partition(".")[0] not in _packages():
        raise BadInput(f"{name!r} belongs to no installed plugin", hint="isthmus plugins")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise BadInput(f"{name!r} is missing here ({error})", hint="isthmus plugins") from error
    # Where it is defined, not where it is imported: a plugin's imports are none of its classes.
    if not (inspect.isclass(found) and issubclass(found, base) and found.__module__ == module):
        raise BadInput(f"{name!r} is not a {base.__name__}")
    return found


def configure(cls: type[T], settings: Mapping[str, Any]) -> T:
    """Build a recipe from texts such as ``{"training.steps": "500", "learner": "ridge"}``.

    Values may also have the field's own type, as in TOML.
    """
    recipe = cls()
    left = sorted(settings, key=lambda k: k.count("."))  # learner before learner.width
    while left:  # as long as one helps: some are allowed only beside others
        refused: dict[str, BadInput] = {}
        for key in left:
            try:
                recipe = _assign(recipe, key.split("."), settings[key], key)
            except BadInput as error:
                refused[key] = error
        if len(refused) == len(left):
            raise refused[left[0]]
        left = [*refused]
    return recipe


def check(recipe: Any) -> None:
    """Raise BadInput where a recipe, or one within, has a text that its field does not allow."""
    if not dataclasses.is_dataclass(recipe):
        return
    try:
        hints = hints_of(type(recipe))
    except NameError:  # its types have names that only the function knows which it was made in
        return
    for name, hint in hints.items():
        value = getattr(recipe, name)
        if dataclasses.is_dataclass(value):
            check(value)
        elif get_origin(hint) is Literal and value not in get_args(hint):
            raise BadInput(f"{name}={value!r}: expected {spell(hint)}")


def parameters(recipe: Any, prefix: str = "") -> Iterator[dict[str, Any]]:
    """Yield name, type and default of each hyper-parameter, nested ones dotted."""
    for name, hint in hints_of(type(recipe)).items():
        value, path = getattr(recipe, name), prefix + name
        if dataclasses.is_dataclass(value):
            if options := choices(recipe_type(hint) or type(value)):
                yield {"name": path, "type": " | ".join(options), "default": slug(type(value))}
            yield from parameters(value, path + ".")
        else:
            yield {"name": path, "type": spell(hint), "default": describe(value)}


def _assign(recipe: Any, path: list[str], text: Any, key: str) -> Any:
    hints, name = hints_of(type(recipe)), path[0]
    if name not in hints:
        known = [p["name"] for p in parameters(recipe)]
        hint = nearest(".".join(path), known)
        raise BadInput(f"{slug(type(recipe))} has no setting {key!r}", hint=hint)
    inner = getattr(recipe, name)
    if len(path) == 1:
        # What is chosen already keeps its settings, which may be the strategy's own.
        same = dataclasses.is_dataclass(inner) and plain_slug(text) == slug(type(inner))
        value = inner if same else _parse(text, hints[name], key)
    else:
        if not dataclasses.is_dataclass(inner):
            options = spell(hints[name])
            raise BadInput(
                f"{key!r}: {name!r} is {describe(inner)}, which has no settings of its own",
                hint=f"choose one first: {name}={options}" if recipe_type(hints[name]) else "",
            )
        value = _assign(inner, path[1:], text, key)
    try:
        return dataclasses.replace(recipe, **{name: value})
    except ValueError as error:
        raise BadInput(f"{key}={text}: {error}") from error


def _parse(value: Any, hint: Any, key: str) -> Any:
    """Return ``value``, a text or already of the right type, as what ``hint`` asks for."""
    options = get_args(hint)
    if get_origin(hint) is Literal:
        for option in options:
            if type(value) in (type(option), str) and str(value) == str(option):
                return option
        raise BadInput(f"{key}={value}: expected {spell(hint)}")
    if get_origin(hint) in (types.UnionType, typing.Union):
        return _parse_union(value, options, key)
    if get_origin(hint) is tuple:
        items = value
        if isinstance(value, str):
            items = [t.strip() for t in value.removesuffix(",").split(",") if value]
        if not isinstance(items, tuple | list):
            raise BadInput(f"{key}={value}: expected {spell(hint)}")
        of = options[:1] * len(items) if options[-1] is Ellipsis else options
        if len(of) != len(items):
            raise BadInput(f"{key}={value}: expected {len(of)} values, got {len(items)}")
        return tuple(_parse(t, h, key) for t, h in zip(items, of, strict=True))
    if hint in PLAIN:
        return _parse_plain(value, hint, key)
    if not inspect.isclass(hint):
        raise BadInput(f"{key} cannot be given as text")
    if isinstance(value, dict):
        return restore(value, hint)
    if isinstance(value, hint):
        return value
    made, named = choices(hint), plain_slug(value)
    if named in made:
        return made[named]()
    raise BadInput(f"{key}={value}: no such {slug(hint)}", hint=nearest(named, made))


def _parse_union(value: Any, options: tuple[Any, ...], key: str) -> Any:
    if type(None) in options and (value is None or str(value).lower() in ("none", "null", "")):
        return None
    options = tuple(o for o in options if o is not type(None))
    for option in options[:-1]:
        try:
            return _parse(value, option, key)
        except BadInput:
            continue
    return _parse(value, options[-1], key)


def _parse_plain(value: Any, kind: type, key: str) -> Any:
    if kind is bool:
        if str(value).lower() in ("true", "false"):
            return str(value).lower() == "true"
        raise BadInput(f"{key}={value}: expected true or false")
    fits = isinstance(value, (str, int, float)[: (str, int, float).index(kind) + 1])
    try:
        if not fits or isinstance(value, bool):  # no silent int(2.7), no float(True)
            raise ValueError
        parsed = kind(value)
        if kind is float and not math.isfinite(parsed):
            raise ValueError
    except ValueError:
        raise BadInput(f"{key}={value}: expected {_SPELT[kind]}") from None
    return parsed


_SPELT = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}


def _packages() -> set[str]:
    own = {ep.value.partition(":")[0].partition(".")[0] for ep in entry_points(group="isthmus")}
    return own | {"isthmus"}
