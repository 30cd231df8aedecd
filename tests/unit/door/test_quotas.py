"""Quotas: exactly so many requests in a window, told honestly, with Redis or without it."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.door import quotas
from serving.door.quotas import Memory, Quota, Quotas, RedisWindows, Window
from serving.keys import ApiKey
from serving.problems import QUOTA_EXCEEDED, Problem
from serving.settings import MEMORY
from serving.telemetry import RequestRecord
from tests.unit.fakes import RecordingLog, sample

TICK_S = 1e-6  # a clock never stands still
PATIENCE_S = 20
PER_MINUTE = Quota("default", 100, 60)


class Clock:
    """The time as a test has it; it moves on a little whenever it is read."""

    def __init__(self) -> None:
        """Start shortly before a minute is full."""
        self.now = 1_000_000_019.5

    def time(self) -> float:
        """Give the seconds since the epoch."""
        self.now += TICK_S
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give the clock that the quotas go by."""
    ours = Clock()
    monkeypatch.setattr(quotas, "time", ours)
    return ours


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Give the lines that the quotas log."""
    recording = RecordingLog()
    monkeypatch.setattr(quotas, "log", recording)
    return recording.lines


def run(story: Awaitable[object]) -> None:
    """Run a story that must come to its end."""

    async def bounded() -> None:
        await asyncio.wait_for(story, PATIENCE_S)

    asyncio.run(bounded())


def record_of(client: str | None = "192.0.2.7") -> RequestRecord:
    """Give the record of a request from an address."""
    return RequestRecord(id="id-1", method="POST", route="/predict", client=client)


async def told(
    subject: Quotas, client: str | None = "192.0.2.7", key: ApiKey | None = None
) -> tuple[bool, dict[str, str]]:
    """Count a request: whether it passes, and all headers that its client gets."""
    record = record_of(client)
    refused: dict[str, str] = {}
    try:
        await subject.count(record, key)
    except Problem as problem:
        refused = problem.headers
    headers = {name.decode(): value.decode() for name, value in record.headers}
    return not refused, headers | refused


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


def test_a_minute_that_ends_between_them_lets_no_more_pass(clock: Clock) -> None:
    async def story() -> None:
        subject = Quotas("100/minute", MEMORY)
        before = [await passes(subject) for _ in range(75)]
        clock.now += 1  # and with it the minute is over
        after = [await passes(subject) for _ in range(75)]
        assert (sum(before), sum(after)) == (75, 25)

    run(story())


def test_the_window_moves_with_the_clock(clock: Clock) -> None:
    async def story() -> None:
        subject = Quotas("2/10second", MEMORY)
        assert await passes(subject)
        clock.now += 6
        assert await passes(subject)
        assert not await passes(subject)
        clock.now += 5  # the first has left, and only that
        assert [await passes(subject), await passes(subject)] == [True, False]

    run(story())


@given(
    amount=st.integers(1, 5),
    window_s=st.integers(1, 5),
    pauses=st.lists(st.sampled_from([0, 0.1, 0.5, 1, 2, 4.9, 5, 7]), max_size=60),
)
@example(amount=1, window_s=5, pauses=[5, 5, 5])
def test_no_window_ever_holds_more_than_the_quota_and_none_is_refused_within_it(
    amount: int, window_s: int, pauses: list[float]
) -> None:
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quotas, "time", clock)
        subject, quota = Memory(), Quota("default", amount, window_s)
        passed: list[float] = []
        for pause in pauses:
            clock.now += pause
            start = clock.now - window_s
            window = subject.hit("client", quota)
            # The clock moves on within a hit: what comes just at the end of a window is either's.
            if window.passed:
                assert sum(moment > start + 9 * TICK_S for moment in passed) < amount
                passed.append(clock.now)
            else:
                assert sum(moment > start - 9 * TICK_S for moment in passed) >= amount
            assert window.used <= amount


@given(st.lists(st.floats(0, 5), max_size=20))
def test_a_client_that_waits_as_it_is_told_passes(pauses: list[float]) -> None:
    clock = Clock()

    async def story() -> None:
        subject = Quotas("3/7second", MEMORY)
        for pause in pauses:
            clock.now += pause
            passed, headers = await told(subject)
            if not passed:
                clock.now += int(headers["Retry-After"])
                assert await passes(subject)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quotas, "time", clock)
        run(story())


def test_a_client_is_told_its_policy_what_is_left_and_for_how_long(clock: Clock) -> None:
    async def story() -> None:
        subject = Quotas("3/minute", MEMORY)
        state = []
        for _ in range(5):
            _, headers = await told(subject)
            state.append((headers["ratelimit"], headers.get("Retry-After")))
            assert headers["ratelimit-policy"] == '"default";q=3;w=60'
            clock.now += 15
        assert state == [
            ('"default";r=2;t=60', None),
            ('"default";r=1;t=45', None),
            ('"default";r=0;t=30', None),
            ('"default";r=0;t=15', "15"),
            ('"default";r=0;t=15', None),  # the first has left; now the second is the oldest
        ]

    run(story())


@pytest.mark.parametrize(
    ("window", "wait_s"),
    [
        (Window(False, -59.5, 100), 1),
        (Window(False, -60.0, 100), 1),  # as it leaves, none passes yet
        (Window(False, -40.5, 100), 20),
        (Window(False, -40.0, 100), 21),
        (Window(False, -3.0, 99), 1),  # the oldest has left while this was counted
        (Window(False, 0.0, 0), 1),
        (Window(True, -3.5, 1), 57),
        (Window(True, -70.0, 1), 1),
    ],
)
def test_the_wait_is_at_least_a_second_and_never_too_short(
    window: Window, wait_s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quotas, "time", SimpleNamespace(time=lambda: 0.0))
    assert quotas._wait_s(window, PER_MINUTE) == wait_s


def test_a_client_that_is_refused_has_nothing_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where the oldest request left the window while this one was counted."""

    async def story() -> None:
        subject = Quotas("100/minute", MEMORY)
        oldest = time.time() - 1
        monkeypatch.setattr(subject._memory, "hit", lambda *_: Window(False, oldest, 99))
        _, headers = await told(subject)
        assert headers["ratelimit"] == '"default";r=0;t=1'
        assert headers["Retry-After"] == "1"

    run(story())


def test_a_problem_names_the_quota_and_no_client() -> None:
    async def story() -> None:
        subject = Quotas("1/minute", MEMORY)
        await passes(subject, key=key_of("alice"))
        with pytest.raises(Problem) as caught:
            await subject.count(record_of(), key_of("alice"))
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


def test_a_key_may_have_a_quota_of_its_own() -> None:
    async def story() -> None:
        subject = Quotas("1/minute", MEMORY)
        alice = key_of("alice", "3/second")
        passed, headers = await told(subject, key=alice)
        assert passed
        assert headers["ratelimit-policy"] == '"key";q=3;w=1'
        assert headers["ratelimit"] == '"key";r=2;t=1'

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


def test_a_key_has_its_quota_where_others_have_none() -> None:
    async def story() -> None:
        subject = Quotas("off", MEMORY)
        alice = key_of("alice", "1/minute")
        assert [await passes(subject, key=alice) for _ in range(2)] == [True, False]

    run(story())


def test_refused_requests_are_counted_by_the_name_of_the_key() -> None:
    def limited(name: str) -> float:
        return sample("serving_limited_requests_total", api_key=name)

    async def story() -> None:
        subject = Quotas("1/minute", MEMORY)
        for _ in range(3):
            await passes(subject, key=key_of("counted"))
            await passes(subject)

    anonymous = limited("anonymous")
    run(story())
    assert (limited("counted"), limited("anonymous") - anonymous) == (2, 2)


# What memory costs


def test_clients_that_have_gone_are_forgotten(clock: Clock) -> None:
    subject = Memory()
    most = 0
    for number in range(20_000):  # each comes once, and a hundred within a window
        clock.now += 0.6
        subject.hit(f"client {number}", PER_MINUTE)
        most = max(most, len(subject._windows))
    assert most < 500


def test_clients_that_stay_are_not_forgotten(clock: Clock) -> None:
    subject, quota = Memory(), Quota("default", 1, 3600)
    assert subject.hit("who stays", quota).passed
    for number in range(5_000):
        clock.now += 0.5
        subject.hit(f"client {number}", Quota("default", 1, 1))
    assert not subject.hit("who stays", quota).passed


def test_a_client_takes_no_more_room_than_its_quota(clock: Clock) -> None:
    subject, quota = Memory(), Quota("default", 5, 10)
    for _ in range(1_000):
        clock.now += 3
        assert subject.hit("client", quota).passed
    assert len(subject._windows["client"][1]) <= 5


def test_requests_that_have_left_the_window_take_no_room(clock: Clock) -> None:
    subject, quota = Memory(), Quota("default", 1_000_000, 10)
    for _ in range(1_000):
        clock.now += 1
        assert subject.hit("client", quota).used <= 11
    assert len(subject._windows["client"][1]) <= 11


def test_counting_costs_as_much_in_a_full_window_as_in_an_empty_one(clock: Clock) -> None:
    """Generously: what this guards against moves all requests of the window at each."""
    subject, quota = Memory(), Quota("default", 10_000_000, 3600)

    def seconds() -> float:
        started = time.perf_counter()
        for _ in range(1_000):
            subject.hit("client", quota)
        return time.perf_counter() - started

    empty = min(seconds() for _ in range(5))
    for _ in range(500_000):
        subject.hit("client", quota)
    assert min(seconds() for _ in range(5)) < 5 * empty


def test_counting_costs_little_with_many_clients() -> None:
    """Generously: it takes some 10 us; what this guards against takes a hundred times that."""

    async def story() -> None:
        subject = Quotas("100/minute", MEMORY)
        clients = [f"10.0.{number // 250}.{number % 250}" for number in range(10_000)]
        for client in clients:
            await passes(subject, client)
        gc.collect()
        started = time.process_time()
        for client in clients:
            await passes(subject, client)
        assert (time.process_time() - started) / len(clients) < 500e-6

    run(story())


# Redis, as it may answer; how a real one counts is tested with one, in tests/system.


class FakeRedis:
    """A server that speaks Redis' protocol, and answers each script as it is told."""

    def __init__(self) -> None:
        """Answer well."""
        self.answer = b"*2\r\n:1\r\n*2\r\n$1\r\n0\r\n:1\r\n"
        self.hangs = False
        self.knows_scripts = True
        self.commands: list[str] = []
        self.url = ""
        self._writers: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[int]:
        """Take connections at a port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        port = server.sockets[0].getsockname()[1]
        self.url = f"redis://:hunter2@127.0.0.1:{port}/0"
        try:
            yield port
        finally:
            server.close()
            for writer in self._writers:
                writer.close()
            self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        while line := await reader.readline():
            words = []
            for _ in range(int(line[1:])):
                size = int((await reader.readline())[1:])
                words.append((await reader.readexactly(size + 2))[:-2])
            command = words[0].decode().upper()
            self.commands.append(command)
            if command == "EVALSHA" and not self.hangs:
                unknown = b"-NOSCRIPT No matching script.\r\n"
                writer.write(self.answer if self.knows_scripts else unknown)
            elif command == "SCRIPT":
                self.knows_scripts = True
                writer.write(b"$40\r\n" + b"a" * 40 + b"\r\n")
            elif command != "EVALSHA":
                writer.write(b"+OK\r\n")


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


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens beyond a socket; `run` bounds it."""
    while True:
        if condition():
            return
        await asyncio.sleep(0.001)


async def seen(lines: list[dict[str, Any]], event: str) -> None:
    """Wait until something is logged."""
    await until(lambda: event in [line["event"] for line in lines])


def up() -> float:
    """Tell what the metric says."""
    return sample("serving_quota_storage_up")


def test_a_request_takes_one_round_trip() -> None:
    async def story() -> None:
        redis = FakeRedis()
        async with redis.listening(), opened(redis.url) as subject:
            await subject.open()
            redis.commands.clear()
            for _ in range(3):
                assert await passes(subject)
            assert redis.commands == ["EVALSHA"] * 3

    run(story())


def test_a_redis_that_was_started_anew_gets_the_script_again(lines: list[dict[str, Any]]) -> None:
    async def story() -> None:
        redis = FakeRedis()
        async with redis.listening(), opened(redis.url) as subject:
            redis.knows_scripts = False
            assert await passes(subject)
            assert redis.commands[-3:] == ["EVALSHA", "SCRIPT", "EVALSHA"]
        assert lines == []

    run(story())


@pytest.mark.parametrize(
    "error",
    [
        "LOADING Redis is loading the dataset in memory",
        "READONLY You can't write against a read only replica.",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "MISCONF Redis is configured to save RDB snapshots",
        "NOAUTH Authentication required.",
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "ERR something else",
    ],
)
def test_a_redis_that_does_not_count_is_away_until_it_does(
    error: str, lines: list[dict[str, Any]]
) -> None:
    async def story() -> None:
        redis = FakeRedis()
        well = redis.answer
        async with redis.listening(), opened(redis.url) as subject:
            redis.answer = f"-{error}\r\n".encode()
            # In memory: of two in a minute one passes, and no request is told of Redis.
            assert [await passes(subject) for _ in range(2)] == [True, False]
            assert [line["event"] for line in lines] == ["quotas.storage_lost"]
            assert up() == 0
            tried = redis.commands.count("EVALSHA")
            await until(lambda: redis.commands.count("EVALSHA") > tried + 2)
            assert [line["event"] for line in lines] == ["quotas.storage_lost"]
            redis.answer = well
            await seen(lines, "quotas.storage_back")
            assert up() == 1
            assert [await passes(subject) for _ in range(2)] == [True, True]  # as it answers
        assert [(line["level"], line["event"]) for line in lines] == [
            ("error", "quotas.storage_lost"),
            ("info", "quotas.storage_back"),
        ]

    run(story())


def test_whatever_the_client_of_redis_raises_it_is_away_until_it_does_not(
    lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    raised = iter([RuntimeError("closed"), KeyError(), AttributeError()])

    async def hit(_: object, __: str, quota: Quota) -> Window:
        for exc in raised:
            raise exc
        return Window(True, 0.0, 1)

    async def story() -> None:
        monkeypatch.setattr(RedisWindows, "hit", hit)
        async with opened("redis://127.0.0.1") as subject:
            assert await passes(subject)
            await seen(lines, "quotas.storage_back")
            assert up() == 1

    run(story())


def test_a_redis_that_is_too_slow_for_all_who_ask_holds_nobody_up(
    lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hit(_: object, __: str, quota: Quota) -> Window:
        await asyncio.sleep(0.02)  # within its own time
        return Window(True, time.time(), 1)

    async def story() -> None:
        monkeypatch.setattr(RedisWindows, "hit", hit)
        monkeypatch.setattr(quotas, "REDIS_TURN_S", 0.05)
        monkeypatch.setattr(quotas, "REDIS_RETRY_S", 60.0)
        async with opened("redis://127.0.0.1", "1000/minute") as subject:
            asked = [passes(subject) for _ in range(quotas.REDIS_CONNECTIONS * 20)]
            assert all(await asyncio.gather(*asked))
            assert [line["event"] for line in lines] == ["quotas.storage_lost"]

    run(story())


def test_a_redis_that_is_away_at_the_start_is_told_once_and_found_later(
    lines: list[dict[str, Any]],
) -> None:
    async def story() -> None:
        redis = FakeRedis()
        async with redis.listening() as port:
            pass
        async with opened(redis.url) as subject:
            await subject.open()
            assert [line["event"] for line in lines] == ["quotas.storage_lost"]
            assert [await passes(subject) for _ in range(2)] == [True, False]
            async with redis.listening(port):
                await seen(lines, "quotas.storage_back")
                assert [await passes(subject) for _ in range(2)] == [True, True]
        assert [line["event"] for line in lines] == ["quotas.storage_lost", "quotas.storage_back"]
        assert "hunter2" not in str(lines)
        assert lines[0]["error"] == "redis.exceptions.ConnectionError"

    run(story())


def test_a_redis_that_hangs_costs_its_timeout_once(
    lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quotas, "REDIS_TIMEOUT_S", 0.05)
    monkeypatch.setattr(quotas, "REDIS_RETRY_S", 3600)

    async def story() -> None:
        redis = FakeRedis()
        async with redis.listening(), opened(redis.url, "100/minute") as subject:
            redis.hangs = True
            many = await asyncio.gather(*(passes(subject) for _ in range(150)))
            assert sum(many) == 100
            tried = redis.commands.count("EVALSHA")
            assert tried <= quotas.REDIS_CONNECTIONS  # those that waited for a turn went on
            await asyncio.gather(*(passes(subject, "192.0.2.8") for _ in range(150)))
            assert redis.commands.count("EVALSHA") == tried
        assert [line["event"] for line in lines] == ["quotas.storage_lost"]

    run(story())


def test_a_request_that_is_cancelled_is_no_loss_of_redis(lines: list[dict[str, Any]]) -> None:
    async def story() -> None:
        redis = FakeRedis()
        async with redis.listening(), opened(redis.url) as subject:
            redis.hangs = True
            waiting = asyncio.create_task(passes(subject))
            await until(lambda: "EVALSHA" in redis.commands)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            redis.hangs = False
            assert await passes(subject)  # on a connection where nothing is left over
        assert lines == []

    run(story())


def test_none_waits_for_ever_when_many_ask_at_once(lines: list[dict[str, Any]]) -> None:
    async def asking(subject: Quotas) -> None:
        for _ in range(20):
            assert await passes(subject)

    async def story() -> None:
        redis = FakeRedis()
        async with redis.listening(), opened(redis.url) as subject:
            await asyncio.gather(*(asking(subject) for _ in range(100)))
            assert len(redis._writers) <= quotas.REDIS_CONNECTIONS
        assert lines == []

    run(story())


def test_a_storage_that_is_no_url_is_refused_without_its_password() -> None:
    with pytest.raises(ValueError, match="no URL of a Redis server") as caught:
        Quotas("1/minute", "redis://:hun/ter2@localhost:port")
    assert caught.value.__suppress_context__


def test_closing_ends_what_asks_for_redis() -> None:
    async def story() -> None:
        redis = FakeRedis()
        async with redis.listening():
            pass
        subject = Quotas("1/minute", redis.url)
        await subject.open()
        started = time.monotonic()
        await subject.close()
        assert time.monotonic() - started < PATIENCE_S / 2
        assert len(asyncio.all_tasks()) == 2  # this story, and what bounds it

    run(story())


def test_memory_needs_no_closing() -> None:
    async def story() -> None:
        subject = Quotas("1/minute", MEMORY)
        await subject.open()
        await subject.close()
        assert up() == 1

    run(story())
