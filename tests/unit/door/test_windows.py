"""Windows: never more requests in one than the quota has, and none refused within it.

How a real Redis counts is tested with one, in tests/system.
"""

import asyncio
import time
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.door import windows
from serving.door.windows import Memory, RedisWindows, Window
from serving.keys import Quota
from serving.settings import MEMORY
from tests.unit.fakes import FakeRedis, StillClock

A_SECOND = Quota(1, 1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StillClock:
    """Give the clock that windows go by."""
    still = StillClock()
    monkeypatch.setattr(windows, "time", SimpleNamespace(time=still))
    return still


# In memory


@given(
    quota=st.builds(Quota, st.integers(1, 5), st.integers(1, 5)),
    pauses=st.lists(st.sampled_from([0, 0.1, 0.5, 1, 2, 4.9, 5, 7]), max_size=60),
)
@example(quota=Quota(1, 5), pauses=[5, 5, 5])
def test_no_window_ever_holds_more_than_the_quota_and_none_is_refused_within_it(
    quota: Quota, pauses: list[float]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = StillClock()
        patch.setattr(windows, "time", SimpleNamespace(time=clock))
        subject = Memory()
        passed: list[float] = []
        for pause in pauses:
            clock.now_s += pause
            passed = [moment for moment in passed if moment >= clock.now_s - quota.window_s]
            passes = len(passed) < quota.amount
            if passes:
                passed.append(clock.now_s)
            assert subject.hit("client", quota) == Window(passes, passed[0], len(passed))


def test_clients_that_have_gone_are_forgotten(clock: StillClock) -> None:
    subject, most = Memory(), 0
    for number in range(5_000):  # each comes once, and a hundred within a window
        clock.now_s += 0.6
        subject.hit(f"client {number}", Quota(100, 60))
        most = max(most, len(subject._windows))
    assert most < 500


def test_clients_that_stay_are_not_forgotten(clock: StillClock) -> None:
    subject, quota = Memory(), Quota(1, 3600)
    assert subject.hit("who stays", quota).passed
    for number in range(1_000):
        clock.now_s += 2
        subject.hit(f"client {number}", A_SECOND)
    assert not subject.hit("who stays", quota).passed


@pytest.mark.parametrize("amount", [5, 1_000_000], ids=["full", "with room"])
def test_a_client_takes_no_more_room_than_its_requests_in_the_window(
    clock: StillClock, amount: int
) -> None:
    subject = Memory()
    for _ in range(100):
        clock.now_s += 2
        subject.hit("client", Quota(amount, 10))
    assert len(subject._windows["client"][1]) <= 6


def test_counting_costs_as_much_with_many_requests_and_clients_as_with_none() -> None:
    """Generously: what this guards against looks at all of them at each hit."""
    subject, quota = Memory(), Quota(10**9, 3600)

    def seconds() -> float:
        started = time.process_time()
        for _ in range(1_000):
            subject.hit("client", quota)
        return time.process_time() - started

    with_none = min(seconds() for _ in range(3))
    for number in range(20_000):
        subject.hit("client", quota)
        subject.hit(f"client {number}", quota)
    assert min(seconds() for _ in range(3)) < 10 * with_none


# In Redis


def test_a_hit_takes_one_round_trip_and_tells_what_redis_has_counted() -> None:
    async def story() -> None:
        redis = FakeRedis()
        async with redis.listening():
            subject = RedisWindows(redis.url)
            await subject.hit("client", A_SECOND)
            redis.commands.clear()
            redis.answer = b"*3\r\n:0\r\n$6\r\n1000.5\r\n:7\r\n"
            hits = [await subject.hit("client", A_SECOND) for _ in range(3)]
            assert hits == [Window(passed=False, oldest=1000.5, used=7)] * 3
            assert redis.commands == ["EVALSHA"] * 3
            await subject.close()

    asyncio.run(asyncio.wait_for(story(), 20))


def test_a_redis_that_was_started_anew_gets_the_script_again() -> None:
    async def story() -> None:
        redis = FakeRedis()
        async with redis.listening():
            subject = RedisWindows(redis.url)
            redis.knows_scripts = False
            assert (await subject.hit("client", A_SECOND)).passed
            assert redis.commands[-3:] == ["EVALSHA", "SCRIPT", "EVALSHA"]
            await subject.close()

    asyncio.run(asyncio.wait_for(story(), 20))


@pytest.mark.parametrize(
    "url", ["redis://:hun/ter2@localhost:port", "http://hunter2", "redis://h/0?hunter2=1"]
)
def test_a_storage_that_is_no_url_of_a_redis_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="no URL of a Redis server") as caught:
        RedisWindows(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__
    with pytest.raises(SystemExit, match=r"^SERVING_RATE_LIMIT_STORAGE: ") as ended:
        windows.check(url)
    assert "hunter2" not in str(ended.value)


def test_a_storage_is_checked_without_asking_it() -> None:
    windows.check(MEMORY)
    windows.check("redis://:hunter2@nowhere.invalid:6379/0")
