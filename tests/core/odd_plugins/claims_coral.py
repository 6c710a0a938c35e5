"""It claims the name of a built-in."""

from isthmus import Needs, Strategy, hookimpl


class Odd(Strategy):
    name = "coral"
    family = "odd"
    needs = Needs(kinds=frozenset({"table"}))

    def _adapt(self, task, run):
        raise NotImplementedError


@hookimpl
def isthmus_strategies():
    return [Odd]
