"""A study: tasks x strategies x seeds, read from one TOML file."""

from __future__ import annotations

import dataclasses
import itertools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isthmus.compare.typed import fill, fits, tables
from isthmus.errors import BadInput, nearest

FLOOR = "source-only"


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """Domains by URI. ``test`` is held-out labelled target data; default: the target itself."""

    sources: tuple[str, ...]
    target: str
    name: str = ""
    test: str = ""
    support: str = ""
    image_size: int | None = None
    unknown: bool = False  # classes of the target that no source has count as "unknown"


@dataclass(frozen=True, kw_only=True)
class Search:
    """Hyper-parameters chosen by a validator: ``trials`` points of a space, by Optuna's TPE.

    ``space`` maps a setting to a list of values, or to {low, high} with ``log`` and ``step``.
    """

    space: Mapping[str, Any]
    by: str
    trials: int = 20


@dataclass(frozen=True, kw_only=True)
class StrategySpec:
    """A strategy with settings; ``label`` tells two settings of one strategy apart.

    ``tasks`` names the tasks it is for; none means all of them. ``grid`` maps settings to lists:
    every combination becomes a strategy of its own, and all of them share the ``group``.
    """

    name: str
    label: str = ""
    set: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, Any] = field(default_factory=dict)
    search: Search | None = None
    backbone: str | None = None
    weights: str | None = None
    embed: bool = False
    tasks: tuple[str, ...] = ()
    group: str = ""

    def points(self) -> Iterator[StrategySpec]:
        """Yield one spec for each combination of the grid, with its label."""
        label = self.label or self.name
        for values in itertools.product(*self.grid.values()):
            point = dict(zip(self.grid, values, strict=True))
            said = ", ".join(f"{k}={_text(v)}" for k, v in point.items())
            yield dataclasses.replace(
                self,
                set={**self.set, **point},
                grid={},
                label=f"{label} ({said})" if said else label,
                group=label,
            )


@dataclass(frozen=True, kw_only=True)
class Study:
    """What is compared. The first evaluator is the one that ranks."""

    name: str
    tasks: tuple[TaskSpec, ...]
    strategies: tuple[StrategySpec, ...]
    seeds: tuple[int, ...] = (0,)
    evaluators: tuple[str, ...] = ()  # default: accuracy, or r2
    validators: tuple[str, ...] = ()  # read no target labels
    holdout: float | None = None  # share of each source kept from training; None: .2 if one asks
    budget: float | None = None  # seconds of training, then an adaptation stops where it stands
    timeout: float | None = None  # seconds after which a cell is given up
    threads: int = 1  # of each worker: sums differ in their last bits with the number of threads
    memory: float | None = None  # GB that a worker may hold
    plugins: tuple[
        str, ...
    ] = ()  # modules, or files beside the study, with strategies of one's own

    def cells(self) -> Iterator[tuple[TaskSpec, int, StrategySpec]]:
        """Yield what is to be run, one task and seed after the other."""
        for task in self.tasks:
            for seed in self.seeds:
                for s in self.strategies:
                    if not s.tasks or task.name in s.tasks:
                        yield task, seed, s


def read_study(path: Path) -> Study:
    """Read a study; a misspelt key is refused with the nearest known one."""
    try:
        body = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not TOML: {error}") from error
    study = parse_study({"name": path.stem, **body}, str(path))
    beside = path.parent
    plugins = tuple(str(beside / p) if p.endswith(".py") else p for p in study.plugins)
    return dataclasses.replace(study, plugins=plugins)


def parse_study(body: Mapping[str, Any], where: str) -> Study:
    """Build a study from TOML values: tables ``[[task]]``, ``[[pairs]]`` and ``[[strategy]]``."""
    rest = {k: v for k, v in body.items() if k not in ("task", "pairs", "strategy")}
    tasks = [_task(t, where) for t in tables(body, "task", where)]
    pairs = tables(body, "pairs", where)
    tasks += [task for p in pairs for task in _pairs(p, f"{where}: [[pairs]]")]
    specs = [_strategy(s, f"{where}: [[strategy]]") for s in tables(body, "strategy", where)]
    strategies = [point for s in specs for point in s.points()]
    if not tasks or not strategies:
        raise BadInput(f"{where}: expected at least one [[task]] or [[pairs]] and one [[strategy]]")
    for what, names in (
        ("task", [t.name for t in tasks]),
        ("strategy label", [s.label for s in strategies]),
    ):
        if twice := next((n for n in names if names.count(n) > 1), None):
            raise BadInput(f"{where}: two times the {what} {twice!r}")
    study = fill(Study, {**rest, "tasks": tasks, "strategies": strategies}, where)
    known = {t.name for t in tasks}
    for s in strategies:
        for name in s.tasks:
            if name not in known:
                raise BadInput(
                    f"{where}: {s.name} names no task {name!r}", hint=nearest(name, known)
                )
    _check_numbers(study, where)
    return study


def _check_numbers(study: Study, where: str) -> None:
    if not study.seeds or not all(type(s) is int and s >= 0 for s in study.seeds):
        raise BadInput(f"{where}: seeds = {list(study.seeds)}, expected whole numbers from 0")
    if len(set(study.seeds)) < len(study.seeds):
        raise BadInput(f"{where}: seeds = {list(study.seeds)} holds one of them twice")
    if study.holdout is not None and not 0 <= study.holdout < 1:
        raise BadInput(f"{where}: holdout = {study.holdout}, expected a share in [0, 1)")
    for name in ("budget", "timeout", "memory", "threads"):
        value = getattr(study, name)
        if value is not None and (not isinstance(value, int | float) or not value > 0):
            raise BadInput(f"{where}: {name} = {value!r}, expected a number above 0")


def _strategy(given: Mapping[str, Any], where: str) -> StrategySpec:
    given = dict(given)
    if isinstance(given.get("search"), Mapping):
        given["search"] = fill(Search, given["search"], f"{where}: search")
    spec = fill(StrategySpec, given, where)
    for key, values in spec.grid.items():
        if not isinstance(values, list) or not values:
            raise BadInput(f"{where}: grid.{key} = {values!r}, expected a list of values")
    return spec


def _task(given: Mapping[str, Any], where: str) -> TaskSpec:
    given = dict(given)
    if "source" in given:
        source = given.pop("source")
        given["sources"] = [source] if isinstance(source, str) else source
    elif "sources" not in given:
        raise BadInput(f"{where}: a [[task]] has no source")
    task = fill(TaskSpec, given, f"{where}: [[task]]")
    name = task.name or f"{'+'.join(map(_short, task.sources))} -> {_short(task.target)}"
    return dataclasses.replace(task, name=name)


def _pairs(given: Mapping[str, Any], where: str) -> Iterator[TaskSpec]:
    """Yield a task for each ordered pair of a set of domains.

    ``domains`` is a list of URIs, or maps names to them; ``test`` and ``support`` are options
    that are added to the target's URI, as in ``test = "split=test"``.
    """
    known = ("domains", "test", "support", "image_size")
    for key in given:
        if key not in known:
            raise BadInput(f"{where} has no key {key!r}", hint=nearest(key, known))
    domains = given.get("domains", ())
    if fits(domains, tuple[str, ...]):
        domains = {_short(uri): uri for uri in domains}
    if not isinstance(domains, Mapping) or not fits([*domains.values()], tuple[str, ...]):
        raise BadInput(f"{where}: expected domains = [URI, ...], or a table of names and URIs")
    if len(domains) < 2:
        raise BadInput(f"{where}: expected at least two domains with different names")
    for (a, source), (b, target) in itertools.permutations(domains.items(), 2):
        yield TaskSpec(
            sources=(source,),
            target=target,
            name=f"{a} -> {b}",
            test=_with(target, given.get("test", "")),
            support=_with(target, given.get("support", "")),
            image_size=given.get("image_size"),
        )


def _with(uri: str, options: str) -> str:
    return options and f"{uri}{'&' if '#' in uri else '#'}{options}"


def _short(uri: str) -> str:
    path = uri.partition(":")[2].partition("#")[0]
    return Path(path).stem or uri


def _text(value: Any) -> str:
    return (
        ",".join(map(str, value))
        if isinstance(value, Sequence) and not isinstance(value, str)
        else str(value)
    )
