"""Hyper-parameters chosen by a validator, by Optuna's tree-structured Parzen estimator.

J. Bergstra, R. Bardenet, Y. Bengio, B. Kégl, Algorithms for hyper-parameter optimization, NeurIPS
2011. The defaults are the first point when they lie in the space, so that a search can only leave
them for something that the validator likes better.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Mapping
from typing import Any

from isthmus.compare.study import Search
from isthmus.errors import BadInput, IsthmusError, RunFailed
from isthmus.evaluator import Recipe
from isthmus.strategy import Adapted, Run

Attempt = Callable[[Mapping[str, Any]], tuple[Recipe, Adapted]]


def check_search(search: Search, where: str) -> None:
    """Refuse a space that cannot be searched, and a machine that cannot search."""
    if importlib.util.find_spec("optuna") is None:
        raise BadInput(f"{where}: a search needs Optuna", hint="pip install 'isthmus[search]'")
    if type(search.trials) is not int or search.trials < 1:
        raise BadInput(f"{where}: trials = {search.trials!r}, expected a whole number above 0")
    if not search.space:
        raise BadInput(f"{where}: the space is empty")
    for key, values in search.space.items():
        if isinstance(values, Mapping):
            unknown = set(values) - {"low", "high", "log", "step"}
            if unknown or not {"low", "high"} <= set(values):
                raise BadInput(f"{where}: {key} = {dict(values)}, expected low, high, log, step")
            if not values["low"] <= values["high"] or (values.get("log") and values["low"] <= 0):
                raise BadInput(f"{where}: {key} from {values['low']} to {values['high']} is empty")
        elif not isinstance(values, list | tuple) or not values:
            raise BadInput(f"{where}: {key} = {values!r}, expected a list or {{low, high}}")


def find_best(
    search: Search,
    attempt: Attempt,
    value: Callable[[Recipe, Adapted], float],
    run: Run,
    defaults: Mapping[str, Any],
) -> tuple[Recipe, Adapted, dict[str, Any]]:
    """Return the model whose ``value`` is largest, how it was made, and the trials as diagnostics.

    A point that cannot be adapted with is a failed trial; all of them failing is RunFailed.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=run.seed)
    )
    best: tuple[float, Recipe, Adapted, dict[str, Any]] | None = None
    trials: list[dict[str, Any]] = []
    trouble = ""
    first = {key: defaults.get(key) for key in search.space}
    if all(_holds(values, first[key]) for key, values in search.space.items()):
        study.enqueue_trial(first)
    for number in range(search.trials):
        trial = study.ask()
        point = {
            key: _suggest(trial, key, values, first[key]) for key, values in search.space.items()
        }
        try:
            recipe, adapted = attempt(point)
            found = value(recipe, adapted)
            if not math.isfinite(found):
                raise RunFailed(f"{search.by} gave {found}")
        except Exception as error:
            trouble = str(error) if isinstance(error, IsthmusError) else repr(error)
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            trials.append({"settings": point, "failed": trouble})
            continue
        study.tell(trial, found)
        trials.append({"settings": point, "value": found})
        if best is None or found > best[0]:
            best = found, recipe, adapted, point
        run.progress("trials", number + 1, search.trials)
    if best is None:
        raise RunFailed(f"none of {search.trials} trials of the search worked: {trouble}")
    found, recipe, adapted, point = best
    diagnostics = {"search": {"by": search.by, "chosen": point, "trials": trials}}
    return recipe, adapted, diagnostics


def _suggest(trial: Any, key: str, values: Any, default: Any) -> Any:
    if not isinstance(values, Mapping):
        return trial.suggest_categorical(key, list(values))
    low, high, step = values["low"], values["high"], values.get("step")
    log = bool(values.get("log", False))
    whole = isinstance(low, int) and isinstance(high, int)
    if whole and not isinstance(default, float):  # {low = 0, high = 1} of a share is no choice of 2
        return trial.suggest_int(key, low, high, step=step or 1, log=log)
    return trial.suggest_float(key, low, high, step=step, log=log)


def _holds(values: Any, default: Any) -> bool:
    """Say whether the space holds a default; one between the steps of a range is left out."""
    if not isinstance(values, Mapping):
        return default in values
    return (
        isinstance(default, int | float)
        and not values.get("step")
        and bool(values["low"] <= default <= values["high"])
    )
