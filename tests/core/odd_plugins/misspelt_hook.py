"""Its hook does not exist."""

from isthmus import hookimpl


@hookimpl
def isthmus_stratgies():
    return []
