"""Its strategy does not say what it needs."""

from isthmus import Strategy, hookimpl


class Odd(Strategy):
    name = "odd-no-needs"
    family = "odd"

    def _adapt(self, task, run):
        raise NotImplementedError


@hookimpl
def isthmus_strategies():
    return [Odd]
