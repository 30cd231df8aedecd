"""The edge: requests that end before their time (deadline, client gone, shutdown), each once."""

import asyncio
import gc
import weakref

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from serving.door.edge import CLIENT_GONE, Edge
from serving.door.quotas import Quotas
from serving.door.routes import Route
from tests.unit.door.doors import LONG_S, assert_problem, before, door, fine, get, read
from tests.unit.fakes import Answer, Heard, ask, http_scope

SHORT_S = 0.001
START: Message = {"type": "http.response.start", "status": 200, "headers": []}
BODY: Message = {"type": "http.response.body", "body": b"fine"}


class Waiting(Response):
    """An answer that waits before its head, or after it; it counts how often it is cancelled."""

    def __init__(self, *, within: bool = False) -> None:
        """Close the gate."""
        super().__init__()
        self.gate = asyncio.Event()
        self.cancelled = 0
        self._within = within

    async def give(self, _: Request) -> Response:
        """Answer a request."""
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer when the gate is open."""
        if self._within:
            await send(dict(START))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if not self._within:
            await send(dict(START))
        await send(BODY)


class Client:
    """A request under way, whose client leaves when the test says so."""

    def __init__(self, edge: Edge, method: str = "GET", path: str = "/ok") -> None:
        """Begin it."""
        self.sent: list[Message] = []
        self.scope = http_scope(method, path)
        self.task = asyncio.create_task(edge(self.scope, self._receive, self._send))

    async def _receive(self) -> Message:
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def got(self) -> list[str]:
        """The kinds of messages that were sent to it."""
        return [message["type"].removeprefix("http.response.") for message in self.sent]

    @property
    def answer(self) -> Answer:
        """The whole answer."""
        return Answer(self.sent[0]["status"], self.sent[0]["headers"], self.sent[1]["body"])

    def leave(self) -> None:
        """Do as the protocol does when a connection is lost."""
        if (gone := self.scope.get(CLIENT_GONE)) is not None:
            gone()


async def turns(count: int = 5) -> None:
    """Let the event loop run what is due."""
    for _ in range(count):
        await asyncio.sleep(0)


def told(heard: Heard) -> list[tuple[int, str | None]]:
    """Give how requests ended; none of these ends is an error."""
    assert {event.exception for event in heard.answers} <= {None}
    return [(event.status, event.problem) for event in heard.answers]


# The deadline


def test_the_deadline_is_answered_and_its_work_is_cancelled() -> None:
    waiting, heard = Waiting(), Heard()
    answer = get(before(waiting.give, timeout_s=SHORT_S, listeners=[heard]))
    assert_problem(answer, 504, "deadline-exceeded")
    assert answer.json()["detail"] == "the answer was not ready within 0.001 s"
    assert waiting.cancelled == 1
    assert told(heard) == [(504, "deadline-exceeded")]


def test_a_browser_may_read_that_the_deadline_has_passed() -> None:
    edge = before(Waiting().give, timeout_s=SHORT_S, cors_origins=["https://shop.example"])
    answer = get(edge, headers=[(b"Origin", b"https://shop.example")])
    assert_problem(answer, 504, "deadline-exceeded")
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"


def test_a_body_that_does_not_arrive_ends_at_the_deadline() -> None:
    async def story() -> Answer:
        client = Client(door(Route("POST", "/read", read), timeout_s=SHORT_S), "POST", "/read")
        await client.task
        return client.answer

    assert_problem(asyncio.run(story()), 504, "deadline-exceeded")


def test_the_wait_for_a_quota_has_the_deadline_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never_counts(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Quotas, "count", never_counts)
    edge = door(Route("GET", "/ok", read, counts=True), timeout_s=SHORT_S)
    assert_problem(get(edge), 504, "deadline-exceeded")


def test_a_deadline_that_passes_within_an_answer_gives_no_second_one() -> None:
    async def story() -> None:
        client = Client(before(Waiting(within=True).give, timeout_s=SHORT_S, listeners=[heard]))
        await client.task
        assert client.got == ["start"]

    heard = Heard()
    asyncio.run(story())
    assert told(heard) == [(200, None)]


def test_a_finished_request_leaves_nothing_behind() -> None:
    async def story() -> int:
        await ask(door(timeout_s=LONG_S), "/ok")
        loop = asyncio.get_running_loop()
        return sum(not handle.cancelled() for handle in loop._scheduled)  # type: ignore[attr-defined]

    assert asyncio.run(story()) == 0


# Clients that leave


@pytest.mark.parametrize("origins", [(), ("https://shop.example",)], ids=["", "with CORS"])
def test_the_work_for_a_client_that_leaves_is_dropped_and_its_neighbours_go_on(
    origins: tuple[str, ...],
) -> None:
    async def story() -> None:
        waiting = Waiting()
        edge = before(waiting.give, listeners=[heard], cors_origins=origins)
        leaving, staying = Client(edge), Client(edge)
        await turns()
        leaving.leave()
        leaving.leave()  # it may be said twice
        await leaving.task
        leaving.leave()  # or when all is over
        await turns()
        assert (leaving.got, waiting.cancelled) == ([], 1)
        assert told(heard) == [(499, None)]
        waiting.gate.set()
        await staying.task
        assert (staying.got, waiting.cancelled) == (["start", "body"], 1)

    heard = Heard()
    asyncio.run(story())
    assert told(heard) == [(499, None), (200, None)]


def test_a_client_that_leaves_within_its_answer_stops_nothing() -> None:
    async def story() -> None:
        waiting = Waiting(within=True)
        leaving = Client(before(waiting.give, listeners=[heard]))
        await turns()
        leaving.leave()
        await turns()
        assert not leaving.task.done()
        waiting.gate.set()
        await leaving.task
        assert (leaving.got, waiting.cancelled) == (["start", "body"], 0)

    heard = Heard()
    asyncio.run(story())
    assert told(heard) == [(200, None)]


def test_a_request_that_is_over_leaves_nothing_for_the_garbage_collector() -> None:
    """Nor anything to be called when its client leaves, in a task that may serve another."""

    class Cycle:
        """As the server's own, which knows the scope, and sends."""

        def __init__(self) -> None:
            self.scope = http_scope("GET", "/ok")
            self.sent: list[Message] = []

        async def receive(self) -> Message:
            raise AssertionError("the body was read")

        async def send(self, message: Message) -> None:
            self.sent.append(message)

    async def story() -> None:
        edge = before(fine)
        cycle = Cycle()
        await edge(cycle.scope, cycle.receive, cycle.send)
        assert len(cycle.sent) == 2
        assert CLIENT_GONE not in cycle.scope
        left = weakref.ref(cycle)
        gc.disable()
        try:
            del cycle
            assert left() is None
        finally:
            gc.enable()

    asyncio.run(story())


def test_a_client_that_leaves_and_a_deadline_that_passes_together_are_one_end() -> None:
    class Both(asyncio.Future[None]):
        """Is cancelled by the deadline, and the client leaves before the work can notice."""

        def cancel(self, msg: object = None) -> bool:
            first = super().cancel(msg)
            if first:
                clients[0].leave()
            return first

    async def wait(_: Request) -> Response:
        await Both()
        raise AssertionError("unreachable")

    async def story() -> None:
        clients.append(Client(before(wait, timeout_s=SHORT_S, listeners=[heard])))
        await clients[0].task
        assert clients[0].got == []

    clients: list[Client] = []
    heard = Heard()
    asyncio.run(story())
    assert told(heard) == [(499, None)]


# The end of the server


def test_a_shutdown_is_answered_to_those_who_have_not_left() -> None:
    async def story() -> None:
        edge = before(Waiting().give, listeners=[heard])
        leaving, staying = Client(edge), Client(edge)
        await turns()
        leaving.leave()
        for client in (leaving, staying):
            client.task.cancel()
        await asyncio.gather(leaving.task, staying.task)
        assert leaving.got == []
        assert_problem(staying.answer, 503, "unavailable")
        assert staying.answer.headers["retry-after"] == "1"

    heard = Heard()
    asyncio.run(story())
    assert told(heard) == [(499, None), (503, "unavailable")]


def test_a_shutdown_within_an_answer_gives_no_second_one() -> None:
    async def story() -> None:
        client = Client(before(Waiting(within=True).give, listeners=[heard]))
        await turns()
        client.task.cancel()
        await client.task
        assert client.got == ["start"]

    heard = Heard()
    asyncio.run(story())
    assert told(heard) == [(200, None)]


def test_a_shutdown_while_a_problem_is_sent_ends_there() -> None:
    async def story() -> None:
        async def receive() -> Message:
            raise AssertionError("the body was read")

        async def send_to_one_who_reads_nothing(_: Message) -> None:
            await asyncio.Event().wait()

        edge = before(Waiting().give, timeout_s=SHORT_S, listeners=[heard])
        task = asyncio.create_task(
            edge(http_scope("GET", "/nowhere"), receive, send_to_one_who_reads_nothing)
        )
        await turns()
        task.cancel()
        await task

    heard = Heard()
    asyncio.run(story())
    assert told(heard) == [(499, "not-found")]
