"""The hooks. Every change here is a change of public API: see docs/hooks.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from isthmus.dataset import Dataset
    from isthmus.evaluator import Evaluator
    from isthmus.strategy import Strategy
    from isthmus.tracking import Tracker

PROJECT = "isthmus"
API = 1  # a plugin may state ``isthmus_api = 1``; another number is listed as incompatible

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def isthmus_strategies() -> Iterable[type[Strategy]]:
    """Return the strategy classes this plugin adds."""
    return ()


@hookspec
def isthmus_evaluators() -> Iterable[type[Evaluator]]:
    """Return the evaluator classes this plugin adds."""
    return ()


@hookspec
def isthmus_datasets() -> Iterable[type[Dataset]]:
    """Return the dataset readers this plugin adds, one per URI scheme."""
    return ()


@hookspec
def isthmus_trackers() -> Iterable[type[Tracker]]:
    """Return the trackers this plugin adds: where losses can be watched."""
    return ()
