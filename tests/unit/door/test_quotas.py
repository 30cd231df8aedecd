"""Quotas: exactly so many requests in a window, told honestly, with Redis or without it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.door import quotas, windows
from serving.door.quotas import Quotas
from serving.door.windows import RedisWindows, Window
from serving.keys import ApiKey, Quota
from serving.problems import QUOTA_EXCEEDED, Problem
from serving.settings import MEMORY
from tests.unit.fakes import FakeRedis, RecordingLog, StillClock, recorded, sample

PATIENCE_S = 20


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StillClock:
    """Give the clock that the quotas go by."""
    return set_clock(monkeypatch)


def set_clock(patch: pytest.MonkeyPatch) -> StillClock:
    """Let the quotas go by a clock that stands still, shortly before a minute is full."""
    still = StillClock(1_000_000_019.5)
    for room in (quotas, windows):
        patch.setattr(room, "time", SimpleNamespace(time=still))
    return still


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> RecordingLog:
    """Give what the quotas log."""
    return recorded(monkeypatch, quotas)


def events(log: RecordingLog) -> list[str]:
    """Tell what was logged."""
    return [line["event"] for line in log.lines]


def run(story: Awaitable[object]) -> None:
    """Run a story that must come to its end."""

    async def bounded() -> None:
        await asyncio.wait_for(story, PATIENCE_S)

    asyncio.run(bounded())


async def told(
    subject: Quotas, client: str | None = "192.0.2.7", key: ApiKey | None = None
) -> tuple[bool, dict[str, str]]:
    """Count a request: whether it passes, and the headers that its client gets."""
    try:
        headers = await subject.count(client, key)
    except Problem as problem:
        return False, {name.lower(): value for name, value in problem.headers.items()}
    return True, {name.decode(): value.decode() for name, value in headers}


async def passes(
    subject: Quotas, client: str | None = "192.0.2.7", key: ApiKey | None = None
) -> bool:
    """Count a request, and tell whether it passes."""
    return (await told(subject, client, key))[0]


def key_of(name: str, quota: str | None = None) -> ApiKey:
    """Give a key."""
    return ApiKey(name, name.encode().ljust(32), quota)


# In memory


def test_of_150_at_once_exactly_100_pass() -> None:
    async def story() -> None:
        subject = Quotas("100/minute", MEMORY)
        assert sum(await asyncio.gather(*(passes(subject) for _ in range(150)))) == 100

    run(story())


def test_a_minute_that_ends_between_them_lets_no_more_pass(clock: StillClock) -> None:
    async def story() -> None:
        subject = Quotas("100/minute", MEMORY)
        before = [await passes(subject) for _ in range(75)]
        clock.now_s += 1  # and with it the minute is over
        after = [await passes(subject) for _ in range(75)]
        assert (sum(before), sum(after)) == (75, 25)

    run(story())


@given(st.lists(st.integers(0, 320).map(lambda count: count / 64), max_size=20))  # exact sums
def test_a_client_that_waits_as_it_is_told_passes(pauses: list[float]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = set_clock(patch)

        async def story() -> None:
            subject = Quotas("3/7second", MEMORY)
            for pause in pauses:
                clock.now_s += pause
                passed, headers = await told(subject)
                if not passed:
                    # No more is told than the window; one passes after that, not at its end.
                    clock.now_s += int(headers["retry-after"]) + 1 / 64
                    assert await passes(subject)

        run(story())


def test_a_client_is_told_its_policy_what_is_left_and_for_how_long(clock: StillClock) -> None:
    async def story() -> None:
        subject = Quotas("3/minute", MEMORY)
        state = []
        for _ in range(5):
            _, headers = await told(subject)
            state.append((headers["ratelimit"], headers.get("retry-after")))
            assert headers["ratelimit-policy"] == '"default";q=3;w=60'
            clock.now_s += 15.1
        assert state == [
            ('"default";r=2;t=60', None),
            ('"default";r=1;t=45', None),
            ('"default";r=0;t=30', None),
            ('"default";r=0;t=15', "15"),
            ('"default";r=0;t=15', None),  # the first has left; now the second is the oldest
        ]

    run(story())


@pytest.mark.parametrize(
    ("oldest", "wait_s"),
    [
        (-59.5, 1),
        (-60.0, 1),  # as it leaves, none passes yet
        (-40.5, 20),
        (-40.0, 21),
        (-3.5, 57),
        (-70.0, 1),  # of a server whose clock is behind
        (99.0, 60),  # of one whose clock is ahead
    ],
)
def test_the_wait_is_at_least_a_second_and_never_too_short(
    clock: StillClock, monkeypatch: pytest.MonkeyPatch, oldest: float, wait_s: int
) -> None:
    async def story() -> None:
        subject = Quotas("100/minute", MEMORY)
        window = Window(False, clock.now_s + oldest, 99)
        monkeypatch.setattr(subject._memory, "hit", lambda *_: window)
        _, headers = await told(subject)
        assert headers["retry-after"] == str(wait_s)
        assert headers["ratelimit"] == f'"default";r=0;t={wait_s}'  # nothing is left, whatever was

    run(story())


def test_a_problem_names_the_quota_and_no_client() -> None:
    async def story() -> None:
        subject = Quotas("1/minute", MEMORY)
        await passes(subject, key=key_of("alice"))
        with pytest.raises(Problem) as caught:
            await subject.count("192.0.2.7", key_of("alice"))
        assert caught.value.kind is QUOTA_EXCEEDED
        assert caught.value.detail == "the quota of 1 requests in 60 s is used up"

    run(story())


# Clients


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("2001:db8::1", "2001:db8::ffff:1:2:3", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("2001:DB8::1", "2001:db8:0:0::2", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("::ffff:192.0.2.7", "192.0.2.7", True),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.8", False),
        (None, None, True),
        (None, "192.0.2.7", False),
        ("", None, True),
        ("a proxy's word: x", "a proxy's word: x", True),
        ("a proxy's word: x", "a proxy's word: y", False),
    ],
)
def test_a_client_without_a_key_is_its_address_or_its_network(
    one: str | None, other: str | None, same: bool
) -> None:
    async def story() -> None:
        subject = Quotas("1/minute", MEMORY)
        assert await passes(subject, one)
        assert await passes(subject, other) is not same

    run(story())


def test_a_client_with_a_key_is_its_name_wherever_it_comes_from() -> None:
    async def story() -> None:
        subject = Quotas("1/minute", MEMORY)
        assert await passes(subject, "192.0.2.7", key_of("alice"))
        assert not await passes(subject, "192.0.2.8", ApiKey("alice", b"another of its keys"))
        assert await passes(subject, "192.0.2.7", key_of("bob"))
        assert await passes(subject, "192.0.2.7")
        assert await passes(subject, "alice")

    run(story())


@pytest.mark.parametrize("default", ["1/minute", "off"])
def test_a_key_may_have_a_quota_of_its_own(default: str) -> None:
    async def story() -> None:
        subject = Quotas(default, MEMORY)
        alice = key_of("alice", "2/second")
        passed, headers = await told(subject, key=alice)
        assert passed
        assert headers["ratelimit-policy"] == '"key";q=2;w=1'
        assert headers["ratelimit"] == '"key";r=1;t=1'
        assert [await passes(subject, key=alice) for _ in range(2)] == [True, False]

    run(story())


@pytest.mark.parametrize(
    ("default", "key"), [("off", None), ("off", key_of("bob")), ("1/minute", key_of("al", "off"))]
)
def test_without_a_quota_nothing_is_counted_or_told(default: str, key: ApiKey | None) -> None:
    async def story() -> None:
        subject = Quotas(default, MEMORY)
        for _ in range(3):
            assert await told(subject, key=key) == (True, {})
        assert subject._memory._windows == {}

    run(story())


def test_refused_requests_are_counted_by_the_name_of_the_key() -> None:
    def limited() -> list[float]:
        names = ("counted", "anonymous")
        return [sample("serving_limited_requests_total", api_key=name) for name in names]

    async def story() -> None:
        subject = Quotas("1/minute", MEMORY)
        for _ in range(3):
            await passes(subject, key=key_of("counted"))
            await passes(subject)

    before = limited()
    run(story())
    assert limited() == [count + 2 for count in before]


# Redis, as it may answer


@pytest.fixture(autouse=True)
def _in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask a Redis that is away again at once."""
    monkeypatch.setattr(quotas, "REDIS_RETRY_S", 0.001)


@asynccontextmanager
async def opened(url: str, default: str = "1/minute") -> AsyncIterator[Quotas]:
    """Give quotas that count at an address."""
    subject = Quotas(default, url)
    try:
        yield subject
    finally:
        await subject.close()


@asynccontextmanager
async def asking(redis: FakeRedis, default: str = "1/minute") -> AsyncIterator[Quotas]:
    """Give quotas that count in a Redis that is there."""
    async with redis.listening(), opened(redis.url, default) as subject:
        yield subject


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens beyond a socket; `run` bounds it."""
    while True:
        if condition():
            return
        await asyncio.sleep(0.001)


def up() -> float:
    """Tell what the metric says."""
    return sample("serving_quota_storage_up")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"-LOADING Redis is loading the dataset in memory", "BusyLoadingError"),
        (b"-READONLY You can't write against a read only replica.", "ReadOnlyError"),
        (b"-WRONGTYPE Operation against a key holding the wrong kind of value", "ResponseError"),
        (b":7", "TypeError"),  # it is no Redis, or not our script's answer
    ],
)
def test_a_redis_that_does_not_count_is_away_until_it_does(
    answer: bytes, error: str, log: RecordingLog
) -> None:
    async def story() -> None:
        redis = FakeRedis()
        well = redis.answer
        async with asking(redis) as subject:
            redis.answer = answer + b"\r\n"
            # In memory: of two in a minute one passes, and no request is told of Redis.
            assert [await passes(subject) for _ in range(2)] == [True, False]
            assert up() == 0
            tried = redis.commands.count("EVALSHA")
            await until(lambda: redis.commands.count("EVALSHA") > tried + 2)
            assert events(log) == ["quotas.storage_lost"]
            redis.answer = well
            await until(lambda: "quotas.storage_back" in events(log))
            assert up() == 1
            assert [await passes(subject) for _ in range(2)] == [True, True]  # as it answers
        lost, back = log.lines
        assert (lost["level"], lost["event"]) == ("error", "quotas.storage_lost")
        assert lost["error"].endswith(f".{error}")
        assert (back["level"], back["event"]) == ("info", "quotas.storage_back")

    run(story())


def test_a_redis_that_is_away_at_the_start_is_told_once_and_found_later(log: RecordingLog) -> None:
    async def story() -> None:
        redis = FakeRedis()
        async with redis.listening() as port:
            pass
        async with opened(redis.url) as subject:
            await subject.open()
            assert events(log) == ["quotas.storage_lost"]
            assert [await passes(subject) for _ in range(2)] == [True, False]
            async with redis.listening(port):
                await until(lambda: "quotas.storage_back" in events(log))
                assert [await passes(subject) for _ in range(2)] == [True, True]
        assert events(log) == ["quotas.storage_lost", "quotas.storage_back"]
        assert "hunter2" not in str(log.lines)
        assert log.lines[0]["error"] == "redis.exceptions.ConnectionError"

    run(story())


def test_a_redis_that_is_too_slow_for_all_who_ask_holds_nobody_up(
    log: RecordingLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hit(_: object, __: str, quota: Quota) -> Window:
        await asyncio.sleep(0.02)  # within its own time
        return Window(True, time.time(), 1)

    async def story() -> None:
        monkeypatch.setattr(RedisWindows, "hit", hit)
        monkeypatch.setattr(quotas, "REDIS_TURN_S", 0.05)
        monkeypatch.setattr(quotas, "REDIS_RETRY_S", 60.0)
        async with opened("redis://127.0.0.1", "1000/minute") as subject:
            many = [passes(subject) for _ in range(quotas.REDIS_CONNECTIONS * 20)]
            assert all(await asyncio.gather(*many))
        assert events(log) == ["quotas.storage_lost"]

    run(story())


def test_a_redis_that_hangs_costs_its_timeout_once(
    log: RecordingLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quotas, "REDIS_TIMEOUT_S", 0.05)
    monkeypatch.setattr(quotas, "REDIS_RETRY_S", 3600)

    async def story() -> None:
        redis = FakeRedis()
        async with asking(redis, "100/minute") as subject:
            redis.hangs = True
            many = await asyncio.gather(*(passes(subject) for _ in range(150)))
            assert sum(many) == 100
            tried = redis.commands.count("EVALSHA")
            assert tried <= quotas.REDIS_CONNECTIONS  # those that waited for a turn went on
            await asyncio.gather(*(passes(subject, "192.0.2.8") for _ in range(150)))
            assert redis.commands.count("EVALSHA") == tried
        assert events(log) == ["quotas.storage_lost"]

    run(story())


def test_a_request_that_is_cancelled_is_no_loss_of_redis(log: RecordingLog) -> None:
    async def story() -> None:
        redis = FakeRedis()
        async with asking(redis) as subject:
            redis.hangs = True
            waiting = asyncio.create_task(passes(subject))
            await until(lambda: "EVALSHA" in redis.commands)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            redis.hangs = False
            assert await passes(subject)  # on a connection where nothing is left over
        assert log.lines == []

    run(story())


def test_none_waits_for_ever_when_many_ask_at_once(log: RecordingLog) -> None:
    async def one_after_another(subject: Quotas) -> None:
        for _ in range(5):
            assert await passes(subject)

    async def story() -> None:
        redis = FakeRedis()
        async with asking(redis) as subject:
            await asyncio.gather(*(one_after_another(subject) for _ in range(100)))
            assert len(redis.writers) <= quotas.REDIS_CONNECTIONS
        assert log.lines == []

    run(story())


def test_closing_ends_what_asks_for_redis(log: RecordingLog) -> None:
    async def story() -> None:
        redis = FakeRedis()
        async with redis.listening():
            pass
        async with opened(redis.url) as subject:
            await subject.open()
            assert len(asyncio.all_tasks()) == 3
        assert len(asyncio.all_tasks()) == 2  # this story, and what bounds it
        assert events(log) == ["quotas.storage_lost"]

    run(story())


def test_memory_needs_no_opening_and_no_closing() -> None:
    async def story() -> None:
        async with opened(MEMORY) as subject:
            await subject.open()
        assert up() == 1

    run(story())


def test_a_storage_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no URL of a Redis server"):
        Quotas("1/minute", "disk://")
