"""It gives two classes one name."""

from isthmus import Needs, Strategy, hookimpl


class Odd(Strategy):
    name = "odd-name-twice"
    family = "odd"
    needs = Needs(kinds=frozenset({"table"}))

    def _adapt(self, task, run):
        raise NotImplementedError


class Other(Odd):
    pass


@hookimpl
def isthmus_strategies():
    return [Odd, Other]
