"""Its strategy's name could not be typed on a command line."""

from isthmus import Needs, Strategy, hookimpl


class Odd(Strategy):
    name = "Odd Strategy"
    family = "odd"
    needs = Needs(kinds=frozenset({"table"}))

    def _adapt(self, task, run):
        raise NotImplementedError


@hookimpl
def isthmus_strategies():
    return [Odd]
