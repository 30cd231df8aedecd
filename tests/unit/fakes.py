"""Stand-ins for what surrounds a room: an HTTP server, a log, estimators."""

import asyncio
import json
import logging
import sys
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import structlog
from prometheus_client import REGISTRY
from starlette.types import ASGIApp, Message, Scope

from serving.host.logs import FRAMEWORK_LOGGERS
from serving.telemetry import Answered, Listener, Predicted, log

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What an application sent."""

    status: int
    raw_headers: Headers
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        """The headers, by their names in lower case."""
        return {name.decode().lower(): value.decode() for name, value in self.raw_headers}

    def json(self) -> Any:  # noqa: ANN401 (any JSON)
        """Read the body."""
        return json.loads(self.body)


def http_scope(method: str, path: str, headers: Headers = ()) -> Scope:
    """Give what a server tells of a request's head; the path may have a query behind it."""
    path, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.lower(), value) for name, value in headers],
        "client": ("192.0.2.7", 50000),
        "server": ("testserver", 8000),
    }


async def ask(
    app: ASGIApp,
    path: str,
    *,
    method: str = "GET",
    headers: Headers = (),
    body: bytes | Iterable[bytes] = b"",
    leaves: bool = False,
) -> Answer:
    """Send a request as a server would, in as many chunks as the body has.

    A client that ``leaves`` is gone when the body has been sent as far as it is given.
    """
    chunks = [body] if isinstance(body, bytes) else list(body)
    last = len(chunks) - 1
    to_receive: list[Message] = [
        {"type": "http.request", "body": chunk, "more_body": leaves or index < last}
        for index, chunk in enumerate(chunks)
    ]
    if leaves:
        to_receive.append({"type": "http.disconnect"})
    sent: list[Message] = []

    async def receive() -> Message:
        if to_receive:
            return to_receive.pop(0)
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    async def send(message: Message) -> None:
        sent.append(message)

    await app(http_scope(method, path, headers), receive, send)
    if not sent:
        return Answer(0, (), b"")
    start, *rest = sent
    return Answer(
        start["status"], start["headers"], b"".join(message.get("body", b"") for message in rest)
    )


@asynccontextmanager
async def lifespan(app: ASGIApp) -> AsyncIterator[None]:
    """Start an application and shut it down, as a server would."""
    to_app: asyncio.Queue[Message] = asyncio.Queue()
    from_app: asyncio.Queue[Message] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    running = asyncio.create_task(_run(app, scope, to_app, from_app))
    await to_app.put({"type": "lifespan.startup"})
    started = await from_app.get()
    if started["type"] != "lifespan.startup.complete":
        raise RuntimeError(started.get("message"))
    yield
    await to_app.put({"type": "lifespan.shutdown"})
    await from_app.get()
    await running


async def _run(
    app: ASGIApp, scope: Scope, to_app: asyncio.Queue[Message], from_app: asyncio.Queue[Message]
) -> None:
    await app(scope, to_app.get, from_app.put)


@dataclass(slots=True)
class RecordingLog:
    """A log that keeps its lines."""

    lines: list[dict[str, Any]] = field(default_factory=list)

    def debug(self, event: str, **fields: object) -> None:
        """Keep a line."""
        self._keep("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Keep a line."""
        self._keep("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Keep a line."""
        self._keep("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Keep a line."""
        self._keep("error", event, fields)

    def critical(self, event: str, **fields: object) -> None:
        """Keep a line."""
        self._keep("critical", event, fields)

    def _keep(self, level: str, event: str, fields: dict[str, object]) -> None:
        self.lines.append({"level": level, "event": event, **fields})


def recorded(monkeypatch: pytest.MonkeyPatch, room: ModuleType) -> RecordingLog:
    """Keep what a room logs."""
    log = RecordingLog()
    monkeypatch.setattr(room, "log", log)
    return log


def service_labels(name: str) -> dict[str, str]:
    """Give the labels by which BentoML would tell a service of this name apart."""
    return {"service_name": name, "service_version": "v1", "runner_name": name}


def sample(name: str, **labels: str) -> float:
    """Sum a metric of this process over all series that have these labels; zero without any."""
    return sum(
        each.value
        for family in REGISTRY.collect()
        for each in family.samples
        if each.name == name and labels.items() <= each.labels.items()
    )


class SignEstimator:
    """Classifies by the sign of the first feature; picklable, and without scores."""

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Give one of two labels for each row."""
        return np.where(features[:, 0] < 0, "ham", "spam")


class ProbaEstimator(SignEstimator):
    """Also gives the probabilities that it was made with, whatever the rows are."""

    def __init__(self, probabilities: Any) -> None:  # noqa: ANN401 (whatever numpy takes)
        """Take one row of probabilities, or a whole array."""
        self.probabilities = np.asarray(probabilities, dtype=np.float64)

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Give the same probabilities for each row."""
        if self.probabilities.ndim != 1:
            return self.probabilities
        return np.tile(self.probabilities, (len(features), 1))


class FixedEstimator:
    """Gives what it was made with, and keeps the tables that it was given."""

    def __init__(
        self,
        values: Any,  # noqa: ANN401 (whatever an estimator may give)
        *,
        probabilities: Any = None,  # noqa: ANN401
        scores: Any = None,  # noqa: ANN401
    ) -> None:
        """Take what each of its methods gives, for all rows at once."""
        self.tables: list[Any] = []
        self._values = values
        self._probabilities = probabilities
        self._scores = scores

    def predict(self, table: Any) -> Any:  # noqa: ANN401
        """Give the values."""
        self.tables.append(table)
        return self._values

    def predict_proba(self, table: Any) -> Any:  # noqa: ANN401
        """Give the probabilities."""
        return self._probabilities

    def decision_function(self, table: Any) -> Any:  # noqa: ANN401
        """Give the scores."""
        return self._scores


@contextmanager
def restored_logging() -> Iterator[None]:
    """Undo, at the end of a block, what `configure_logging` does to the process."""
    root = logging.getLogger()
    root_level = root.level
    states = [
        (logger, logger.handlers[:], logger.level, logger.propagate)
        for logger in map(logging.getLogger, (*FRAMEWORK_LOGGERS, "uvicorn.access"))
    ]
    hooks = sys.excepthook, threading.excepthook
    try:
        yield
    finally:
        # pytest's handlers come and go with each phase of a test; ours is of the plain class.
        root.handlers[:] = [
            handler for handler in root.handlers if type(handler) is not logging.StreamHandler
        ]
        root.setLevel(root_level)
        for logger, handlers, level, propagate in states:
            logger.handlers[:] = handlers
            logger.setLevel(level)
            logger.propagate = propagate
        sys.excepthook, threading.excepthook = hooks
        logging.captureWarnings(capture=False)
        structlog.reset_defaults()
        vars(log).pop("bind", None)  # where structlog keeps what it has set up


class Heard(Listener):
    """Keeps what it hears."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.routes: list[str] = []
        self.answers: list[Answered] = []
        self.predictions: list[Predicted] = []

    def started(self, route: str) -> None:
        """Keep the route."""
        self.routes.append(route)

    def answered(self, event: Answered) -> None:
        """Keep the event."""
        self.answers.append(event)

    def predicted(self, event: Predicted) -> None:
        """Keep the event."""
        self.predictions.append(event)


class StillClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now_s: float = 1000.0) -> None:
        """Start anywhere."""
        self.now_s = now_s

    def __call__(self) -> float:
        """Tell the time in seconds."""
        return self.now_s


class FakeRedis:
    """A server that speaks Redis' protocol, and answers each script as it is told."""

    def __init__(self) -> None:
        """Answer that the request passed, and is the only one in its window."""
        self.answer = b"*3\r\n:1\r\n$1\r\n0\r\n:1\r\n"
        self.hangs = False
        self.knows_scripts = True
        self.commands: list[str] = []
        self.url = ""
        self.writers: list[asyncio.StreamWriter] = []

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
            for writer in self.writers:
                writer.close()
            self.writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
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
