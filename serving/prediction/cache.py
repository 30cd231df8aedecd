"""Predictions for identical inputs: kept for a while, and computed once for all who ask meanwhile.

Asked by the predictor before the batcher. A cache belongs to one loaded version of a model and ends
with it, so that no answer outlives the version that gave it. What fails is never kept.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from hashlib import blake2b
from typing import TypeAlias

import orjson
from cachetools import TTLCache

from serving.model.features import Row
from serving.model.outputs import Prediction


class Lookup(StrEnum):
    """How a prediction was come by; the value is what logs and metrics call it."""

    HIT = "hit"
    MISS = "miss"
    COLLAPSED = "collapsed"


# A prediction under way, as a list of one, and what to call when nobody waits for it any more.
Begun: TypeAlias = tuple[asyncio.Future[list[Prediction]], Callable[[], None]]


@dataclass(slots=True, eq=False)
class _Computation:
    """What is under way for a key, and who waits for it."""

    future: asyncio.Future[list[Prediction]]
    leave: Callable[[], None]
    waiters: list[asyncio.Future[Prediction]] = field(default_factory=list)


class PredictionCache:
    """Keeps the predictions asked for last, for a limited time; for one event loop."""

    def __init__(
        self, max_entries: int, ttl_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start empty."""
        self._kept: TTLCache[bytes, Prediction] = TTLCache(max_entries, ttl_s, timer=clock)
        self._under_way: dict[bytes, _Computation] = {}

    async def get(
        self, row: Row, begin: Callable[[Row], Begun], observe: Callable[[Lookup], None]
    ) -> Prediction:
        """Give the prediction for a row; ``observe`` is told first how it is come by.

        Who asks for what is under way gets the same prediction, or the same exception. It goes on
        as long as anybody waits for it.

        Raises:
            Exception: what ``begin`` raised, or what its future has.
        """
        key = _key(row)
        if (kept := self._kept.get(key)) is not None:
            observe(Lookup.HIT)
            return kept
        computation = self._under_way.get(key)
        observe(Lookup.MISS if computation is None else Lookup.COLLAPSED)
        if computation is None:
            computation = self._under_way[key] = _Computation(*begin(row))
            computation.future.add_done_callback(partial(self._ended, key, computation))
        waiter: asyncio.Future[Prediction] = computation.future.get_loop().create_future()
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
        self, key: bytes, computation: _Computation, future: asyncio.Future[list[Prediction]]
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
            self._kept[key] = prediction
            for waiter in waiters:
                waiter.set_result(prediction)


def _key(row: Row) -> bytes:
    """Give what stands for a row: as long for a long text as for a number.

    Unlike equality of rows, it tells -0.0 from 0.0, and 1 from True.
    """
    return blake2b(orjson.dumps(row), digest_size=32).digest()
