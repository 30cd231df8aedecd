"""One worker's ASGI application: it starts the service, hands requests on, and ends it."""

import gc
import sys
from collections.abc import Callable
from functools import partial
from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.door.edge import Edge
from serving.host.life import Life
from serving.host.logs import PrintsAsLog
from serving.host.process import leave_out_of_collection
from serving.prediction.shelf import Shelf


class Served(Protocol):
    """The service's instance."""

    edge: Edge
    life: Life
    shelf: Shelf

    async def open(self) -> None:
        """Connect to what the service needs."""

    async def close(self) -> None:
        """Let go of all that it holds."""


class Application:
    """Answers by the service's edge, once the service is there."""

    def __init__(self, make: Callable[[], Served]) -> None:
        """Take what makes the service's instance, on the event loop."""
        self._make = make
        self._answer: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what the server asks: requests, and that the service starts and ends."""
        if scope["type"] == "http" and self._answer is not None:
            await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            served = await self._start()
        except Exception as exc:
            await send({"type": "lifespan.startup.failed", "message": repr(exc)})
            raise
        await send({"type": "lifespan.startup.complete"})
        await receive()
        served.life.end()
        await served.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self) -> Served:
        """Make the service, and see that it is ready when it is told to be."""
        gc.disable()
        sys.stdout = PrintsAsLog()
        served = self._make()
        await served.open()
        leave_out_of_collection()
        served.life.begin(served.shelf, partial(setattr, served.edge, "draining", True))
        self._answer = served.edge
        return served
