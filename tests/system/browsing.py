"""A real browser without a screen; Debian's package ``chromium`` has one."""

import asyncio
import json
import re
import subprocess
import time
from collections.abc import AsyncIterator, Iterable, Iterator
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
LOOKED_S = 0.02  # between two looks at a page that is to change
CONTROL = 2  # as DevTools name this modifier
# Keys that write nothing: their codes, and what those that do something write all the same.
KEYS = {
    "Tab": (9, ""),
    "Enter": (13, "\r"),
    "Space": (32, " "),
    "Backspace": (8, ""),
    "ArrowLeft": (37, ""),
    "ArrowRight": (39, ""),
}
PLACE = """((found) => {
    found.scrollIntoView({ block: "center", behavior: "instant" });
    const { x, y, width, height } = found.getBoundingClientRect();
    return { x, y, width, height };
})"""


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
        told = await self.call("Runtime.evaluate", **asked)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")  # undefined has none

    async def until(self, what: str, script: str) -> Any:  # noqa: ANN401 (any JSON)
        """Wait until a script makes something true of the page, and give that."""
        end = time.monotonic() + PATIENCE_S / 2  # before the connection itself is given up
        while not (found := await self.run(script)):
            if time.monotonic() > end:
                raise AssertionError(f"never seen: {what}")
            await asyncio.sleep(LOOKED_S)
        return found

    async def sized(self, width: int, height: int = 800, scheme: str = "light") -> None:
        """Give the page a screen, on which things are light or dark."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        await self.call("Emulation.setDeviceMetricsOverride", **screen)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.call("Emulation.setEmulatedMedia", features=features)

    async def network(self, *, latency_ms: int = 0, is_away: bool = False) -> None:
        """Have the network take its time, or be away."""
        shared = {"latency": latency_ms, "downloadThroughput": -1, "uploadThroughput": -1}
        await self.call("Network.emulateNetworkConditions", offline=is_away, **shared)

    async def press(self, key: str, modifiers: int = 0) -> None:
        """Press a key, as a person does: of a character, or of `KEYS`."""
        code, text = KEYS[key] if key in KEYS else (ord(key.upper()), key)
        told = {"key": " " if key == "Space" else key, "windowsVirtualKeyCode": code}
        writes = {"text": text} if text and not modifiers else {}
        pressed = {**told, **writes, "modifiers": modifiers}
        await self.call("Input.dispatchKeyEvent", type="keyDown", **pressed)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **told)

    async def type(self, text: str) -> None:
        """Write a text where the focus is, in place of what is there."""
        await self.call("Input.dispatchKeyEvent", type="keyDown", commands=["selectAll"])
        for character in text:
            await self.call("Input.dispatchKeyEvent", type="char", text=character)
        if not text:
            await self.press("Backspace")

    async def click(self, element: str) -> None:
        """Click into the middle of what a script finds."""
        place = await self.run(f"{PLACE}({element})")
        x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
        for kind in ("mousePressed", "mouseReleased"):
            await self._mouse(kind, x, y)

    async def drag(self, element: str, shares: Iterable[float]) -> None:
        """Press on what a script finds, move to shares of its width one by one, and let go."""
        place = await self.run(f"{PLACE}({element})")
        y = place["y"] + place["height"] / 2
        kind, x = "mousePressed", 0.0
        for share in shares:
            x = place["x"] + share * place["width"]
            await self._mouse(kind, x, y)
            kind = "mouseMoved"
        await self._mouse("mouseReleased", x, y)

    async def _mouse(self, kind: str, x: float, y: float) -> None:
        button = {"button": "left", "buttons": 1, "clickCount": 1}
        await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

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
