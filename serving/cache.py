"""Predictions for identical inputs: kept for a while, and computed once for all who ask meanwhile.

Asked by the predictor before the batcher. A cache belongs to one loaded version of a model and ends
with it, so that no answer outlives the version that gave it. What fails is never kept.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from enum import StrEnum

import orjson
from cachetools import TTLCache

from serving.answers import Prediction
from serving.values import Row


class Lookup(StrEnum):
    """How a prediction was come by; the value is what logs and metrics call it."""

    HIT = "hit"
    MISS = "miss"
    COLLAPSED = "collapsed"

    @property
    def cache_status(self) -> bytes:
        """The Cache-Status header (RFC 9211) of the answer."""
        return _CACHE_STATUS[self]


_CACHE_STATUS = {
    Lookup.HIT: b"model-api; hit",
    Lookup.MISS: b"model-api; fwd=miss; stored",
    Lookup.COLLAPSED: b"model-api; fwd=miss; collapsed",
}


class PredictionCache:
    """Keeps the predictions asked for last, for a limited time; for one event loop."""

    def __init__(
        self, max_entries: int, ttl_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start empty."""
        self._kept: TTLCache[bytes, Prediction] = TTLCache(max_entries, ttl_s, timer=clock)
        self._under_way: dict[bytes, asyncio.Future[Prediction]] = {}

    async def get(
        self, row: Row, compute: Callable[[Row], Awaitable[Prediction]]
    ) -> tuple[Prediction, Lookup]:
        """Give the prediction for a row, and how it was come by.

        Whoever asks first computes; who asks for the same meanwhile gets the same, or the same
        exception. When the first one leaves without either, the next computes.

        Raises:
            Exception: what ``compute`` raised.
        """
        key = orjson.dumps(row)  # unlike equality of rows, it tells -0.0 from 0.0, and 1 from True
        while True:
            if (kept := self._kept.get(key)) is not None:
                return kept, Lookup.HIT
            under_way = self._under_way.get(key)
            if under_way is None:
                return await self._first(key, compute(row)), Lookup.MISS
            try:
                return await asyncio.shield(under_way), Lookup.COLLAPSED
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():  # it is this one who leaves
                    raise

    async def _first(self, key: bytes, computation: Awaitable[Prediction]) -> Prediction:
        """Compute, keep, and let the others know."""
        future = self._under_way[key] = asyncio.get_running_loop().create_future()
        try:
            prediction = await computation
        except asyncio.CancelledError:
            future.cancel()
            raise
        except BaseException as exc:
            future.set_exception(exc)
            future.exception()  # nobody else may be there to see it
            raise
        finally:
            del self._under_way[key]
        self._kept[key] = prediction
        future.set_result(prediction)
        return prediction
