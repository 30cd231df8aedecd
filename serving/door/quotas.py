"""Quotas: how often a client may ask for predictions, in a window that moves with the clock.

Asked by the edge after the key, before a body is read: what a request is answered costs its client
nothing more. A client is its key's name, else its address. Counts stand in this worker's memory, or
in Redis for all workers and servers together; both move the window as the library `limits` does,
whose scripts Redis runs.
Refuses a client that has used its quota up, and nobody because Redis is away: while it is, each
worker counts alone, and no request waits for it.
"""

import asyncio
import math
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv6Address
from typing import NamedTuple

import limits
from limits.aio.storage.redis.bridge import RedisBridge

from serving.metrics import LIMITED, QUOTA_STORAGE_UP
from serving.problems import QUOTA_EXCEEDED, Problem
from serving.settings import MEMORY, OFF, PREFIX, ApiKey
from serving.telemetry import RequestRecord, log

ANONYMOUS = "anonymous"
NOWHERE = "unknown"  # the one client of all requests without an address, as over a Unix socket

# Redis answers in well under a millisecond; what takes this long is lost. It is also what a Redis
# that hangs costs the requests that find it out, once.
REDIS_TIMEOUT_S = 0.25
# More than the timeout: what still waited for Redis has given up when it may be back.
REDIS_RETRY_S = 1.0
REDIS_TURN_S = (
    1.0  # with the wait for a connection; a Redis that is slow rather than away is lost too
)
REDIS_CONNECTIONS = 16  # of a worker; further requests wait for their turn, in order
REDIS_PREFIX = "model-api"


@dataclass(frozen=True, slots=True)
class Quota:
    """So many requests in so many seconds, under the name that clients are told."""

    name: str
    amount: int
    window_s: int


class Window(NamedTuple):
    """A client's window after a request: whether it passed, and what is in the window now."""

    passed: bool
    oldest: float  # when the oldest request in it came, in seconds since the epoch
    used: int


_PROBE = ("probe", Quota("probe", 1, 1))

# Both scripts of the library as one: what is left is asked in the same round trip, and is what was
# left at that moment.
_SCRIPT = b"""
local function acquire(ARGV)
%b
end
local function window(ARGV)
%b
end
local now, amount, seconds = unpack(ARGV)
local passed = acquire({now, amount, seconds, 1})
return {passed, window({now - seconds, amount}) or {now, 0}}
""" % (RedisBridge.SCRIPT_ACQUIRE_MOVING_WINDOW, RedisBridge.SCRIPT_MOVING_WINDOW)


class Memory:
    """Windows in memory: when each request came, the oldest first.

    That of the library takes time for each request in a window, and keeps those that have left it.
    """

    def __init__(self) -> None:
        """Start without any client."""
        self._windows: dict[str, tuple[Quota, deque[float]]] = {}
        self._round: list[str] = []

    def hit(self, client: str, quota: Quota) -> Window:
        """Count one request, if it passes."""
        now = time.time()
        self._forget(now)
        _, window = self._windows.setdefault(client, (quota, deque()))
        while window and window[0] < now - quota.window_s:
            window.popleft()
        passed = len(window) < quota.amount
        if passed:
            window.append(now)
        return Window(passed, window[0], len(window))

    def _forget(self, now: float) -> None:
        """Look after two clients, in turn, and forget them if they have gone.

        Each hit adds one client at most, so those that have gone never outnumber the others by far.
        """
        if not self._round:
            self._round = list(self._windows)
        for client in self._round[-2:]:
            quota, window = self._windows[client]
            if window[-1] < now - quota.window_s:
                del self._windows[client]
        del self._round[-2:]


class RedisWindows:
    """Windows in Redis, by the library's scripts, which are atomic there."""

    def __init__(self, url: str) -> None:
        """Take the address; nothing is connected yet.

        Raises:
            ValueError: the address is none; the message does not repeat it, for it may hold a
                password.
        """
        from redis.asyncio import Redis  # a twentieth of a start, which counting alone does without

        try:
            self._redis = Redis.from_url(url, socket_connect_timeout=REDIS_TIMEOUT_S)
            # It alone looks at all options of the address.
            self._redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        except (ValueError, TypeError):
            raise ValueError("the quotas' storage is no URL of a Redis server") from None
        self._script = self._redis.register_script(_SCRIPT)
        self.close = self._redis.aclose

    async def hit(self, client: str, quota: Quota) -> Window:
        """Count one request, if it passes, in one round trip.

        Raises:
            RedisError: it was not counted, or is not known to be.
        """
        now = time.time()
        answer = await self._script(
            [f"{REDIS_PREFIX}:{client}"], [now, quota.amount, quota.window_s]
        )
        passed, (oldest, used) = answer
        return Window(bool(passed), float(oldest), used)


def check(storage: str) -> None:
    """See, before a worker starts, that the storage can be one.

    Raises:
        SystemExit: with a line that names the variable, and not its value.
    """
    if storage != MEMORY:
        try:
            RedisWindows(storage)
        except ValueError as exc:
            raise SystemExit(f"{PREFIX}RATE_LIMIT_STORAGE: {exc}") from None


class Quotas:
    """Counts the requests of all clients, in the storage that is set."""

    def __init__(self, default: str, storage: str) -> None:
        """Take the quota of clients that have none of their own, and where to count.

        Raises:
            ValueError: the storage is neither ``memory://`` nor a URL of a Redis server.
        """
        self._default = default
        self._quota = cache(_quota)  # keys are few, and reading a quota costs more than counting
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

    async def count(self, record: RequestRecord, key: ApiKey | None) -> None:
        """Count one request, and note on its record what its client is told of its quota.

        The headers are those of draft-ietf-httpapi-ratelimit-headers-10: the policy is named
        "default", or "key" for a key's own quota; r is what is left, t the seconds until there is
        one more, or until one passes at all.

        Raises:
            Problem: `QUOTA_EXCEEDED`, with the seconds to wait.
        """
        quota = self._quota(key, self._default)
        if quota is None:
            return
        client = f"key/{key.name}" if key else f"address/{_place(record.client)}"
        window = await self._hit(f"{client}/{quota.amount}/{quota.window_s}", quota)
        left = quota.amount - window.used if window.passed else 0
        wait_s = _wait_s(window, quota)
        policy = f'"{quota.name}";q={quota.amount};w={quota.window_s}'
        record.headers.append((b"ratelimit-policy", policy.encode()))
        record.headers.append((b"ratelimit", f'"{quota.name}";r={left};t={wait_s}'.encode()))
        if not window.passed:
            LIMITED.labels(key.name if key else ANONYMOUS).inc()
            detail = f"the quota of {quota.amount} requests in {quota.window_s} s is used up"
            raise Problem(QUOTA_EXCEEDED, detail, headers={"Retry-After": str(wait_s)})

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


def _quota(key: ApiKey | None, default: str) -> Quota | None:
    """Give the quota of a key, or the one for all; None where there is no limit."""
    own = key.quota if key else None
    text = own or default
    if text == OFF:
        return None
    item = limits.parse(text)
    return Quota("key" if own else "default", item.amount, item.get_expiry())


def _wait_s(window: Window, quota: Quota) -> int:
    """Give the whole seconds after which one more request passes; at least 1."""
    if not window.passed and window.used < quota.amount:  # the oldest has left since
        return 1
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
