"""One module behind two entry points: redundant, and fine."""

from isthmus import Needs, Strategy, hookimpl


class Odd(Strategy):
    name = "odd-same-class"
    family = "odd"
    needs = Needs(kinds=frozenset({"table"}))

    def _adapt(self, task, run):
        raise NotImplementedError


@hookimpl
def isthmus_strategies():
    return [Odd]
