"""Windows that move with the clock: where the requests of a client are counted.

In this worker's memory, or in Redis for all workers and servers together. Both keep when each
request in a window came, and let one more pass if there are fewer than the quota has.
"""

import time
from collections import deque
from typing import NamedTuple

from serving.keys import Quota
from serving.settings import MEMORY, PREFIX

# Redis answers in well under a millisecond; what takes this long is lost. It is also what a Redis
# that hangs costs the requests that find it out, once.
REDIS_TIMEOUT_S = 0.25
REDIS_PREFIX = "model-api"

# Atomic, and one round trip. A client's list has the newest request first.
_SCRIPT = """
local client = KEYS[1]
local now, amount, seconds = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local oldest = redis.call('LINDEX', client, -1)
while oldest and tonumber(oldest) < now - seconds do
    redis.call('RPOP', client)
    oldest = redis.call('LINDEX', client, -1)
end
local used = redis.call('LLEN', client)
local passed = used < amount
if passed then
    used = redis.call('LPUSH', client, ARGV[1])
    redis.call('EXPIRE', client, seconds)
end
return {passed and 1 or 0, oldest or ARGV[1], used}
"""


class Window(NamedTuple):
    """A client's window after a request: whether it passed, and what is in the window now."""

    passed: bool
    oldest: float  # when the oldest request in it came, in seconds since the epoch
    used: int


class Memory:
    """Windows in memory: when each request came, the oldest first."""

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
    """Windows in Redis, which all workers and servers share."""

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
        passed, oldest, used = await self._script(
            [f"{REDIS_PREFIX}:{client}"], [now, quota.amount, quota.window_s]
        )
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
