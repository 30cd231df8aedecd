"""What the stories of this wing share: loops to tell them in, a batcher before a slow model."""

import asyncio
import functools
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeAlias

from serving.prediction.batching import Batcher
from serving.problems import OVERLOADED, Problem

PATIENCE_S = 30  # for what another thread does; only a failing test waits so long

P = ParamSpec("P")
Run: TypeAlias = Callable[[list[int]], Sequence[int | None]]
Task: TypeAlias = "asyncio.Task[list[int]]"


class StillLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock moves only when it is moved."""

    now_s = 1000.0

    def time(self) -> float:
        """Tell the time in seconds."""
        return self.now_s


def story(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test in an event loop; one that hangs fails."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), PATIENCE_S))

    return run


def still_story(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test in an event loop whose clock stands still."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=StillLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


async def turns(count: int = 5) -> None:
    """Let the event loop run what is due."""
    for _ in range(count):
        await asyncio.sleep(0)


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, "never seen"
        time.sleep(0.001)


def double(items: list[int]) -> list[int | None]:
    """Double numbers."""
    return [2 * item for item in items]


def shy(items: list[int]) -> list[int | None]:
    """Double numbers; of several, the odd ones want to be alone."""
    return [None if item % 2 and len(items) > 1 else 2 * item for item in items]


POISON = 13


def fussy(items: list[int]) -> list[int | None]:
    """Double numbers, or raise when the poisonous one is among them."""
    if POISON in items:
        raise ArithmeticError("poison")
    return double(items)


class Desk:
    """A batcher, and the model behind it: each batch waits at a gate until it is let through.

    On a `StillLoop` it takes ``batch_s`` for each batch, and ``item_s`` for each item of it.
    """

    def __init__(
        self,
        run: Run = double,
        *,
        is_open: bool = False,
        batch_s: float = 0.0,
        item_s: float = 0.0,
        max_items: int = 10,
        max_waiting_items: int = 10_000,
        patience_s: float = 600.0,
        at_once: Run | None = None,
        max_at_once: int = 0,
    ) -> None:
        """Close the gate, or leave it open for good."""
        self.batch_s, self.item_s = batch_s, item_s
        self.batches: list[list[int]] = []
        self.threads: set[threading.Thread] = set()
        self.observed: list[tuple[int, int]] = []  # how many items start, how many wait
        self._loop = asyncio.get_running_loop()
        self._run = run
        self._is_open = is_open
        self._arrived = threading.Semaphore(0)
        self._gate = threading.Semaphore(0)
        self.batcher: Batcher[int, int] = Batcher(
            self._at_the_gate,
            lambda started, waiting: self.observed.append((started, waiting)),
            max_items=max_items,
            max_waiting_items=max_waiting_items,
            patience_s=patience_s,
            run_at_once=at_once,
            max_at_once=max_at_once,
        )

    def _at_the_gate(self, items: list[int]) -> Sequence[int | None]:
        self.batches.append(items)
        self.threads.add(threading.current_thread())
        self._arrived.release()
        if not self._is_open:
            assert self._gate.acquire(timeout=PATIENCE_S)
        results = self._run(items)
        if isinstance(self._loop, StillLoop):
            self._loop.now_s += self.batch_s + self.item_s * len(items)
        return results

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the thread end, wherever it stands."""
        self.let_through(10_000)
        self.batcher.close()

    async def busy(self) -> None:
        """Wait until one more batch stands at the gate."""
        assert await asyncio.to_thread(self._arrived.acquire, timeout=PATIENCE_S)

    def let_through(self, count: int = 1) -> None:
        """Let so many batches pass."""
        self._gate.release(count)

    async def pass_on(self) -> None:
        """Let the batch pass that stands at the gate, and wait for the next one."""
        self.let_through()
        await self.busy()

    def submit(self, *items: int) -> Task:
        """Ask without waiting."""
        return asyncio.create_task(self.batcher.submit(list(items)))

    async def hold(self, *items: int) -> Task:
        """Keep the idle model busy with these items, or with a 0."""
        task = self.submit(*items or (0,))
        await self.busy()
        return task

    async def accepted(self, *items: int) -> Task:
        """Ask for what must wait."""
        task = self.submit(*items)
        await turns(1)
        assert not task.done(), task.exception()
        return task

    async def refused(self, *items: int) -> Problem:
        """Ask for what must be refused at once."""
        task = self.submit(*items)
        await turns(1)
        assert task.done(), "it waits"
        problem = task.exception()
        assert isinstance(problem, Problem), problem
        assert problem.kind is OVERLOADED
        return problem

    async def answered(self, *tasks: Task) -> list[list[int]]:
        """Let all batches pass, and give the answers."""
        self.let_through(10_000)
        return await asyncio.gather(*tasks)

    async def become_known(self) -> None:
        """Run a batch of one item and one of two, so that it is known what an item takes."""
        held = await self.hold()
        jobs = [self.submit(0), self.submit(0)]
        await turns()
        self.let_through()
        await self.pass_on()
        await asyncio.gather(held, *jobs)
