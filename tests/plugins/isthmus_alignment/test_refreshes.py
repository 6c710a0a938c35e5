from __future__ import annotations

import pytest

from isthmus_alignment.refreshes import Refreshes


@pytest.mark.parametrize(("times", "wanted"), [(1, [0]), (3, [0, 4, 8]), (5, [0, 3, 5, 8, 10])])
def test_they_come_evenly_and_first_at_the_start(times: int, wanted: list[int]) -> None:
    refreshes = Refreshes(times)
    assert [i for i in range(12) if refreshes.due(i / 12)] == wanted


def test_more_than_there_are_steps_come_at_every_step() -> None:
    refreshes = Refreshes(9)
    assert all(refreshes.due(i / 4) for i in range(4))


def test_a_resumed_run_goes_on_with_those_that_remain() -> None:
    first, again = Refreshes(3), Refreshes(3)
    taken = [i for i in range(6) if first.due(i / 12)]
    again.load_state_dict(first.state_dict())
    assert taken + [i for i in range(6, 12) if again.due(i / 12)] == [0, 4, 8]
