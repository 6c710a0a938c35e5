"""It talks at import, and leaves a mark where a test asks for it: fine."""

import os
import sys
from pathlib import Path

from isthmus import Needs, Strategy, hookimpl

print("hello from a plugin")
print("a warning from a plugin", file=sys.stderr)
if mark := os.environ.get("ODD_MARK"):
    Path(mark).touch()


class Odd(Strategy):
    name = "odd-chatty"
    family = "odd"
    needs = Needs(kinds=frozenset({"table"}))

    def _adapt(self, task, run):
        raise NotImplementedError


@hookimpl
def isthmus_strategies():
    print("asked for strategies")
    return [Odd]
