"""The one story of every prediction, whatever its dialect."""

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from serving.dialects import ours
from serving.dialects.dialect import Described
from serving.door.edge import Edge
from serving.door.predicting import Predicting
from serving.door.routes import Route
from serving.model.about import About
from serving.model.features import Row
from serving.model.outputs import Prediction
from serving.model.rows import Question, Rows
from serving.prediction.cache import Lookup
from serving.prediction.predictor import EstimatorError
from serving.prediction.shelf import Shelf
from serving.problems import INVALID_INPUT, OVERLOADED, Problem
from tests.unit.door.doors import FakeLoaded, assert_problem, door, get
from tests.unit.fakes import Answer, Headers, Heard, ask

JSON: Headers = [(b"Content-Type", b"application/json")]
UNUSUAL = b'{"data": [99, 1]}'  # training has seen lengths from 0 to 9
USUAL = b'{"data": [1, 1]}'


class Csv:
    """A dialect of lines with commas."""

    media_type: ClassVar[str] = "text/csv"
    problem_media_type: ClassVar[str] = "text/plain"

    def read(self, body: bytes, rows: Rows) -> Question:
        """Read one instance in each line."""
        if body == b"bad":
            raise Problem(INVALID_INPUT, "no numbers")
        lines: list[Row] = [tuple(map(float, line.split(","))) for line in body.decode().split()]
        return Question(lines, is_one=False, unusual={"length": len(lines)})

    def write(
        self, predictions: Sequence[Prediction], question: Question, about: About, request_id: str
    ) -> bytes:
        """Write the values in one line."""
        return ",".join(str(prediction.value) for prediction in predictions).encode()

    def refuse(self, problem: Problem, request_id: str, path: str) -> bytes:
        """Write the detail."""
        return problem.detail.encode()

    def described(self, about: About, example: Prediction, max_rows: int) -> Described:
        """Describe all this."""
        text = {"type": "string"}
        return Described("csv", "Predict lines", "", text, {"one": "1,2"}, text, example.value)


def served(loaded: FakeLoaded, *, max_body_bytes: int = 100) -> list[Route]:
    """Give routes on which a model speaks three dialects."""
    predicting = Predicting(Shelf(loaded.as_loaded), max_body_bytes)
    return [
        predicting.route("/predict", ours.one),
        predicting.route("/models/{model}/predict", ours.one),
        predicting.route("/csv", Csv()),
    ]


def edge_of(loaded: FakeLoaded, *listeners: Heard, **more: Any) -> Edge:  # noqa: ANN401
    """Serve a model."""
    return door(*served(loaded, **more), listeners=listeners)


def post(
    edge: Edge, body: bytes = USUAL, path: str = "/predict", headers: Headers = JSON
) -> Answer:
    """Ask for a prediction."""
    return asyncio.run(ask(edge, path, method="POST", headers=headers, body=body))


@pytest.fixture
def loaded() -> FakeLoaded:
    """Give a model."""
    return FakeLoaded()


def test_a_body_is_read_predicted_and_answered_in_its_dialect(loaded: FakeLoaded) -> None:
    heard = Heard()
    headers = [(b"Content-Type", b"text/csv; charset=utf-8")]
    answer = post(edge_of(loaded, heard), b"1,2\n3,4", "/csv", headers)
    assert (answer.status, answer.body) == (200, b"spam,spam")
    assert answer.headers["content-type"].startswith("text/csv")
    assert [question.rows for question in loaded.predictor.asked] == [[(1, 2), (3, 4)]]
    assert [(event.rows, event.unusual) for event in heard.answers] == [(2, {"length": 2})]


@pytest.mark.parametrize(
    ("body", "media_type", "told"),
    [
        (b"bad", b"text/csv", (422, b"no numbers")),
        (b"1,2", b"application/json", (415, b"the body must be text/csv")),
        (b"1" * 101, b"text/csv", (413, b"the body is larger than 100 bytes")),
    ],
)
def test_what_a_dialect_does_not_take_is_refused_by_it_and_not_predicted(
    loaded: FakeLoaded, body: bytes, media_type: bytes, told: tuple[int, bytes]
) -> None:
    answer = post(edge_of(loaded), body, "/csv", [(b"Content-Type", media_type)])
    assert (answer.status, answer.body) == told
    assert answer.headers["content-type"].startswith("text/plain")
    assert loaded.predictor.asked == []


def test_our_own_dialect_closes_with_the_model_and_the_request(loaded: FakeLoaded) -> None:
    answer = post(edge_of(loaded), headers=[*JSON, (b"X-Request-ID", b"mine")])
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "prediction": "spam",
        "model": {"name": "mail", "version": "v1"},
        "request_id": "mine",
    }


def test_a_path_may_name_the_model(loaded: FakeLoaded) -> None:
    edge = edge_of(loaded)
    assert post(edge, path="/models/mail/predict").status == 200
    assert_problem(post(edge, b"", "/models/male/predict"), 404, "not-found")
    assert len(loaded.predictor.asked) == 1


@pytest.mark.parametrize(
    ("lookup", "told"),
    [
        (None, None),
        (Lookup.HIT, "model-api; hit"),
        (Lookup.MISS, "model-api; fwd=miss; stored"),
        (Lookup.COLLAPSED, "model-api; fwd=miss; collapsed"),
    ],
)
def test_an_answer_tells_how_a_cache_has_come_by_it(
    loaded: FakeLoaded, lookup: str | None, told: str | None
) -> None:
    loaded.predictor.lookup = lookup
    assert post(edge_of(loaded)).headers.get("cache-status") == told


def test_a_model_that_can_not_answer_in_time_refuses_and_its_rows_are_told(
    loaded: FakeLoaded,
) -> None:
    headers, heard = {"Retry-After": "3"}, Heard()
    loaded.predictor.failure = Problem(OVERLOADED, "7 rows wait", headers=headers)
    answer = post(edge_of(loaded, heard))
    assert_problem(answer, 503, "overloaded")
    assert answer.headers["retry-after"] == "3"
    assert [event.rows for event in heard.answers] == [1]


def failure(cause: Exception) -> EstimatorError:
    """Give what the predictor raises for an estimator that raised."""
    error = EstimatorError()
    error.__cause__ = cause
    return error


def test_unusual_input_that_the_model_can_not_compute_with_is_at_fault(
    loaded: FakeLoaded,
) -> None:
    heard = Heard()
    edge = edge_of(loaded, heard)
    warnings = post(edge, UNUSUAL).json()["warnings"]
    assert [warning["pointer"] for warning in warnings] == ["/data/0"]
    loaded.predictor.failure = failure(ValueError("Input contains 99"))
    answer = post(edge, UNUSUAL)
    assert_problem(answer, 422, "invalid-input")
    assert answer.json()["errors"] == warnings
    assert b"Input contains" not in answer.body
    assert [event.exception for event in heard.answers] == [None, None]


@pytest.mark.parametrize(
    ("body", "cause"),
    [(USUAL, ValueError()), (UNUSUAL, ArithmeticError()), (USUAL, ArithmeticError())],
)
def test_any_other_failure_is_a_defect_of_the_model(
    loaded: FakeLoaded, body: bytes, cause: Exception
) -> None:
    heard = Heard()
    loaded.predictor.failure = failure(cause)
    assert_problem(post(edge_of(loaded, heard), body), 500, "internal-error")
    assert [event.exception for event in heard.answers] == [loaded.predictor.failure]


def test_predictions_count_need_a_key_and_are_asked_for_by_post(loaded: FakeLoaded) -> None:
    for route in served(loaded):
        assert (route.method, route.counts, route.is_open) == ("POST", True, False)
    assert get(edge_of(loaded), "/predict").headers["allow"] == "POST"


def test_a_route_tells_the_document_what_its_dialect_says() -> None:
    tells = served(FakeLoaded())[2].tells
    assert tells is not None
    assert (tells.name, tells.summary) == ("csv", "Predict lines")
    assert tells.body is not None
    assert tells.body["content"] == {
        "text/csv": {"schema": {"type": "string"}, "examples": {"one": {"value": "1,2"}}}
    }
    assert tells.answer["content"] == {
        "text/csv": {"schema": {"type": "string"}, "example": "spam"}
    }
    assert [kind.status for kind in tells.problems] == [400, 413, 415, 422, 503]


@pytest.mark.parametrize("keeps", [False, True])
def test_the_document_tells_of_a_cache_where_an_answer_may_come_from_one(*, keeps: bool) -> None:
    predicting = Predicting(Shelf(FakeLoaded(keeps_predictions=keeps).as_loaded), 100)
    one, many = (predicting.route("/", dialect).tells for dialect in (ours.one, ours.many))
    assert one is not None
    assert many is not None
    assert ("Cache-Status" in one.headers, "Cache-Status" in many.headers) == (keeps, False)
