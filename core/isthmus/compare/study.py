"""A study: tasks x strategies x seeds, read from one TOML file."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from isthmus.errors import BadInput, nearest

FLOOR = "source-only"
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """Domains by URI. ``test`` is held-out labelled target data; default: the target itself."""

    sources: tuple[str, ...]
    target: str
    name: str = ""
    test: str = ""
    support: str = ""
    image_size: int | None = None


@dataclass(frozen=True, kw_only=True)
class StrategySpec:
    """A strategy with settings; ``label`` tells two settings of one strategy apart.

    ``tasks`` names the tasks it is for; none means all of them.
    """

    name: str
    label: str = ""
    set: Mapping[str, Any] = field(default_factory=dict)
    backbone: str | None = None
    weights: str | None = None
    embed: bool = False
    tasks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Study:
    name: str
    tasks: tuple[TaskSpec, ...]
    strategies: tuple[StrategySpec, ...]
    seeds: tuple[int, ...] = (0,)
    evaluators: tuple[str, ...] = ()  # default: accuracy, or r2
    holdout: float = 0.0  # share of each source kept from training, for validators


def read_study(path: Path) -> Study:
    """Read a study; a misspelt key is refused with the nearest known one."""
    try:
        body = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not TOML: {error}") from error
    return parse_study({"name": path.stem, **body}, str(path))


def parse_study(body: Mapping[str, Any], where: str) -> Study:
    """Build a study from TOML values: tables ``[[task]]`` and ``[[strategy]]``."""
    rest = {k: v for k, v in body.items() if k not in ("task", "strategy")}
    tasks = tuple(_task(t, where) for t in body.get("task", ()))
    strategies = tuple(
        _fill(StrategySpec, s, f"{where}: [[strategy]]") for s in body.get("strategy", ())
    )
    if not tasks or not strategies:
        raise BadInput(f"{where}: expected at least one [[task]] and one [[strategy]]")
    for what, names in (
        ("task", [t.name for t in tasks]),
        ("strategy label", [s.label or s.name for s in strategies]),
    ):
        if twice := next((n for n in names if names.count(n) > 1), None):
            raise BadInput(f"{where}: two times the {what} {twice!r}")
    study = _fill(Study, {**rest, "tasks": tasks, "strategies": strategies}, where)
    known = {t.name for t in tasks}
    for s in strategies:
        for name in s.tasks:
            if name not in known:
                raise BadInput(
                    f"{where}: {s.name} names no task {name!r}", hint=nearest(name, known)
                )
    if not 0 <= study.holdout < 1:
        raise BadInput(f"{where}: holdout = {study.holdout}, expected a share in [0, 1)")
    return study


def _task(given: Mapping[str, Any], where: str) -> TaskSpec:
    given = dict(given)
    if "source" in given:
        source = given.pop("source")
        given["sources"] = [source] if isinstance(source, str) else source
    task = _fill(TaskSpec, given, f"{where}: [[task]]")
    name = task.name or f"{'+'.join(map(_short, task.sources))} -> {_short(task.target)}"
    return dataclasses.replace(task, name=name)


def _short(uri: str) -> str:
    path = uri.partition(":")[2].partition("#")[0]
    return Path(path).stem or uri


def _fill(cls: type[T], given: Mapping[str, Any], where: str) -> T:
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in given:
        if key not in known:
            raise BadInput(f"{where} has no key {key!r}", hint=nearest(key, known))
    try:
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})
    except TypeError as error:
        raise BadInput(f"{where}: {error}") from error
