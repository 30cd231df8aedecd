"""A door with a few routes behind it, and a model that is not there."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message

from serving.door.auth import Keyring
from serving.door.edge import Edge
from serving.door.quotas import Quotas
from serving.door.routes import Handler, Route, Routes
from serving.keys import ApiKey
from serving.model.about import About
from serving.model.outputs import ExplainedPrediction, Prediction
from serving.model.rows import Question, Rows
from serving.prediction.loaded import Loaded
from serving.prediction.predictor import EstimatorError, Outcome
from serving.problems import INVALID_INPUT, FieldError, Problem
from serving.settings import MEMORY
from serving.telemetry import Listener, Listeners
from tests.unit.fakes import Answer, Headers, ask, http_scope
from tests.unit.samples import description

LONG_S = 600.0  # a deadline that no test lives to see
INPUT = "31415926"  # a value that must not be told


def api_key(name: str, secret: str, quota: str | None = None) -> ApiKey:
    """Give a key as it is kept."""
    return ApiKey(name, sha256(secret.encode()).digest(), quota)


async def fine(_: Request) -> Response:
    """Answer at once."""
    return PlainTextResponse("fine")


async def read(request: Request) -> Response:
    """Give the body back."""
    return Response(await request.body())


async def refuse(_: Request) -> Response:
    """Refuse the input."""
    errors = [FieldError("/data/3", "expected a number, got a string")]
    raise Problem(INVALID_INPUT, "1 problem in the request body", errors=errors)


async def crash(_: Request) -> Response:
    """Have a defect, with an input value in its message."""
    raise ZeroDivisionError(INPUT)


PLAIN = (
    Route("GET", "/ok", fine),
    Route("GET", "/refuse", refuse),
    Route("GET", "/crash", crash),
)


def door(
    *routes: Route,
    listeners: Sequence[Listener] = (),
    keys: Sequence[ApiKey] = (),
    rate_limit: str = "off",
    timeout_s: float = LONG_S,
    cors_origins: Sequence[str] = (),
    clock: Callable[[], float] = lambda: 0.0,
) -> Edge:
    """Give the edge before routes; before one at ``/ok``, if none are given."""
    return Edge(
        Routes(routes or [Route("GET", "/ok", fine)]),
        Keyring(keys) if keys else None,
        Quotas(rate_limit, MEMORY),
        Listeners(listeners),
        timeout_s,
        cors_origins,
        clock,
    )


def before(answer: Handler, **more: Any) -> Edge:  # noqa: ANN401 (what `door` takes)
    """Give the edge before one handler, at ``/ok``."""
    return door(Route("GET", "/ok", answer), **more)


def get(app: ASGIApp, path: str = "/ok", headers: Headers = (), method: str = "GET") -> Answer:
    """Send one request without a body."""
    return asyncio.run(ask(app, path, headers=headers, method=method))


async def ask_unread(app: ASGIApp, method: str, path: str, headers: Headers = ()) -> Answer:
    """Send a request whose body must not be read before it is refused."""
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("the body was read")

    async def send(message: Message) -> None:
        sent.append(message)

    await app(http_scope(method, path, headers), receive, send)
    return Answer(sent[0]["status"], sent[0]["headers"], sent[1]["body"])


def assert_problem(answer: Answer, status: int, slug: str) -> None:
    """Check that an answer has the one error shape."""
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == status
    assert document["type"].endswith(f"/errors/{slug}" if slug else "about:blank")
    assert document["request_id"] == answer.headers["x-request-id"]


class FakePredictor:
    """Predicts what it is told to, and keeps what it was asked."""

    def __init__(self) -> None:
        """Predict spam."""
        self.asked: list[Question] = []
        self.lookup: str | None = None
        self.failure: Exception | None = None

    async def ask(self, question: Question) -> Outcome:
        """Answer a question."""
        self.asked.append(question)
        if self.failure is not None:
            raise self.failure
        predictions: list[Any] = [Prediction("spam") for _ in question.rows]
        if question.explain is not None:
            predictions = [ExplainedPrediction(each, {}) for each in predictions]
        return Outcome(predictions, self.lookup)

    async def ask_each(self, question: Question) -> list[Prediction | EstimatorError]:
        """Fail on each row."""
        return [EstimatorError() for _ in question.rows]


@dataclass
class FakeLoaded:
    """What the door asks of a loaded version: a classifier of mail by ``length`` and ``a/b ~c``."""

    about: About = field(default_factory=lambda: About(description(), "v1"))
    predictor: FakePredictor = field(default_factory=FakePredictor)
    keeps_predictions: bool = False
    explains: bool = False
    card: str = "<!doctype html>\n<title>mail</title>\n"
    example: Prediction = field(default_factory=lambda: Prediction("spam"))
    info: dict[str, Any] = field(default_factory=lambda: {"name": "mail"})

    def __post_init__(self) -> None:
        """Read rows as the real one does."""
        self.rows = Rows(self.about.description.features, max_rows=4)

    @property
    def as_loaded(self) -> Loaded:
        """The same, for who asks for the real one."""
        return cast(Loaded, self)
