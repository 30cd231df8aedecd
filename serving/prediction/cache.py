"""Predictions for identical inputs: kept for a while, and computed once for all who ask meanwhile.

What is kept of predictions that were explained is kept apart, and counts as more of them.

Asked by the predictor before the batcher. A cache belongs to one loaded version of a model and ends
with it, so that no answer outlives the version that gave it. What fails is never kept.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from hashlib import blake2b
from typing import Any, TypeAlias, TypeVar

import orjson
from cachetools import TTLCache

from serving.model.features import Row
from serving.model.outputs import Prediction
from serving.prediction.explaining import Attributed


class Lookup(StrEnum):
    """How a prediction was come by; the value is what logs and metrics call it."""

    HIT = "hit"
    MISS = "miss"
    COLLAPSED = "collapsed"


Kept = TypeVar("Kept", Prediction, Attributed)
# A prediction under way, as a list of one, and what to call when nobody waits for it any more.
Begun: TypeAlias = tuple[asyncio.Future[list[Kept]], Callable[[], object]]


@dataclass(slots=True, eq=False)
class _Computation:
    """What is under way for a key, and who waits for it."""

    future: asyncio.Future[list[Any]]
    leave: Callable[[], object]
    waiters: list[asyncio.Future[Any]] = field(default_factory=list)


class PredictionCache:
    """Keeps the predictions asked for last, for a limited time; for one event loop."""

    def __init__(
        self, max_entries: int, ttl_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start empty."""
        self._kept: TTLCache[bytes, Any] = TTLCache(max_entries, ttl_s, clock, _entries)
        self._under_way: dict[bytes, _Computation] = {}

    async def get(
        self,
        row: Row,
        begin: Callable[[Row], Begun[Kept]],
        observe: Callable[[Lookup], object],
        apart: str = "",
    ) -> Kept:
        """Give the prediction for a row; ``observe`` is told first how it is come by.

        Who asks for what is under way gets the same prediction, or the same exception. It goes on
        as long as anybody waits for it. What is kept ``apart`` has a name for what it is.

        Raises:
            Exception: what ``begin`` raised, or what its future has.
        """
        key = _key(row, apart)
        if (kept := self._kept.get(key)) is not None:
            observe(Lookup.HIT)
            return kept  # type: ignore[no-any-return]
        computation = self._under_way.get(key)
        observe(Lookup.MISS if computation is None else Lookup.COLLAPSED)
        if computation is None:
            computation = self._under_way[key] = _Computation(*begin(row))
            computation.future.add_done_callback(partial(self._ended, key, computation))
        waiter: asyncio.Future[Kept] = computation.future.get_loop().create_future()
        computation.waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            computation.waiters.remove(waiter)
            if not computation.waiters and not computation.future.done():
                del self._under_way[key]  # nobody may join what ends now
                computation.leave()
            raise

    def _ended(
        self, key: bytes, computation: _Computation, future: asyncio.Future[list[Any]]
    ) -> None:
        """Keep what was computed, and give it to all who wait."""
        if self._under_way.get(key) is computation:
            del self._under_way[key]
        waiters = [waiter for waiter in computation.waiters if not waiter.done()]
        if future.cancelled():
            for waiter in waiters:
                waiter.cancel()
        elif exc := future.exception():
            for waiter in waiters:
                waiter.set_exception(exc)
        else:
            (prediction,) = future.result()
            if not _has_failed(prediction):
                with suppress(ValueError):  # it counts as more than there is room for
                    self._kept[key] = prediction
            for waiter in waiters:
                waiter.set_result(prediction)


def _key(row: Row, apart: str) -> bytes:
    """Give what stands for a row: as long for a long text as for a number.

    Unlike equality of rows, it tells -0.0 from 0.0, and 1 from True.
    """
    return blake2b(orjson.dumps(row) + apart.encode(), digest_size=32).digest()


def _has_failed(computed: Prediction | Attributed) -> bool:
    return isinstance(computed, Attributed) and computed.attribution is None


def _entries(kept: Prediction | Attributed) -> int:
    return kept.entries if isinstance(kept, Attributed) else 1
