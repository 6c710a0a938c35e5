"""One distribution whose two plugins give one name to different classes."""

from isthmus import Needs, Strategy, hookimpl


class Odd(Strategy):
    name = "odd-self-clash"
    family = "odd"
    needs = Needs(kinds=frozenset({"table"}))

    def _adapt(self, task, run):
        raise NotImplementedError


class Other(Odd):
    pass


class Left:
    @hookimpl
    def isthmus_strategies(self):
        return [Odd]


class Right:
    @hookimpl
    def isthmus_strategies(self):
        return [Other]
