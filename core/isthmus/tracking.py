"""Where the losses of an adaptation can be watched, beside its own ``log.jsonl``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from isthmus.errors import BadInput, IsthmusError

Log: TypeAlias = Callable[[int, Mapping[str, float]], None]


class Tracker(ABC):
    """Shows one adaptation elsewhere while it runs."""

    name: ClassVar[str]
    summary: ClassVar[str]

    @abstractmethod
    def begin(self, out: Path, where: str | None, record: Mapping[str, Any]) -> None:
        """Open what shows the adaptation that is written to ``out``.

        ``where`` is what the user said after ``--track NAME=``; ``record`` (JSON values) is what is
        adapted to what and how. Raise ProviderUnavailable where a package is missing.
        """

    @abstractmethod
    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take the losses of one training step."""

    @abstractmethod
    def end(self, result: Mapping[str, Any] | None) -> None:
        """Close. ``result`` (JSON values) has seconds and diagnostics, and is None on failure."""


class Tracking:
    """Several trackers as one; what one raises in the midst of a run ends that one alone."""

    def __init__(self, trackers: Sequence[Tracker], say: Callable[[str], None]) -> None:
        self.trackers, self.say = [*trackers], say
        self.result: Mapping[str, Any] | None = None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._each(lambda t: t.log(step, values))

    def end(self) -> None:
        self._each(lambda t: t.end(self.result))

    def _each(self, do: Callable[[Tracker], None]) -> None:
        for tracker in [*self.trackers]:
            try:
                do(tracker)
            except Exception as error:  # a server that is gone must not cost the training
                self.trackers.remove(tracker)
                self.say(f"{tracker.name} stopped following: {type(error).__name__}: {error}")


@contextmanager
def tracking(
    wanted: Sequence[tuple[Tracker, str | None]],
    out: Path,
    record: Mapping[str, Any],
    say: Callable[[str], None],
) -> Iterator[Tracking]:
    """Begin all trackers; end them when the block does, with the ``result`` it has set."""
    begun: list[Tracker] = []
    both = Tracking(begun, say)
    try:
        for tracker, where in wanted:
            try:
                tracker.begin(out, where, record)
            except IsthmusError:
                raise
            except Exception as error:
                said = str(error).strip().partition("\n")[0]
                raise BadInput(f"--track {tracker.name} cannot begin: {said}") from error
            both.trackers.append(tracker)
        yield both
    finally:
        both.end()
