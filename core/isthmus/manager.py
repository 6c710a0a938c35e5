"""Finding plugins, one at a time, so that a broken one costs only itself.

There is no module-level manager: the caller owns a Catalogue.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, distributions
from typing import Any, Generic, TypeVar

import pluggy

from isthmus import hookspecs
from isthmus.dataset import Dataset
from isthmus.errors import PluginError, nearest
from isthmus.evaluator import Evaluator
from isthmus.strategy import Strategy

OWN = "isthmus"  # the distribution whose plugins are the built-ins
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
T = TypeVar("T", bound=type)


@dataclass(kw_only=True)
class Plugin:
    """One entry point, and what became of it."""

    name: str
    dist: str
    version: str
    status: str = "ok"  # ok | failed | incompatible | conflict | no-hooks
    reason: str = ""
    module: Any = None


@dataclass
class Names(Generic[T]):
    """Classes by name. A name that two distributions claim must be asked for as dist:name."""

    what: str
    claims: dict[str, dict[str, T]] = field(default_factory=dict)

    def __iter__(self) -> Iterable[str]:  # type: ignore[override]
        return iter(sorted(self.claims))

    def __contains__(self, name: object) -> bool:
        return name in self.claims

    def items(self) -> list[tuple[str, str, T]]:
        """Return (name, dist, class); a contested name is written dist:name."""
        return [
            (name if len(by_dist) == 1 else f"{dist}:{name}", dist, cls)
            for name, by_dist in sorted(self.claims.items())
            for dist, cls in sorted(by_dist.items())
        ]

    def __getitem__(self, name: str) -> T:
        dist, _, short = name.rpartition(":")
        by_dist = self.claims.get(short, {})
        if dist:
            by_dist = {d: c for d, c in by_dist.items() if d == dist}
        if not by_dist:
            known = [n for n, _, _ in self.items()]
            raise PluginError(f"no {self.what} is called {name!r}", hint=nearest(name, known))
        if len(by_dist) > 1:
            both = " and ".join(sorted(by_dist))
            raise PluginError(
                f"two {self.what}s are called {name!r}: one of {both}",
                hint=f"write {' or '.join(f'{d}:{name}' for d in sorted(by_dist))}",
            )
        return next(iter(by_dist.values()))


@dataclass
class Catalogue:
    """What the plugins offer. Classes are asked for at first use: the names cost no import."""

    plugins: list[Plugin] = field(default_factory=list)
    _manager: pluggy.PluginManager = field(default_factory=lambda: _manager())
    _names: dict[str, Names[Any]] = field(default_factory=dict)

    @property
    def strategies(self) -> Names[type[Strategy]]:
        return self._collect("strategy", "isthmus_strategies", Strategy, lambda c: c.name)

    @property
    def evaluators(self) -> Names[type[Evaluator]]:
        return self._collect("evaluator", "isthmus_evaluators", Evaluator, lambda c: c.name)

    @property
    def datasets(self) -> Names[type[Dataset]]:
        return self._collect("dataset", "isthmus_datasets", Dataset, lambda c: c.scheme)

    def everything(self) -> Catalogue:
        """Ask every plugin for everything, so that each status is final."""
        _ = self.strategies, self.evaluators, self.datasets
        return self

    def _collect(self, what: str, hook: str, base: type, key: Callable[[Any], str]) -> Names[Any]:
        if what in self._names:
            return self._names[what]
        names: Names[Any] = Names(what)
        for impl in getattr(self._manager.hook, hook).get_hookimpls():
            plugin = next(p for p in self.plugins if p.module is impl.plugin)
            try:
                found = [(_name(cls, base, key), cls) for cls in impl.function()]
            except (Exception, SystemExit) as error:
                plugin.status, plugin.reason = "failed", f"{hook}: {_sentence(error)}"
                continue
            for name, cls in found:
                names.claims.setdefault(name, {}).setdefault(plugin.dist, cls)
        for name, by_dist in names.claims.items():
            if len(by_dist) > 1:
                for p in self.plugins:
                    if p.dist in by_dist and p.dist != OWN and p.status == "ok":
                        others = ", ".join(sorted(set(by_dist) - {p.dist}))
                        p.status = "conflict"
                        p.reason = f"{what} {name!r} is also in {others}; use {p.dist}:{name}"
        self._names[what] = names
        return names


def discover(
    extra: Mapping[str, object] | None = None, *, third_party: bool | None = None
) -> Catalogue:
    """Load the entry points of group ``isthmus`` and the ``extra`` plugins (name to object).

    With ``ISTHMUS_DISABLE_PLUGIN_AUTOLOAD=1`` only the built-ins are loaded.
    """
    if third_party is None:
        third_party = not os.environ.get("ISTHMUS_DISABLE_PLUGIN_AUTOLOAD")
    found = Catalogue()
    seen: set[tuple[str, str]] = set()
    for dist in sorted(distributions(), key=lambda d: (d.name or "") != OWN):
        for ep in dist.entry_points:
            key = (dist.name, ep.name)
            if ep.group != hookspecs.PROJECT or key in seen:
                continue  # an editable install beside a wheel shows one distribution twice
            seen.add(key)
            if dist.name == OWN or third_party:
                plugin = Plugin(name=ep.name, dist=dist.name, version=dist.version)
                found.plugins.append(plugin)
                _load(found, plugin, ep)
    for name, module in (extra or {}).items():
        plugin = Plugin(name=name, dist=name, version="")
        found.plugins.append(plugin)
        _register(found, plugin, module)
    return found


def _manager() -> pluggy.PluginManager:
    pm = pluggy.PluginManager(hookspecs.PROJECT)
    pm.add_hookspecs(hookspecs)
    return pm


def _load(found: Catalogue, plugin: Plugin, ep: EntryPoint) -> None:
    try:
        module = ep.load()
    except (Exception, SystemExit) as error:
        plugin.status, plugin.reason = "failed", _sentence(error)
        return
    _register(found, plugin, module)


def _register(found: Catalogue, plugin: Plugin, module: Any) -> None:
    pm, unique = found._manager, f"{plugin.dist}:{plugin.name}"
    try:
        if inspect.isclass(module):
            module = module()
        api = getattr(module, "isthmus_api", hookspecs.API)
        if api != hookspecs.API:
            plugin.status = "incompatible"
            plugin.reason = f"written for plugin API {api}, this is {hookspecs.API}"
            return
        plugin.module = module
        pm.register(module, name=unique)
    except (Exception, SystemExit) as error:
        plugin.status, plugin.reason = "failed", _sentence(error)
        if pm.has_plugin(unique):
            pm.unregister(name=unique)
        return
    known = {name for name, spec in vars(hookspecs).items() if hasattr(spec, "isthmus_spec")}
    hooks = [c.name for c in pm.get_hookcallers(module) or []]
    for name in hooks:
        if name not in known:
            pm.unregister(module)
            plugin.status, plugin.reason = "failed", f"unknown hook {name!r}"
            plugin.reason += f". {nearest(name, known)}"
            return
    if not hooks:
        pm.unregister(module)
        plugin.status, plugin.reason = "no-hooks", "implements none of the isthmus_ hooks"


def _name(cls: Any, base: type, key: Callable[[Any], str]) -> str:
    where = f"{getattr(cls, '__module__', '?')}.{getattr(cls, '__qualname__', cls)}"
    if not (inspect.isclass(cls) and issubclass(cls, base)):
        raise PluginError(f"{where} is not a subclass of {base.__name__}")
    if not _SLUG.fullmatch(name := key(cls)):
        raise PluginError(f"{where}: name {name!r} is not a lower-case-slug")
    return name


def _sentence(error: BaseException) -> str:
    first = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
