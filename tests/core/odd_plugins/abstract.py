"""Its strategy does not say how it adapts."""

from isthmus import Needs, Strategy, hookimpl


class Odd(Strategy):
    name = "odd-abstract"
    family = "odd"
    needs = Needs(kinds=frozenset({"table"}))


@hookimpl
def isthmus_strategies():
    return [Odd]
