"""Who scores the parts: this process, or workers of its own; the order is that of the file.

A worker has one part at a time, so that it is known which one ends it: that part is given to
another worker once. Parts are read ahead only so far as keeps workers busy.
"""

import fcntl
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from serving.files.source import Part, TableError
from serving.scoring.parts import Done

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

AHEAD = 2  # parts for each worker that are read, or done, before their turn
TRIES = 2  # of a part that ends its worker


class ScoringError(Exception):
    """The table can't be scored; the message says why, and what to do."""


class Work(Protocol):
    """What it takes to score parts, in a process that has nothing yet: it can be pickled."""

    def begin(self) -> Callable[[Part], Done]:
        """Give what scores a part, or raise why there is nothing that could."""


class _Task(NamedTuple):
    number: int
    part: Part
    tries: int = 1


Outcome = Done | Exception
Results = Iterator[tuple[Part, Done]]
Score = Callable[[Iterable[Part]], Results]


@contextmanager
def in_this_process(work: Work) -> Iterator[Score]:
    """Give what scores parts one by one, in this process."""
    score = work.begin()
    yield lambda parts: ((part, _raised(_tried(score, part))) for part in parts)


@contextmanager
def in_workers(count: int, work: Work) -> Iterator[Score]:
    """Give what scores parts in so many processes, which end with the context."""
    pool = _Pool(count, work)
    try:
        yield pool.run
    finally:
        pool.kill()


class _Worker:
    """A process, and what it has to do."""

    def __init__(self, work: Work) -> None:
        """Start it."""
        # Not forked of this process: what libraries have running in threads would be missing, or
        # locked. Of a server, which has imported much and runs nothing, it takes no time.
        context = multiprocessing.get_context("forkserver")
        self.line, its_end = context.Pipe()
        self.process: ForkServerProcess = context.Process(
            target=_work, args=(its_end, work), name="scoring", daemon=True
        )
        self.process.start()
        its_end.close()
        self.is_ready = False
        self.task: _Task | None = None

    def give(self, task: _Task) -> None:
        """Give it a part; that it is gone is seen when its answer is read."""
        self.task = task
        with suppress(OSError):
            self.line.send(task.part)

    def kill(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.join()
        self.line.close()


class _Pool:
    """Hands parts to workers, and gives what becomes of them in order."""

    def __init__(self, count: int, work: Work) -> None:
        self._work = work
        self._workers = [_Worker(work) for _ in range(count)]
        self._waiting: deque[_Task] = deque()
        self._outcomes: dict[int, tuple[Part | None, Outcome]] = {}

    def run(self, parts: Iterable[Part]) -> Results:
        """Score all parts."""
        tasks, given, is_read = self._read(parts), 0, False
        while True:
            self._give()  # before anything else, so that who is done need not wait
            if not is_read and self._ahead() < AHEAD * len(self._workers):
                task = next(tasks, None)
                is_read = task is None
                if task is not None:
                    self._waiting.append(task)
                self._listen(timeout_s=0)
            elif given in self._outcomes:
                part, outcome = self._outcomes.pop(given)
                done = _raised(outcome)
                assert part is not None  # noqa: S101 (what can't be read is raised)
                given += 1
                yield part, done
                self._listen(timeout_s=0)
            elif is_read and not self._ahead():
                return
            else:
                self._listen()

    def _give(self) -> None:
        for worker in self._workers:
            if worker.is_ready and worker.task is None and self._waiting:
                worker.give(self._waiting.popleft())

    def kill(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.kill()

    def _ahead(self) -> int:
        busy = sum(worker.task is not None for worker in self._workers)
        return len(self._waiting) + busy + len(self._outcomes)

    def _read(self, parts: Iterable[Part]) -> Iterator[_Task]:
        """Number the parts; that there are no more to be read has its turn, too."""
        number = 0
        try:
            for part in parts:
                yield _Task(number, part)
                number += 1
        except (TableError, OSError) as exc:
            self._outcomes[number] = (None, exc)

    def _listen(self, timeout_s: float | None = None) -> None:
        """Take what workers say, when the first of them says something."""
        talking = [each for each in self._workers if each.task is not None or not each.is_ready]
        by_line: dict[Any, _Worker] = {worker.line: worker for worker in talking}
        for line in wait(list(by_line), timeout_s):
            self._hear(by_line[line])

    def _hear(self, worker: _Worker) -> None:
        try:
            outcome = worker.line.recv()
        except (EOFError, OSError):
            self._lost(worker)
            return
        if not worker.is_ready:
            _raised(outcome)
            worker.is_ready = True
            return
        task = worker.task
        assert task is not None  # noqa: S101 (it says nothing unasked)
        self._outcomes[task.number], worker.task = (task.part, outcome), None

    def _lost(self, worker: _Worker) -> None:
        """Start another in its place, and give that its part, or end with it.

        Raises:
            ScoringError: it has ended before it could do anything.
        """
        worker.process.join()
        how, task = _ended(worker.process.exitcode), worker.task
        if task is None:
            raise ScoringError(f"a worker {how} while it loaded the model: {_ADVICE}")
        worker.kill()
        self._workers[self._workers.index(worker)] = _Worker(self._work)
        if task.tries < TRIES:
            self._waiting.appendleft(task._replace(tries=task.tries + 1))
            return
        told = f"the worker that scored rows from {task.part.row:,} on {how}, {TRIES} times"
        self._outcomes[task.number] = (task.part, ScoringError(f"{told}: {_ADVICE}"))


_ADVICE = "there may be too little memory, of which fewer --workers need less"


def _work(line: Connection, work: Work) -> None:
    """Score what comes, until nobody is there any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who has started it ends it
    _end_with_parent()
    with suppress(EOFError, OSError):
        try:
            score = work.begin()
        except Exception as exc:
            line.send(_sendable(exc))
            return
        line.send(None)
        while True:
            line.send(_tried(score, line.recv()))


def _end_with_parent() -> None:
    """Let the system end this process with that which has started it, whatever it does then.

    A model that hangs would not see that it is alone; and its parent by the system's reckoning, of
    which it was forked, lives as long as it does.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 (this is a worker)
    pipe = parent.sentinel  # nothing comes through it but its end, which is a signal from now on
    fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    if wait([pipe], 0):  # it has ended before
        os._exit(1)


def _tried(score: Callable[[Part], Done], part: Part) -> Outcome:
    try:
        return score(part)
    except (TableError, MemoryError) as exc:
        return _sendable(exc)
    except Exception as exc:
        return ScoringError(f"rows from {part.row:,} on can't be scored: {exc!r}")


def _sendable(exc: Exception) -> Exception:
    """Give an exception that arrives whole, whatever the other one's class takes."""
    return exc if isinstance(exc, TableError) else ScoringError(str(exc) or repr(exc))


def _raised(outcome: Any) -> Any:  # noqa: ANN401 (whatever is no exception)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _ended(code: int | None) -> str:
    """Tell how a process has ended."""
    if code is not None and code < 0:
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
    return f"has ended with code {code}"
