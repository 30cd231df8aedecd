"""A worker's application starts the service, hands requests on, and ends it."""

import asyncio
import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from serving.host.application import Application
from serving.host.logs import PrintsAsLog
from tests.unit.fakes import ask, lifespan


class Told:
    """A service's instance that notes what is asked of it, and what surrounds it then."""

    def __init__(self) -> None:
        """Be made."""
        self.notes = [f"made, collecting {gc.isenabled()}"]
        self.edge: Any = _Edge()
        self.life: Any = self
        self.shelf: Any = "the models"

    async def open(self) -> None:
        """Note."""
        self.notes.append("opened")

    def begin(self, models: object, on_drain: Callable[[], None]) -> None:
        """Note; and drain at once."""
        self.notes.append(f"begun with {models}, collecting {gc.isenabled()}")
        on_drain()

    def end(self) -> None:
        """Note."""
        self.notes.append("ended")

    async def close(self) -> None:
        """Note."""
        self.notes.append("closed")


class _Edge:
    draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await PlainTextResponse(f"draining {self.draining}")(scope, receive, send)


@pytest.fixture(autouse=True)
def _process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave stdout and garbage collection as they are."""
    thresholds = gc.get_threshold()
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    gc.enable()


def test_a_service_is_begun_when_it_can_answer_and_closed_when_it_has_ended() -> None:
    told: list[Told] = []

    def make() -> Told:
        told.append(Told())
        return told[0]

    async def story() -> None:
        app = Application(make)
        assert told == []  # whoever imports the service has not started it
        async with lifespan(app):
            assert isinstance(sys.stdout, PrintsAsLog)
            assert (await ask(app, "/")).body == b"draining True"
            assert told[0].notes[1:] == ["opened", "begun with the models, collecting True"]

    asyncio.run(story())
    assert told[0].notes[0] == "made, collecting False"
    assert told[0].notes[-2:] == ["ended", "closed"]


def test_a_service_that_can_not_be_made_fails_the_start() -> None:
    def fail() -> Told:
        raise RuntimeError("no model")

    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        sent.append(message)

    with pytest.raises(RuntimeError, match="no model"):
        asyncio.run(Application(fail)({"type": "lifespan"}, receive, send))
    assert sent == [{"type": "lifespan.startup.failed", "message": repr(RuntimeError("no model"))}]


def test_a_websocket_is_closed() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(Application(Told)({"type": "websocket", "path": "/"}, receive, send))
    assert sent == [{"type": "websocket.close"}]
