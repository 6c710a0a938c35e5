"""Its hook is a generator that raises after the first class."""

from isthmus import Needs, Strategy, hookimpl


class Odd(Strategy):
    name = "odd-half-way"
    family = "odd"
    needs = Needs(kinds=frozenset({"table"}))

    def _adapt(self, task, run):
        raise NotImplementedError


@hookimpl
def isthmus_strategies():
    yield Odd
    raise OSError("disk gone half way")
