"""Quotas: how often a client may ask for predictions, in a window that moves with the clock.

Asked by the edge after the key, before a body is read: what a request is answered costs its client
nothing more. A client is its key's name, else its address.
Refuses a client that has used its quota up, and nobody because Redis is away: while it is, each
worker counts alone, and no request waits for it.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from ipaddress import IPv6Address

from serving.door.windows import REDIS_TIMEOUT_S, Memory, RedisWindows, Window
from serving.keys import ApiKey, Quota
from serving.metrics import LIMITED, QUOTA_STORAGE_UP
from serving.problems import QUOTA_EXCEEDED, Problem
from serving.settings import MEMORY
from serving.telemetry import log

ANONYMOUS = "anonymous"
NOWHERE = "unknown"  # the one client of all requests without an address, as over a Unix socket

# More than the timeout: what still waited for Redis has given up when it may be back.
REDIS_RETRY_S = 1.0
# With the wait for a connection; a Redis that is slow rather than away is lost too.
REDIS_TURN_S = 1.0
REDIS_CONNECTIONS = 16  # of a worker; further requests wait for their turn, in order

_PROBE = ("probe", Quota(1, 1))


class Quotas:
    """Counts the requests of all clients, in the storage that is set."""

    def __init__(self, default: str, storage: str) -> None:
        """Take the quota of clients that have none of their own, and where to count.

        Raises:
            ValueError: the storage is neither ``memory://`` nor a URL of a Redis server.
        """
        self._default = default
        self._quota = cache(Quota.parse)  # they are few, and reading one costs more than counting
        self._memory = Memory()
        self._redis = None if storage == MEMORY else RedisWindows(storage)
        self._redis_is_up = self._redis is not None
        self._turns = asyncio.Semaphore(REDIS_CONNECTIONS)
        self._returning: asyncio.Task[None] | None = None
        QUOTA_STORAGE_UP.set(1)

    async def open(self) -> None:
        """Find out at the start, rather than with the first request, whether Redis is away."""
        await self._hit(*_PROBE)

    async def close(self) -> None:
        """Let Redis go."""
        if self._returning is not None:
            self._returning.cancel()
            with suppress(asyncio.CancelledError):
                await self._returning
        if self._redis is not None:
            await self._redis.close()

    async def count(self, client: str | None, key: ApiKey | None) -> Sequence[tuple[bytes, bytes]]:
        """Count one request, and give the headers that tell its client of its quota.

        They are those of draft-ietf-httpapi-ratelimit-headers-10: the policy is named "default", or
        "key" for a key's own quota; r is what is left, t the seconds until there is one more, or
        until one passes at all.

        Raises:
            Problem: `QUOTA_EXCEEDED`, with these headers and the seconds to wait.
        """
        own = key.quota if key else None
        quota = self._quota(own or self._default)
        if quota is None:
            return ()
        place = f"key/{key.name}" if key else f"address/{_place(client)}"
        window = await self._hit(f"{place}/{quota.amount}/{quota.window_s}", quota)
        left = quota.amount - window.used if window.passed else 0
        wait_s = _wait_s(window, quota)
        name = "key" if own else "default"
        policy = f'"{name}";q={quota.amount};w={quota.window_s}'
        state = f'"{name}";r={left};t={wait_s}'
        if window.passed:
            return (b"ratelimit-policy", policy.encode()), (b"ratelimit", state.encode())
        LIMITED.labels(key.name if key else ANONYMOUS).inc()
        raise Problem(
            QUOTA_EXCEEDED,
            f"the quota of {quota.amount} requests in {quota.window_s} s is used up",
            headers={"Retry-After": str(wait_s), "RateLimit-Policy": policy, "RateLimit": state},
        )

    async def _hit(self, client: str, quota: Quota) -> Window:
        if self._redis is not None and self._redis_is_up:
            try:
                async with asyncio.timeout(REDIS_TURN_S), self._turns:
                    if self._redis_is_up:  # still, for those who have waited
                        async with asyncio.timeout(REDIS_TIMEOUT_S):
                            return await self._redis.hit(client, quota)
            except Exception as exc:  # whatever it is, no client is refused for it
                self._lost(self._redis, exc)
        return self._memory.hit(client, quota)

    def _lost(self, redis: RedisWindows, exc: Exception) -> None:
        """Count alone from now on; the first request that finds Redis away tells it."""
        if self._redis_is_up:
            self._redis_is_up = False
            QUOTA_STORAGE_UP.set(0)
            # Its message may have the address, and that a password.
            log.error("quotas.storage_lost", error=f"{type(exc).__module__}.{type(exc).__name__}")
            self._returning = asyncio.create_task(self._return(redis))

    async def _return(self, redis: RedisWindows) -> None:
        """Ask Redis until it counts again: a PING is answered by one that takes no writes, too."""
        while True:
            await asyncio.sleep(REDIS_RETRY_S)
            with suppress(Exception):
                async with asyncio.timeout(REDIS_TIMEOUT_S):
                    await redis.hit(*_PROBE)
                break
        self._redis_is_up = True
        QUOTA_STORAGE_UP.set(1)
        log.info("quotas.storage_back")


def _wait_s(window: Window, quota: Quota) -> int:
    """Give the whole seconds after which one more request passes; at least 1."""
    # One passes after the oldest has left, not as it leaves: hence no ceil().
    wait_s = math.floor(window.oldest + quota.window_s - time.time()) + 1
    return min(max(1, wait_s), quota.window_s)  # whatever has become of the clock


def _place(address: str | None) -> str:
    """Give what a client can't change at will: of an IPv6 address the network that it was given.

    Hosts choose the lower 64 bits themselves (RFC 4291, 2.5.4). A socket for both families gives
    IPv4 addresses within IPv6.
    """
    if address is None or ":" not in address:
        return address or NOWHERE
    try:
        parsed = IPv6Address(address)
    except ValueError:  # whatever a trusted proxy has in X-Forwarded-For
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{int(parsed) >> 64:x}::/64"
