"""Its hook offers a class of another kind."""

from isthmus import hookimpl


@hookimpl
def isthmus_strategies():
    return [dict]
