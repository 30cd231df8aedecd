"""Answers that go out part by part, and how they end before their time."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from serving.dialects.dialect import Answer as Written
from serving.dialects.dialect import Asked, Sent
from serving.door.edge import Edge
from serving.door.predicting import Predicting
from serving.door.routes import Route
from serving.model.about import About
from serving.model.rows import Question, Rows
from serving.prediction.predictor import EstimatorError, Outcome
from serving.prediction.shelf import Shelf
from serving.problems import OVERLOADED, Problem
from tests.unit.door.doors import LONG_S, FakeLoaded, FakePredictor, door
from tests.unit.door.test_edge_endings import Client, turns
from tests.unit.door.test_predicting import LINES, PLAIN, read_lines
from tests.unit.fakes import Answer, Heard, ask

HEADERS = [(b"content-type", b"text/plain")]
BODY = b"1,2\n3,4\n5,6"


def in_lines(sent: Sent, about: About, rows: Rows) -> Iterator[Asked]:
    """Ask for each line by itself."""
    for number, line in enumerate(sent.body.split()):
        question, write = read_lines(sent._replace(body=line), about, rows)
        question.numbers = [number]

        def written(predictions: Any, request_id: str, write: Any = write) -> Any:  # noqa: ANN401
            if predictions == [None]:
                return Written(b"failed\n", PLAIN)
            answer = write(predictions, request_id)
            return answer._replace(body=answer.body + b"\n")

        yield Asked(question, written)


class Gated(FakePredictor):
    """Answers as many questions as it is let, and then fails or waits."""

    def __init__(self, count: int, failure: Exception | None = None) -> None:
        """Take how many, and what is raised then."""
        super().__init__()
        self._count = count
        self._late_failure = failure
        self.cancelled = 0

    async def ask(self, question: Question) -> Outcome:
        """Answer a question."""
        outcome = await super().ask(question)
        if len(self.asked) > self._count:
            if self._late_failure is not None:
                raise self._late_failure
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return outcome


def edge_of(predictor: FakePredictor, *heard: Heard, timeout_s: float = LONG_S) -> Edge:
    """Serve a model whose answers go out line by line."""
    predicting = Predicting(Shelf([FakeLoaded(predictor=predictor).as_loaded]), 1000)
    conversation = replace(LINES, streams={PLAIN: in_lines})
    route: Route = predicting.route("/lines", conversation)
    return door(route, listeners=heard, timeout_s=timeout_s)


def post(edge: Edge) -> Answer:
    """Ask for three lines."""
    headers = [*HEADERS, (b"accept", b"text/plain")]
    return asyncio.run(ask(edge, "/lines", method="POST", headers=headers, body=BODY))


def test_each_part_is_answered_before_the_next_is_read_and_all_are_told_of_as_one() -> None:
    heard, predictor = Heard(), FakePredictor()
    answer = post(edge_of(predictor, heard))
    assert (answer.status, answer.body) == (200, b"spam\n" * 3)
    assert "content-length" not in answer.headers
    assert answer.headers["x-request-id"]
    assert [question.rows for question in predictor.asked] == [[(1, 2)], [(3, 4)], [(5, 6)]]
    assert [(event.status, event.rows, event.unusual) for event in heard.answers] == [
        (200, 3, {"length": 3})
    ]


def test_what_fails_by_the_end_of_the_first_part_has_its_own_status() -> None:
    for failure, status in ((Problem(OVERLOADED, "busy"), 503), (ZeroDivisionError(), 500)):
        answer = post(edge_of(Gated(0, failure)))
        assert answer.status == status
        assert answer.headers["content-type"].startswith("text/loud")


@pytest.mark.parametrize(
    ("predictor", "timeout_s", "told"),
    [
        (Gated(2, Problem(OVERLOADED, "busy")), LONG_S, (503, "overloaded", False)),
        (Gated(2, ZeroDivisionError()), LONG_S, (500, "internal-error", True)),
        (Gated(2), 0.05, (504, "deadline-exceeded", False)),
    ],
    ids=["overload", "defect", "deadline"],
)
def test_what_fails_later_is_told_in_a_last_line_and_the_answer_never_ends(
    predictor: Gated, timeout_s: float, told: tuple[int, str, bool]
) -> None:
    async def story() -> None:
        client = _Posts(edge_of(predictor, heard, timeout_s=timeout_s))
        await client.task
        assert client.got == ["start", "body", "body", "body"]
        assert all(message["more_body"] for message in client.sent[1:])
        *lines, last = b"".join(message["body"] for message in client.sent[1:]).splitlines()
        assert lines == [b"spam"] * 2
        assert json.loads(last)["status"] == status

    heard = Heard()
    status, slug, is_defect = told
    asyncio.run(story())
    (event,) = heard.answers
    assert (event.status, event.problem, event.rows) == (200, slug, 3)
    assert (event.exception is not None) == is_defect


def test_a_part_that_the_model_fails_on_is_asked_row_by_row_and_the_defect_is_told() -> None:
    heard = Heard()
    answer = post(edge_of(Gated(2, EstimatorError()), heard))
    assert (answer.status, answer.body) == (200, b"spam\nspam\nfailed\n")
    (event,) = heard.answers
    assert isinstance(event.exception, EstimatorError)
    refusal = EstimatorError()
    refusal.__cause__ = ValueError()  # of values unlike those of training, as these are
    assert post(edge_of(Gated(2, refusal), heard)).status == 200
    assert heard.answers[-1].exception is None


def test_a_client_that_leaves_within_it_ends_its_work() -> None:
    async def story() -> None:
        client = _Posts(edge_of(predictor, heard))
        await turns(20)
        assert client.got == ["start", "body"]
        client.leave()
        await client.task
        assert client.got == ["start", "body"]

    heard, predictor = Heard(), Gated(1)
    asyncio.run(story())
    assert predictor.cancelled == 1
    assert [(event.status, event.problem) for event in heard.answers] == [(499, None)]


def test_the_end_of_the_server_is_told_in_a_last_line_too() -> None:
    async def story() -> None:
        client = _Posts(edge_of(Gated(1), heard))
        await turns(20)
        client.task.cancel()
        await client.task
        assert json.loads(client.sent[-1]["body"])["detail"] == "the server is shutting down"
        assert client.sent[-1]["more_body"]

    heard = Heard()
    asyncio.run(story())
    assert [(event.status, event.problem) for event in heard.answers] == [(200, "unavailable")]


def test_a_client_that_does_not_read_gets_no_last_line() -> None:
    async def story() -> None:
        client = _Posts(edge_of(FakePredictor(), heard, timeout_s=0.05), reads=2)
        await client.task
        assert client.got == ["start", "body"]

    heard = Heard()
    asyncio.run(story())
    assert [(event.status, event.problem) for event in heard.answers] == [
        (200, "deadline-exceeded")
    ]


class _Posts(Client):
    """A client that posts three lines, and may read no more than some messages."""

    def __init__(self, edge: Edge, reads: int = 9) -> None:
        self._left = [{"type": "http.request", "body": BODY, "more_body": False}]
        self._reads = reads
        super().__init__(edge, "POST", "/lines")
        self.scope["headers"] = [*HEADERS, (b"accept", b"text/plain")]

    async def _receive(self) -> Any:  # noqa: ANN401
        return self._left.pop() if self._left else await super()._receive()

    async def _send(self, message: Any) -> None:  # noqa: ANN401
        if len(self.sent) >= self._reads:
            await asyncio.Event().wait()
        await super()._send(message)
