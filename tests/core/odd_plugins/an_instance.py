"""Its hook offers an instance where a class is meant."""

from isthmus import Needs, Strategy, hookimpl


class Odd(Strategy):
    name = "odd-an-instance"
    family = "odd"
    needs = Needs(kinds=frozenset({"table"}))

    def _adapt(self, task, run):
        raise NotImplementedError


@hookimpl
def isthmus_strategies():
    return [Odd()]
