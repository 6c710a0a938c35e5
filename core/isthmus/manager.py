"""Finding plugins, one at a time, so that a broken one costs only itself.

There is no module-level manager: the caller owns a Catalogue.
"""

from __future__ import annotations

import difflib
import inspect
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any, TypeVar

import pluggy

from isthmus import hookspecs
from isthmus.dataset import Dataset
from isthmus.errors import BadInput, IsthmusError, PluginError
from isthmus.evaluator import Evaluator
from isthmus.names import Names as Names
from isthmus.names import Plugin as Plugin
from isthmus.strategy import Needs, Strategy
from isthmus.tracking import Tracker

T = TypeVar("T")
OWN = "isthmus"  # the distribution whose plugins are the built-ins
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_STATES: dict[type, dict[str, type]] = {  # what a class must state; first, what it is called by
    Strategy: {"name": str, "family": str, "needs": Needs},
    Evaluator: {"name": str, "summary": str, "reads_labels": bool},
    Dataset: {"scheme": str, "summary": str},
    Tracker: {"name": str, "summary": str},
}
_HOOKS = {  # every hook, and the arguments it is called with
    name: set(inspect.signature(spec).parameters)
    for name, spec in vars(hookspecs).items()
    if hasattr(spec, f"{hookspecs.PROJECT}_spec")
}


@dataclass
class Catalogue:
    """What the plugins offer. Classes are asked for at first use: the names cost no import."""

    plugins: list[Plugin] = field(default_factory=list)
    # One relay each: pluggy calls a hook on all plugins, and the first that raises ends the call.
    _hooks: list[tuple[Plugin, pluggy.HookRelay]] = field(default_factory=list)
    _names: dict[type, Names[Any]] = field(default_factory=dict)

    @property
    def strategies(self) -> Names[Strategy]:
        return self._collect("isthmus_strategies", Strategy)

    @property
    def evaluators(self) -> Names[Evaluator]:
        return self._collect("isthmus_evaluators", Evaluator)

    @property
    def datasets(self) -> Names[Dataset]:
        return self._collect("isthmus_datasets", Dataset)

    @property
    def trackers(self) -> Names[Tracker]:
        return self._collect("isthmus_trackers", Tracker)

    def validator(self, name: str) -> Evaluator:
        """Return an evaluator that may choose between models; refuse others."""
        evaluator = self.evaluators[name]()
        if evaluator.reads_labels:
            raise BadInput(f"{name} reads target labels, so it can be no validator")
        if not evaluator.scalar:
            raise BadInput(f"{name} is a table, and a validator is one number")
        return evaluator

    def everything(self) -> Catalogue:
        """Ask every plugin for everything, so that each status is final."""
        _ = self.strategies, self.evaluators, self.datasets, self.trackers
        return self

    def _collect(self, hook: str, base: type) -> Names[Any]:
        if base in self._names:
            return self._names[base]
        claims: dict[str, list[tuple[Plugin, Any]]] = {}
        for plugin, hooks in self._hooks:
            answer: dict[str, Any] = {}
            with _blaming(plugin, hook):
                for impl in getattr(hooks, hook).get_hookimpls():
                    _check_in(impl.function(), base, answer)
                for short, cls in answer.items():  # reached only when every class is sound
                    for name in (short, f"{plugin.dist}:{short}"):
                        claim = claims.setdefault(name, [])
                        if not any(c is cls and p.dist == plugin.dist for p, c in claim):
                            claim.append((plugin, cls))
        broken = [p.name for p in self.plugins if p.status in ("failed", "incompatible")]
        note = f" isthmus plugins says what is wrong with {', '.join(broken)}." if broken else ""
        self._names[base] = names = Names(base.__name__.lower(), claims, note)
        for name in (n for n, claim in claims.items() if len(claim) > 1 and ":" not in n):
            both = [plugin for plugin, _ in claims[name]]
            for plugin in [p for p in both if p.dist != OWN] or both:  # not a built-in's fault
                plugin.mark("conflict", names.claimants(name))
        return names


def discover(
    extra: Mapping[str, object] | None = None, *, third_party: bool | None = None
) -> Catalogue:
    """Load the entry points of group ``isthmus`` and the ``extra`` plugins (name to object).

    With ``ISTHMUS_DISABLE_PLUGIN_AUTOLOAD=1`` only the built-ins and ``extra`` are loaded.
    Whatever a plugin raises becomes its status; KeyboardInterrupt alone passes.
    """
    if third_party is None:
        third_party = os.environ.get("ISTHMUS_DISABLE_PLUGIN_AUTOLOAD", "0") in ("", "0")
    found = Catalogue()
    for dist, entries in _installed():
        for entry in entries if third_party or dist.name == OWN else ():
            plugin = Plugin(name=entry.name, dist=dist.name, version=dist.version or "")
            found.plugins.append(plugin)
            with _blaming(plugin, f"loading {entry.value}"):
                _register(found, plugin, entry.load())
    for name, thing in (extra or {}).items():
        found.plugins.append(plugin := Plugin(name=name, dist=name))
        with _blaming(plugin, f"loading {name}"):
            _register(found, plugin, thing)
    return found


def _installed() -> list[tuple[Distribution, list[EntryPoint]]]:
    """Return who has entry points, built-ins first; of one seen twice, the one imports find."""
    first: dict[str, tuple[Distribution, list[EntryPoint]]] = {}
    for dist in distributions():
        with suppress(Exception):  # importlib.metadata stumbles over a malformed file
            entries = [e for e in dist.entry_points if e.group == hookspecs.PROJECT]
            if entries and dist.name:  # the remains of an uninstalled package have no name
                first.setdefault(dist.name, (dist, entries))
    return [first[name] for name in sorted(first, key=lambda n: (n != OWN, n))]


def _register(found: Catalogue, plugin: Plugin, thing: Any) -> None:
    plugin.module = module = thing() if inspect.isclass(thing) else thing
    if (api := getattr(module, "isthmus_api", hookspecs.API)) != hookspecs.API:
        plugin.mark("incompatible", f"written for plugin API {api!r}, this is {hookspecs.API}")
        return
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.register(module)
    callers = manager.get_hookcallers(module) or []
    for name, impl in ((c.name, i) for c in callers for i in c.get_hookimpls()):
        if name not in _HOOKS and not impl.optionalhook:
            close = difflib.get_close_matches(name, _HOOKS, n=1, cutoff=0)[0]
            raise PluginError(f"there is no hook {name!r}, the nearest is {close!r}")
        if unknown := set(impl.argnames) - _HOOKS.get(name, set(impl.argnames)):
            raise PluginError(f"{name} asks for {sorted(unknown)}, which that hook does not pass")
    if bare := sorted(set(_HOOKS) & set(dir(module)) - {c.name for c in callers}):
        raise PluginError(f"{bare[0]} lacks @hookimpl, so it would never be called")
    if not callers:
        plugin.mark("no-hooks", "implements none of the isthmus_ hooks")
        return
    manager.add_hookspecs(hookspecs)
    found._hooks.append((plugin, manager.hook))


def _check_in(classes: Any, base: type, answer: dict[str, Any]) -> None:
    """Add what a hook answered, by name; the first that breaks the contract ends it."""
    for cls in classes:
        if not (inspect.isclass(cls) and issubclass(cls, base)):
            raise PluginError(f"{cls!r} is not a subclass of {base.__name__}")
        if missing := sorted(getattr(cls, "__abstractmethods__", ())):
            raise PluginError(f"{cls!r} is abstract, it lacks {', '.join(missing)}")
        for attribute, wanted in _STATES[base].items():
            if not isinstance(value := getattr(cls, attribute, None), wanted):
                raise PluginError(f"{cls!r} needs a {attribute} ({wanted.__name__}), has {value!r}")
        name = getattr(cls, next(iter(_STATES[base])))
        if not _SLUG.fullmatch(name):
            raise PluginError(f"{cls!r} is called {name!r}, which is no lower-case-slug")
        if answer.setdefault(name, cls) is not cls:
            raise PluginError(f"{cls!r} and {answer[name]!r} are both called {name!r}")


@contextmanager
def _blaming(plugin: Plugin, doing: str) -> Iterator[None]:
    """Turn what a plugin raises into its status, and keep its chatter off stdout: that is data."""
    try:
        with redirect_stdout(sys.stderr):
            yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may well call sys.exit() or pytest.skip()
        plugin.mark("failed", f"{doing}: {_sentence(error)}")


def _sentence(error: BaseException) -> str:
    with suppress(Exception):
        said = str(error).strip().partition("\n")[0]
        kind = "" if isinstance(error, IsthmusError) else f"{type(error).__name__}: "
        return (kind + said).removesuffix(": ")
    return type(error).__name__
