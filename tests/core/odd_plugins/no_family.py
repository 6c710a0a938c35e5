"""Its strategy belongs to no family."""

from isthmus import Needs, Strategy, hookimpl


class Odd(Strategy):
    name = "odd-no-family"
    needs = Needs(kinds=frozenset({"table"}))

    def _adapt(self, task, run):
        raise NotImplementedError


@hookimpl
def isthmus_strategies():
    return [Odd]
