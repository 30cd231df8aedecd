"""An answer that is sent part by part, as it is made.

Its head goes out with the first part. What goes wrong later can't have a status of its own: it is
told as the last line, and the connection ends without the end of the body, so that no client takes
what it has for the whole.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

LAST_LINE_S = 1.0  # for a client that does not read


class Streamed(Response):
    """Lines, of which some are known, and the others come."""

    def __init__(self, first: bytes, others: AsyncGenerator[bytes, None], media_type: str) -> None:
        """Take the first part of the body, and what gives the others."""
        self._first = first
        self._others = others
        self._is_made = True  # what is to be sent next; else it is being made
        self.status_code = 200
        self.background = None
        self.media_type = media_type
        self.init_headers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; the next part is made when the client has taken what came before."""
        async with aclosing(self._others) as others:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            await _send_part(self._first, send)
            self._is_made = False
            async for part in others:
                self._is_made = True
                await _send_part(part, send)
                self._is_made = False
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def break_off(self, why: bytes, send: Send) -> None:
        """Tell why there is no more, unless the client does not read what there is."""
        if not self._is_made:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_LINE_S):
                    await _send_part(why + b"\n", send)


async def _send_part(part: bytes, send: Send) -> None:
    await send({"type": "http.response.body", "body": part, "more_body": True})
