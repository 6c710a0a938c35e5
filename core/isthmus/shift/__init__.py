"""What kind of shift lies between two domains, how large, who carries it, and what suits it."""

from isthmus.shift.findings import Shift
from isthmus.shift.inspection import inspect_shift

__all__ = ["Shift", "inspect_shift"]
