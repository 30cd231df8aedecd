"""Rows that wait for a shadow: of as many requests as the share says, and within bounds."""

from itertools import chain
from typing import Any

import pytest

from serving.model.features import Row
from serving.model.outputs import Prediction
from serving.prediction.waiting import MAX_WAITING_ROWS, Waiting
from serving.telemetry import Predicted

HAM = Prediction("ham", [0.75, 0.25])
TOLD = ("ham", [0.75, 0.25], None)


def event(rows: list[Row], request_id: str = "id-1") -> Predicted:
    """Tell that rows were answered."""
    return Predicted(request_id, None, rows, [HAM] * len(rows))


def numbered(count: int, first: int = 0) -> list[Row]:
    return [(number,) for number in range(first, first + count)]


def all_of(waiting: Waiting, room: int = 100) -> list[list[Any]]:
    frames = []
    while frame := waiting.frame(room):
        frames.append(frame)
    return frames


def test_rows_come_in_frames_with_their_places_in_requests_and_what_was_answered() -> None:
    waiting = Waiting(100)
    waiting.take(event(numbered(2), "a"))
    waiting.take(event([], "nothing"))
    waiting.take(event(numbered(4, first=2), "b"))
    assert waiting.rows == 6
    assert all_of(waiting, 3) == [
        [("a", [0, 1], numbered(2), [TOLD] * 2), ("b", [0], numbered(1, first=2), [TOLD])],
        [("b", [1, 2, 3], numbered(3, first=3), [TOLD] * 3)],
    ]
    assert waiting.rows == waiting.dropped() == 0


def test_rows_that_are_not_all_of_a_request_keep_their_numbers() -> None:
    waiting = Waiting(100)
    waiting.take(event(numbered(3))._replace(numbers=[4, 7, 8]))
    assert [part[1] for frame in all_of(waiting, 2) for part in frame] == [[4, 7], [8]]


def test_what_finds_no_room_is_dropped_and_told_once() -> None:
    waiting = Waiting(100)
    waiting.take(event(numbered(MAX_WAITING_ROWS - 1)))
    waiting.take(event(numbered(3, first=MAX_WAITING_ROWS - 1)))
    waiting.take(event(numbered(1)))
    assert waiting.dropped() == 3
    assert waiting.dropped() == 0
    rows = chain.from_iterable(part[2] for frame in all_of(waiting) for part in frame)
    assert list(rows) == numbered(MAX_WAITING_ROWS)
    waiting.take(event(numbered(1)))
    assert waiting.rows == 1


def test_what_waits_at_the_end_is_dropped_and_what_comes_later_was_never_chosen() -> None:
    waiting = Waiting(100)
    waiting.take(event(numbered(5)))
    waiting.frame(2)
    waiting.close()
    waiting.take(event(numbered(7)))
    assert waiting.dropped() == 3
    assert waiting.frame(100) == []


@pytest.mark.parametrize("share", [100, 99.9, 75, 50, 33.3, 10, 1])
def test_as_many_requests_are_taken_as_the_share_says_at_any_time(share: float) -> None:
    waiting = Waiting(share)
    taken = 0
    for asked in range(1, 2001):
        waiting.take(event(numbered(1)))
        taken += len(waiting.frame(1))
        assert abs(taken - asked * share / 100) <= 1
    assert share != 100 or taken == 2000


def test_another_share_is_heeded_from_then_on() -> None:
    waiting = Waiting(1)
    waiting.choose(100)
    for _ in range(10):
        waiting.take(event(numbered(1)))
    assert waiting.rows == 10


def test_of_requests_in_a_rhythm_none_are_left_out() -> None:
    waiting = Waiting(50)
    for number in range(2000):  # two clients in turns
        waiting.take(event(numbered(1, first=number % 2)))
        waiting.frame(1) if number < 1000 else None
    rows = list(chain.from_iterable(part[2] for frame in all_of(waiting) for part in frame))
    assert 100 < rows.count((0,)) < 400
