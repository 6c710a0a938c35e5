"""Its strategy has no name."""

from isthmus import Needs, Strategy, hookimpl


class Odd(Strategy):
    family = "odd"
    needs = Needs(kinds=frozenset({"table"}))

    def _adapt(self, task, run):
        raise NotImplementedError


@hookimpl
def isthmus_strategies():
    return [Odd]
