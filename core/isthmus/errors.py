"""Everything isthmus raises on purpose.

* IsthmusError                exit code
  - BadInput                  2  a file, a domain or an option cannot be used as given
    - UnsupportedTask         2  this strategy cannot take this task (a normal answer)
    - PluginError             2  a plugin broke its contract, or two claim one name
  - RunFailed                 1  an adaptation started and could not finish
  - GateFailed                3  a check that guards a result said no (parity, integrity)
    - NotExportable           3  this artefact has no ONNX form (a normal answer)
  - ProviderUnavailable       4  the machine lacks what was asked for
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager


class IsthmusError(Exception):
    """What went wrong in one sentence; ``hint`` is what to do next, ``exit`` the exit code."""

    exit = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class BadInput(IsthmusError, ValueError):
    """A file, a domain or an option that cannot be used as given."""

    exit = 2


class UnsupportedTask(BadInput):
    """The strategy cannot take this task."""


class PluginError(BadInput):
    """A plugin broke its contract, or two plugins claim one name."""


class RunFailed(IsthmusError):
    """An adaptation that started and could not finish."""


class GateFailed(IsthmusError):
    """A check that guards a result said no."""

    exit = 3


class NotExportable(GateFailed):
    """The artefact has no ONNX form; the message says why."""


class ProviderUnavailable(IsthmusError):
    """The machine lacks what was asked for: a GPU, a library, a network."""

    exit = 4


@contextmanager
def importing(extra: str, lack: str) -> Iterator[None]:
    """Import a package of an extra; where it is missing, say ``lack`` and how to install it."""
    try:
        yield
    except ImportError as error:
        raise ProviderUnavailable(lack, hint=f"pip install 'isthmus[{extra}]'") from error


def require(recipe: object, what: str, wanted: Mapping[str, bool]) -> None:
    """Refuse a recipe that breaks rules, naming them and what it has for the settings in them."""
    if broken := [rule for rule, holds in wanted.items() if not holds]:
        words = {word for rule in broken for word in rule.split()}
        given = [f"{name}={value!r}" for name, value in vars(recipe).items() if name in words]
        raise BadInput(f"{what} needs {' and '.join(broken)}, got {', '.join(given)}")


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the hint for a misspelt name: the closest known ones, or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=3, cutoff=0.5)
    if close:  # the nearest, and what is about as near
        likeness = [difflib.SequenceMatcher(None, word, c).ratio() for c in close]
        close = [c for c, like in zip(close, likeness, strict=True) if like >= 0.7 * likeness[0]]
        return f"Did you mean {' or '.join(repr(c) for c in close)}?"
    return f"Known: {', '.join(names)}." if names else "None is installed."
