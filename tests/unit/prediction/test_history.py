"""The history: what had been counted in each minute of a day, alike for all workers."""

import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from serving.prediction.history import SLOT_S, SLOTS, History
from tests.wire.disks import fill, make_room, small_disk

WIDTH = 3
NOON_S = 20_000 * 24 * 3600 + 12 * 3600  # of some day
DAY_S = 24 * 3600


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give where the workers keep it."""
    return tmp_path / "totals"


@pytest.fixture
def history(file: Path) -> Iterator[History]:
    """Give that of one worker."""
    history = History(file, WIDTH)
    yield history
    history.close()


def note(history: History, now_s: float, count: int) -> None:
    """Note that so much was counted in each bin."""
    history.note(now_s, np.full(WIDTH, count))


def before(history: History, time_s: float, now_s: float) -> tuple[int, list[int]]:
    """Give what had been counted."""
    totals = history.before(time_s, now_s)
    return totals.time_s, totals.counts.tolist()


def test_a_window_begins_with_the_last_minute_that_is_as_old(history: History) -> None:
    for minute in range(10):
        note(history, NOON_S + SLOT_S * minute + 5.9, minute)
    now_s = NOON_S + SLOT_S * 9 + 50
    assert before(history, NOON_S + SLOT_S * 4 + 5, now_s) == (NOON_S + SLOT_S * 4 + 5, [4] * WIDTH)
    assert before(history, NOON_S + SLOT_S * 4 + 4, now_s) == (NOON_S + SLOT_S * 3 + 5, [3] * WIDTH)


def test_a_window_that_is_longer_than_all_that_was_noted_begins_with_the_first(
    history: History,
) -> None:
    note(history, NOON_S, 7)
    note(history, NOON_S + SLOT_S, 8)
    assert before(history, NOON_S - 3600, NOON_S + 100) == (NOON_S, [7] * WIDTH)


def test_where_nothing_could_be_noted_nothing_had_been_counted(history: History) -> None:
    time_s, counts = before(history, NOON_S, NOON_S)
    assert counts == [0] * WIDTH
    assert time_s <= time.time()


def test_the_first_of_a_minute_is_kept(history: History) -> None:
    assert history.wants(NOON_S)
    note(history, NOON_S, 1)
    assert not history.wants(NOON_S + SLOT_S - 0.1)
    note(history, NOON_S + SLOT_S - 1, 2)
    assert history.wants(NOON_S + SLOT_S)
    assert before(history, NOON_S + SLOT_S, NOON_S + SLOT_S) == (NOON_S, [1] * WIDTH)


def test_a_day_ago_is_known_at_every_minute_and_the_file_does_not_grow(
    history: History, file: Path
) -> None:
    for minute in range(2 * SLOTS + 7):
        now_s = NOON_S + SLOT_S * minute
        note(history, now_s + minute % 60, minute)
        if minute >= SLOTS and minute % 100 == 7:
            time_s, counts = before(history, now_s + 59 - DAY_S, now_s + 59)
            assert (time_s // SLOT_S, counts) == (
                (now_s - DAY_S) // SLOT_S,
                [minute - 1440] * WIDTH,
            )
    assert file.stat().st_size == SLOTS * 8 * (1 + WIDTH)


def test_what_is_older_than_a_day_is_told_no_more(history: History) -> None:
    note(history, NOON_S, 1)
    later_s = NOON_S + 3 * DAY_S
    assert before(history, later_s - 60, later_s)[1] == [0] * WIDTH
    note(history, later_s, 5)
    assert before(history, later_s - DAY_S, later_s) == (later_s, [5] * WIDTH)


def test_a_clock_that_is_set_back_does_no_harm(history: History) -> None:
    for minute in range(10):
        note(history, NOON_S + SLOT_S * minute, minute)
    back_s = NOON_S - 3600
    note(history, back_s, 10)
    note(history, back_s + SLOT_S, 11)
    assert before(history, back_s + 30, back_s + SLOT_S) == (back_s, [10] * WIDTH)


def test_workers_with_one_file_tell_alike_and_one_that_comes_later_too(
    history: History, file: Path
) -> None:
    neighbour = History(file, WIDTH)
    note(history, NOON_S, 1)
    assert not neighbour.wants(NOON_S + 1)
    note(neighbour, NOON_S + 1, 2)
    note(neighbour, NOON_S + SLOT_S, 3)
    neighbour.close()
    successor = History(file, WIDTH)
    for each in (history, successor):
        assert before(each, NOON_S, NOON_S + 90) == (NOON_S, [1] * WIDTH)
        assert before(each, NOON_S + 90, NOON_S + 90) == (NOON_S + SLOT_S, [3] * WIDTH)
    successor.close()


def test_of_workers_that_note_at_once_one_does_and_is_read_whole(file: Path) -> None:
    width, minutes = 500, 40
    workers = [History(file, width) for _ in range(3)]
    start = threading.Barrier(len(workers) + 1)

    def work(worker: History, number: int) -> None:
        start.wait()
        for minute in range(minutes):
            worker.note(NOON_S + SLOT_S * minute, np.full(width, 10 * minute + number))

    threads = [
        threading.Thread(target=work, args=(worker, number))
        for number, worker in enumerate(workers)
    ]
    for thread in threads:
        thread.start()
    start.wait()
    while any(thread.is_alive() for thread in threads):
        _, counts = workers[0].before(NOON_S + DAY_S, NOON_S + SLOT_S * minutes)
        assert len(set(counts.tolist())) == 1
    for minute in range(minutes):
        time_s, counts = workers[1].before(NOON_S + SLOT_S * minute, NOON_S + SLOT_S * minutes)
        assert time_s == NOON_S + SLOT_S * minute
        assert set(counts.tolist()) < {10 * minute + number for number in range(3)}
    for worker in workers:
        worker.close()


def test_a_worker_without_others_needs_no_file() -> None:
    history = History(None, WIDTH)
    note(history, NOON_S, 4)
    assert before(history, NOON_S, NOON_S + 1) == (NOON_S, [4] * WIDTH)
    history.close()


def test_of_a_file_that_was_cut_off_the_whole_minutes_are_told(
    history: History, file: Path
) -> None:
    start_s = NOON_S // (SLOTS * SLOT_S) * SLOTS * SLOT_S  # where the ring begins
    for minute in range(3):
        note(history, start_s + SLOT_S * minute, minute)
    with file.open("r+b") as cut:
        cut.truncate(file.stat().st_size - 5)
    now_s = start_s + 3 * SLOT_S
    assert before(history, now_s, now_s) == (start_s + SLOT_S, [1] * WIDTH)
    note(history, now_s, 3)
    assert before(history, now_s, now_s) == (now_s, [3] * WIDTH)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_minute_that_can_be_written_in_part_alone_is_none(history: History) -> None:
    start_s = NOON_S // (SLOTS * SLOT_S) * SLOTS * SLOT_S
    note(history, start_s, 1)
    slot = 8 * (1 + WIDTH)
    for size in (slot, slot + 8, slot + 16, 2 * slot - 1):
        with files_of_at_most(size), pytest.raises(OSError, match=r"File too large|No space left"):
            note(history, start_s + SLOT_S, 2)
        now_s = start_s + SLOT_S
        assert before(history, now_s, now_s) == (start_s, [1] * WIDTH)
    note(history, start_s + SLOT_S, 2)
    assert before(history, now_s, now_s) == (now_s, [2] * WIDTH)


def test_a_full_disk_is_an_error_and_not_the_worker_s_end(tmp_path: Path) -> None:
    with small_disk(tmp_path, 2**20) as disk:
        history = History(disk / "totals", WIDTH)
        fill(disk)
        with pytest.raises(OSError, match="No space left on device"):
            note(history, NOON_S, 1)
        assert before(history, NOON_S, NOON_S)[1] == [0] * WIDTH
        make_room(disk)
        note(history, NOON_S, 1)
        assert before(history, NOON_S, NOON_S)[1] == [1] * WIDTH
        history.close()


def test_a_day_that_leaves_no_room_to_the_counters_is_refused_before_it_fills_it(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path, 2**22) as disk:
        for attempt in ("first", "second"):
            with pytest.raises(OSError, match=r"a day takes 3\.5 of the 4\.2 MB"):
                History(disk / attempt, 300)
        fits, neighbour = (History(disk / "fits", 200) for _ in range(2))
        for minute in range(SLOTS):
            fits.note(NOON_S + SLOT_S * minute, np.ones(200))
        later = History(disk / "fits", 200)  # what it has taken is its own
        for each in (fits, neighbour, later):
            each.close()
