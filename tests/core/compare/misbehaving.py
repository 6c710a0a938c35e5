"""A plugin of a study, in a file beside it: strategies that take their worker down."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from isthmus import Needs, Strategy, hookimpl
from isthmus.learners.neural import fit_learner


@dataclass(frozen=True, kw_only=True)
class Sound(Strategy):
    """Learns from the source; ``log`` counts how often it was run."""

    name: ClassVar[str] = "sound"
    family: ClassVar[str] = "misbehaving"
    needs: ClassVar[Needs] = Needs(kinds=frozenset({"table"}), sources="any")

    log: str = ""
    step: float = 0.0
    wait: float = 0.0

    def _adapt(self, task, run):
        if self.log:
            with Path(self.log).open("a") as f:
                f.write(f"{run.seed} {self.step}\n")
        time.sleep(self.wait)
        return fit_learner(None, task, run)


@dataclass(frozen=True, kw_only=True)
class Dies(Strategy):
    name: ClassVar[str] = "dies"
    family: ClassVar[str] = "misbehaving"
    needs: ClassVar[Needs] = Sound.needs

    def _adapt(self, task, run):
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, kw_only=True)
class Hangs(Strategy):
    name: ClassVar[str] = "hangs"
    family: ClassVar[str] = "misbehaving"
    needs: ClassVar[Needs] = Sound.needs

    def _adapt(self, task, run):
        while True:
            time.sleep(1)


@dataclass(frozen=True, kw_only=True)
class Hungry(Strategy):
    """Asks for more memory than a worker may hold."""

    name: ClassVar[str] = "hungry"
    family: ClassVar[str] = "misbehaving"
    needs: ClassVar[Needs] = Sound.needs

    gigabytes: float = 12.0

    def _adapt(self, task, run):
        held = np.ones(int(self.gigabytes * 1e9), np.uint8)
        return held.sum()


@hookimpl
def isthmus_strategies():
    return [Sound, Dies, Hangs, Hungry]
