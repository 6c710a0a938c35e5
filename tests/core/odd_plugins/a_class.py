"""Its entry point is a class: unusual, and fine."""

from isthmus import Needs, Strategy, hookimpl


class Odd(Strategy):
    name = "odd-a-class"
    family = "odd"
    needs = Needs(kinds=frozenset({"table"}))

    def _adapt(self, task, run):
        raise NotImplementedError


class Plugin:
    @hookimpl
    def isthmus_strategies(self):
        return [Odd]
