"""Its hook raises."""

from isthmus import hookimpl


@hookimpl
def isthmus_strategies():
    raise ValueError("broken inside\nand a second line")
