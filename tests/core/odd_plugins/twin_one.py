"""Another distribution has an entry point and a strategy of the same names."""

from isthmus import Needs, Strategy, hookimpl


class Odd(Strategy):
    name = "twin"
    family = "odd"
    needs = Needs(kinds=frozenset({"table"}))

    def _adapt(self, task, run):
        raise NotImplementedError


@hookimpl
def isthmus_strategies():
    return [Odd]
