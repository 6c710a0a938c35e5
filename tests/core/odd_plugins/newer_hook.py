"""It also serves a hook of some later isthmus, marked as optional: fine."""

from isthmus import Needs, Strategy, hookimpl


class Odd(Strategy):
    name = "odd-newer-hook"
    family = "odd"
    needs = Needs(kinds=frozenset({"table"}))

    def _adapt(self, task, run):
        raise NotImplementedError


@hookimpl
def isthmus_strategies():
    return [Odd]


@hookimpl(optionalhook=True)
def isthmus_teleport(where):
    return where
