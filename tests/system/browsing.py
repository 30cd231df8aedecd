"""A real browser without a screen; Debian's package ``chromium`` has one."""

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from tests.server import PATIENCE_S, eventually, kill

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1200,2400",
)
VIRTUAL_TIME_MS = 20_000  # runs as fast as the page allows


def browse(url: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Open a page in a new profile."""
    done = subprocess.run(
        [
            "chromium",
            *FLAGS,
            f"--user-data-dir={folder / 'profile'}",
            f"--virtual-time-budget={VIRTUAL_TIME_MS}",
            *arguments,
            url,
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done


@contextmanager
def devtools(folder: Path) -> Iterator[str]:
    """Start a browser, and give the host and port of its DevTools."""
    command = ["chromium", *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={folder}/own"]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "about:blank"], stderr=output)

    def listens() -> list[str]:
        return re.findall(r"DevTools listening on ws://([^/]+)/", log.read_text())

    try:
        yield eventually("the browser listens", listens)[0]
    finally:
        kill(process)


class Page:
    """A page in a browser, and all that the browser has told of it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Take the connection to its DevTools."""
        self.events: list[dict[str, Any]] = []
        self._socket = socket
        self._numbers = count(1)

    async def call(self, method: str, **params: object) -> Any:  # noqa: ANN401 (any JSON)
        """Call a method of the DevTools Protocol."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while (told := await self._socket.receive_json()).get("id") != number:
            self.events.append(told)
        return told["result"]

    async def open(self, url: str) -> None:
        """Open an address, and wait until all is loaded."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        self.events.clear()
        await self.call("Page.navigate", url=url)
        while not self.told("Page.loadEventFired"):
            self.events.append(await self._socket.receive_json())

    async def run(self, script: str) -> Any:  # noqa: ANN401 (any JSON)
        """Give what a script makes of the page."""
        asked = {"expression": script, "awaitPromise": True, "returnByValue": True}
        return (await self.call("Runtime.evaluate", **asked))["result"]["value"]

    def told(self, method: str) -> list[Any]:
        """Give the events of a kind."""
        return [event["params"] for event in self.events if event.get("method") == method]

    @property
    def complaints(self) -> list[Any]:
        """What a person would find in the console: errors, and what the page may not do."""
        return [
            *self.told("Log.entryAdded"),
            *self.told("Runtime.exceptionThrown"),
            *self.told("Runtime.consoleAPICalled"),
        ]


@asynccontextmanager
async def page_in(browser: str) -> AsyncIterator[Page]:
    """Take the page of a browser."""
    async with asyncio.timeout(PATIENCE_S), aiohttp.ClientSession() as session:
        async with session.get(f"http://{browser}/json") as listed:
            pages = json.loads(await listed.text())
        socket = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
        async with session.ws_connect(socket, max_msg_size=0) as connected:
            yield Page(connected)
