"""Parts are scored by one process or by several: in order, whatever happens to a worker."""

import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from multiprocessing import active_children
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from serving.files.source import Part, TableError
from serving.scoring.workers import AHEAD, ScoringError, in_this_process, in_workers
from tests.server import ROOT, eventually
from tests.unit.scoring.parts import FakeWork, numbers, parts

WORKERS = 2


def until_it_fails(work: FakeWork, workers: int, given: Iterable[Part]) -> Iterator[object]:
    """Give the numbers of what is scored, and what ends it."""
    with in_workers(workers, work) if workers > 1 else in_this_process(work) as score:
        try:
            for part, _ in score(given):
                yield part.data
        except (TableError, ScoringError) as exc:
            yield str(exc)


def test_parts_come_in_order_and_few_are_read_ahead(tmp_path: Path) -> None:
    read: list[int] = []
    with in_workers(WORKERS, FakeWork({}, tmp_path)) as score:
        results = score(parts(40, read))
        next(results)
        assert len(read) <= AHEAD * WORKERS
        assert numbers(results) == list(range(1, 40))
        for count in (9, 0):  # by workers that are all ready
            assert numbers(score(parts(count))) == list(range(count))


@pytest.mark.parametrize("workers", [1, WORKERS])
def test_what_fails_has_its_turn(tmp_path: Path, workers: int) -> None:
    work = FakeWork({3: "damaged", 4: "fails"}, tmp_path)
    *scored, told = until_it_fails(work, workers, parts(6))
    assert (scored, told) == ([0, 1, 2], "the table is damaged")
    *scored, told = until_it_fails(FakeWork({2: "fails"}, tmp_path), workers, parts(6, None, 3))
    assert scored == [0, 1]
    assert told == "rows from 7 on can't be scored: FloatingPointError('no')"
    *scored, told = until_it_fails(FakeWork({}, tmp_path), workers, parts(6, None, 3))
    assert (scored, told) == ([0, 1, 2], "the file ends early")


def test_a_part_that_ends_its_worker_is_given_to_another_once(tmp_path: Path) -> None:
    with in_workers(WORKERS, FakeWork({2: "dies once"}, tmp_path)) as score:
        assert numbers(score(parts(5))) == list(range(5))
    *scored, told = until_it_fails(FakeWork({2: "dies"}, tmp_path), WORKERS, parts(5))
    assert scored == [0, 1]
    assert str(told).startswith("the worker that scored rows from 7 on was ended by SIGKILL, 2 ")


@pytest.mark.parametrize(
    ("what", "told"),
    [("dies", "a worker was ended by SIGKILL while it loaded the model"), ("fails", "no")],
)
def test_workers_that_can_t_begin_are_not_waited_for(tmp_path: Path, what: str, told: str) -> None:
    (failed,) = until_it_fails(FakeWork({-1: what}, tmp_path), WORKERS, parts(5))
    assert str(failed).startswith(told)


def test_no_worker_outlives_its_pool_though_a_model_hangs(tmp_path: Path) -> None:
    work = FakeWork({1: "hangs", 3: "dies once"}, tmp_path)
    with in_workers(WORKERS, work) as score:
        next(score(parts(4)))
        assert len(active_children()) == WORKERS
    assert active_children() == []


LEFT_ALONE = """
import os, signal, sys
from pathlib import Path
from serving.scoring.workers import in_workers
from tests.unit.scoring.parts import FakeWork, parts
folder = Path(sys.argv[1])
with in_workers(2, FakeWork({1: "hangs"}, folder)) as score:
    next(score(parts(4)))
    while not list(folder.iterdir()):
        pass
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_no_worker_outlives_who_has_started_it_though_a_model_hangs(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", LEFT_ALONE, str(tmp_path)], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    (hanging,) = tmp_path.iterdir()
    eventually("its end", lambda: not psutil.pid_exists(int(hanging.name)))
