"""Its hook forgot to return."""

from isthmus import hookimpl


@hookimpl
def isthmus_strategies():
    pass
