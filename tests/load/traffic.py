"""What the soak sends: all that a public service meets, each answer checked.

Predictions have to be the estimator's own, refusals of their kind and shape, and every answer has
to bring back the request's id.
"""

import asyncio
import json
import math
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.load import rows
from benchmarks.servers import TOLERANCE, Answer, Server, reference

PAUSE_S = 0.02  # at most, between one client's requests: this is no measurement of capacity
DEADLINE_S = 5
QUOTA = 20  # of the limited client, each minute
KEYS = {name: f"{name}-key-of-the-soak" for name in ("main", "limited")}
FEATURES = ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)")
JSON = {"Content-Type": "application/json"}
MAX_HEAD_BYTES = 65_536  # what the service takes
HOT_ROWS = 50
KNOWN_ROWS = 60_000
SIZES = (1, 1, 2, 3, 7, 20, 50, 100, 300)


class WrongError(Exception):
    """An answer that is not what it must be."""


@dataclass(frozen=True)
class Bad:
    """A request that has to be refused, and how."""

    status: int
    slug: str
    body: bytes = b""
    path: str = "/predict"
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=lambda: dict(JSON))


def bad_requests() -> list[Bad]:
    """List requests that are wrong in many ways."""
    malformed = (
        b"",
        b"{",
        b'{"data": [1, 2, 3, NaN]}',
        b'{"data": [1, 2, 3, 1e999]}',
        b'{"data": [1, 2, 3, 4], "data": [1, 2, 3, 4]}',
        b'{"data": [1, 2, 3, 4]} {}',
        b'{"data": "\xff"}',
        b"[" * 10_000,
    )
    invalid = (
        b"[]",
        b"{}",
        b"null",
        b'{"data": []}',
        b'{"data": [1, 2, 3]}',
        b'{"data": [1, 2, 3, "4"]}',
        b'{"data": [1, 2, 3, null]}',
        b'{"data": [1, 2, 3, true]}',
        b'{"data": [1, 2, 3, 1e308]}',
        b'{"data": {"sepal length (cm)": 1, "colour": 7}}',
        b'{"data": [1, 2, 3, 4], "more": 1}',
        b'{"data": [[1, 2, 3, 4]]}',
    )
    row, batch = b'{"data": [1, 2, 3, 4]}', "/predict/batch"
    many = json.dumps({"data": [[1, 2, 3, 4]] * 1001}).encode()
    return [
        *(Bad(400, "malformed-body", body) for body in malformed),
        *(Bad(422, "invalid-input", body) for body in invalid),
        Bad(422, "invalid-input", b'{"data": [[1, 2, 3, 4], [1, 2, 3]]}', batch),
        Bad(422, "invalid-input", b'{"data": [1, 2, 3, 4]}', batch),
        Bad(413, "batch-too-large", many, batch),
        Bad(413, "body-too-large", b" " * 1_048_577),
        Bad(415, "unsupported-media-type", row, headers={"Content-Type": "text/plain"}),
        Bad(415, "unsupported-media-type", row, headers=JSON | {"Content-Encoding": "br"}),
        Bad(400, "malformed-body", row, headers=JSON | {"Content-Encoding": "gzip"}),
        Bad(405, "method-not-allowed", method="GET", headers={}),
        Bad(405, "method-not-allowed", row, "/health"),
        Bad(404, "not-found", row, batch + "/"),
    ]


class Known:
    """Rows with the estimator's own answers: an endless supply, and a few that come again."""

    def __init__(self, server: Server, model: Path) -> None:
        """Ask the estimator about all of them now, in a process of its own."""
        source = rows(seed=time.time_ns())
        sample = [next(source) for _ in range(KNOWN_ROWS)]
        self.all = list(zip(sample, reference(server, model, sample), strict=True))
        self.hot = self.all[:HOT_ROWS]
        self._next = HOT_ROWS

    def new(self) -> tuple[list[float], Answer]:
        """Give a row that has not been asked about for long, if ever."""
        self._next = self._next + 1 if self._next + 1 < len(self.all) else HOT_ROWS
        return self.all[self._next]


def same(answer: dict[str, Any], expected: Answer) -> bool:
    """Tell whether a prediction is the estimator's."""
    label, exact = expected
    given = answer["probabilities"]
    return (
        answer["prediction"] == label
        and given.keys() == exact.keys()
        and all(
            math.isclose(given[name], exact[name], rel_tol=TOLERANCE, abs_tol=TOLERANCE)
            for name in exact
        )
    )


def problem(status: int, content_type: str, body: bytes, expected: int, slug: str) -> None:
    """Check an answer outside 2xx against RFC 9457 and its kind."""
    if status != expected or content_type != "application/problem+json":
        raise WrongError(f"{status} {content_type}, not {expected} {slug}: {body[:200]!r}")
    document = json.loads(body)
    members = {"type", "title", "status", "detail", "request_id"}
    if not document["type"].endswith(f"/errors/{slug}") or not members <= document.keys():
        raise WrongError(f"not {slug}: {body[:200]!r}")


class Traffic:
    """All kinds of requests, each a coroutine that checks what it is answered."""

    def __init__(self, session: aiohttp.ClientSession, port: int, known: Known) -> None:
        """Send to a server over a session's pool of connections."""
        self.session = session
        self.port = port
        self.known = known
        self.random = random.Random(42)
        self.counts: Counter[str] = Counter()
        self.granted: list[float] = []  # when the limited client was answered
        self.bad = bad_requests()
        self.kinds: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (30, self.single),
            (10, self.by_name),
            (20, self.repeated),
            (5, self.unusual),
            (10, self.batch),
            (15, self.refused),
            (3, self.without_key),
            (3, self.limited),
            (4, self.unknown_path),
            (5, self.reads),
            (2, self.slow_body),
            (4, self.goes_away),
            (1, self.large_head),
        ]

    async def ask(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, aiohttp.ClientResponse, bytes]:
        """Send a request with an id of its own, which has to come back."""
        request_id = f"soak-{self.random.getrandbits(64):x}"
        headers = headers | {"X-Request-ID": request_id}
        if "Authorization" not in headers:
            headers = {"X-API-Key": KEYS["main"]} | headers
        async with self.session.request(method, path, data=body, headers=headers) as answer:
            content = await answer.read()
        self.counts[str(answer.status)] += 1
        if answer.headers.get("X-Request-ID") != request_id:
            raise WrongError(f"{answer.status} with another X-Request-ID: {answer.headers}")
        if answer.status >= 400 and json.loads(content).get("request_id") != request_id:
            raise WrongError(f"{answer.status} with another request_id: {content[:200]!r}")
        return answer.status, answer, content

    async def predict(self, data: object, path: str = "/predict") -> dict[str, Any]:
        """Ask for predictions that must be given."""
        body = json.dumps({"data": data}).encode()
        status, answer, content = await self.ask("POST", path, body, JSON)
        if status != 200 or answer.content_type != "application/json":
            raise WrongError(f"{status} for a good body: {content[:300]!r}")
        if path == "/predict":
            hit = "hit" in answer.headers.get("Cache-Status", "")
            self.counts["cache hits" if hit else "cache misses"] += 1
        document: dict[str, Any] = json.loads(content)
        return document

    async def expect(self, data: object, expected: Answer) -> dict[str, Any]:
        """Ask for one prediction that must be the estimator's."""
        answer = await self.predict(data)
        if not same(answer, expected):
            raise WrongError(f"{data} -> {answer}, not {expected}")
        return answer

    async def single(self) -> None:
        """Ask about a new row."""
        await self.expect(*self.known.new())

    async def by_name(self) -> None:
        """Ask about a new row by the features' names, in any order."""
        row, expected = self.known.new()
        pairs = list(zip(FEATURES, row, strict=True))
        self.random.shuffle(pairs)
        await self.expect(dict(pairs), expected)

    async def repeated(self) -> None:
        """Ask about a row that was asked about before."""
        await self.expect(*self.random.choice(self.known.hot))

    async def unusual(self) -> None:
        """Ask about a row unlike those of training: answered, with a warning."""
        answer = await self.predict([self.random.uniform(20, 30), 3.0, 4.0, 1.0])
        if [warning["pointer"] for warning in answer["warnings"]] != ["/data/0"]:
            raise WrongError(f"warnings of an unusual row: {answer['warnings']}")

    async def batch(self) -> None:
        """Ask about many rows, some by name."""
        some = [self.known.new() for _ in range(self.random.choice(SIZES))]
        data = [
            dict(zip(FEATURES, row, strict=True)) if self.random.random() < 0.3 else row
            for row, _ in some
        ]
        answer = await self.predict(data, "/predict/batch")
        for (row, expected), one in zip(some, answer["predictions"], strict=True):
            if not same(one, expected):
                raise WrongError(f"{row} in a batch -> {one}, not {expected}")
        self.counts["rows in batches"] += len(some)

    async def refused(self, bad: Bad | None = None) -> None:
        """Send something wrong."""
        bad = bad or self.random.choice(self.bad)
        if len(bad.body) > 1_000_000:  # refused by its length, before it is sent
            head = f"Content-Length: {len(bad.body)}\r\n\r\n"
            await self.raw([head.encode()], bad.status, bad.slug)
            return
        status, answer, content = await self.ask(bad.method, bad.path, bad.body, bad.headers)
        problem(status, answer.content_type, content, bad.status, bad.slug)

    async def without_key(self) -> None:
        """Send no key, or a wrong one."""
        key = self.random.choice(["", "wrong", KEYS["main"] + "x"])
        headers = JSON | {"X-API-Key": key}
        body = b'{"data": [1, 2, 3, 4]}'
        status, answer, content = await self.ask("POST", "/predict", body, headers)
        problem(status, answer.content_type, content, 401, "unauthorized")
        if "WWW-Authenticate" not in answer.headers:
            raise WrongError("401 without WWW-Authenticate")

    async def limited(self) -> None:
        """Ask as the client with a quota: answered, or told when to come back."""
        row, expected = self.random.choice(self.known.hot)
        headers = JSON | {"Authorization": f"Bearer {KEYS['limited']}"}
        body = json.dumps({"data": row}).encode()
        status, answer, content = await self.ask("POST", "/predict", body, headers)
        if status == 200:
            self.granted.append(time.monotonic())
            if not same(json.loads(content), expected):
                raise WrongError(f"{row} -> {content!r}, not {expected}")
            return
        problem(status, answer.content_type, content, 429, "quota-exceeded")
        if not 1 <= int(answer.headers["Retry-After"]) <= 60:
            raise WrongError(f"429 with Retry-After {answer.headers['Retry-After']}")

    async def unknown_path(self) -> None:
        """Ask for what is not there, each time at another path."""
        status, answer, content = await self.ask(
            "GET", f"/nothing/{self.random.getrandbits(64):x}", None, {}
        )
        problem(status, answer.content_type, content, 404, "not-found")

    async def reads(self) -> None:
        """Read all that can be read."""
        for path in (
            "/health", "/livez", "/readyz", "/model/info", "/model/card", "/metrics", "/docs.json",
            "/", "/docs.js", "/schema.json", "/errors/invalid-input",
        ):  # fmt: skip
            status, _, content = await self.ask("GET", path, None, {})
            if status != 200 or (not content and path not in ("/livez", "/readyz")):
                raise WrongError(f"{path}: {status} {content[:200]!r}")

    async def slow_body(self) -> None:
        """Send a good body a few bytes at a time."""
        row, expected = self.known.new()
        body = json.dumps({"data": row}).encode()
        pieces = [body[start : start + 8] for start in range(0, len(body), 8)]
        head = f"Content-Length: {len(body)}\r\n\r\n".encode()
        content = await self.raw([head, *pieces], 200, pause_s=0.1)
        if not same(json.loads(content), expected):
            raise WrongError(f"{row}, slowly -> {content!r}, not {expected}")

    async def stalled_body(self) -> None:
        """Stop in the middle of a body: its deadline ends it."""
        await self.raw([b'Content-Length: 100\r\n\r\n{"data"'], 504, "deadline-exceeded")

    async def goes_away(self) -> None:
        """Leave at some point of a request, politely or with a reset."""
        body = json.dumps({"data": self.known.new()[0]}).encode()
        request = self.head() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body
        until = self.random.choice([0, 9, 60, len(request) - 10, len(request)])
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request[:until])
        with suppress(OSError):
            await writer.drain()
        if self.random.random() < 0.5:
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        self.counts["went away"] += 1

    async def large_head(self) -> None:
        """Send more headers than are taken: the HTTP layer refuses them, in plain text."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(self.head() + b"X-Large: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n")
            status = (await reader.readline()).split()[1]
        finally:
            writer.close()
        self.counts[status.decode()] += 1
        if status != b"431":
            raise WrongError(f"{status!r}, not 431, for a large head")

    def head(self) -> bytes:
        """Give the head of a prediction, but for its end."""
        return (
            f"POST /predict HTTP/1.1\r\nHost: soak\r\nX-API-Key: {KEYS['main']}\r\n"
            "Content-Type: application/json\r\n"
        ).encode()

    async def raw(
        self, pieces: list[bytes], status: int, slug: str = "", pause_s: float = 0.0
    ) -> bytes:
        """Send a prediction in pieces on a connection of its own; give the answer's body."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(self.head())
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(pause_s)
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *lines = head.rstrip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (h.partition(": ") for h in lines)}
            content = await reader.readexactly(int(headers["content-length"]))
        finally:
            writer.close()
        given = int(line.split()[1])
        self.counts[str(given)] += 1
        if status >= 400:
            problem(given, headers["content-type"], content, status, slug)
        elif given != status:
            raise WrongError(f"{given}, not {status}: {content[:200]!r}")
        return content

    async def each_once(self) -> None:
        """Send every kind once, so that all that is ever made is there before it is counted."""
        for _, kind in self.kinds:
            await kind()
        for bad in self.bad:
            await self.refused(bad)
        await self.stalled_body()
        for _ in range(QUOTA + 1):
            await self.limited()

    async def client(self, end: float) -> None:
        """Be one of the clients: any kind of request, again and again."""
        weights, kinds = zip(*self.kinds, strict=True)
        while time.monotonic() < end:
            await self.random.choices(kinds, weights)[0]()
            await asyncio.sleep(self.random.uniform(0, PAUSE_S))

    async def stalls(self, end: float) -> None:
        """Be the client whose bodies stop in the middle."""
        while time.monotonic() < end - DEADLINE_S - 1:
            await self.stalled_body()
