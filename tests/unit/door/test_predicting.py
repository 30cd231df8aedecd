"""The one story of every prediction, whatever its dialect."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from serving.dialects import ours
from serving.dialects.dialect import Answer as Written
from serving.dialects.dialect import Asked, Conversation, Described, Dialect, Sent
from serving.door.edge import Edge
from serving.door.openapi import header
from serving.door.predicting import MAX_BYTES_AT_ONCE, MAX_LARGE_AT_ONCE, Predicting
from serving.door.routes import Operation, Route
from serving.model.about import About
from serving.model.outputs import Prediction
from serving.model.rows import Explain, Question, Rows
from serving.prediction.cache import Lookup
from serving.prediction.predictor import EstimatorError, Outcome
from serving.prediction.shelf import Shelf
from serving.problems import INVALID_INPUT, OVERLOADED, Problem, Wording
from tests.unit.door.doors import FakeLoaded, FakePredictor, assert_problem, door, get
from tests.unit.fakes import Answer, Headers, Heard, ask

JSON: Headers = [(b"Content-Type", b"application/json")]
UNUSUAL = b'{"data": [99, 1]}'  # training has seen lengths from 0 to 9
USUAL = b'{"data": [1, 1]}'


PLAIN, PIPES = "text/plain", "text/pipes"
LOUD = Wording("Loud", "text/loud", {422: 400}, {"error": lambda problem: problem.sentence})


def read_lines(sent: Sent, about: About, rows: Rows) -> Asked:
    """Read one instance in each line, and answer with the values in one line."""
    if sent.body == b"bad":
        raise Problem(INVALID_INPUT, "no numbers")
    lines = [tuple(map(float, line.split(","))) for line in sent.body.decode().split()]

    def write(predictions: Sequence[Prediction], request_id: str) -> Written:
        between = "|" if sent.wanted == PIPES else ","
        written = between.join(str(prediction.value) for prediction in predictions)
        heard = ";".join(f"{name}={value}" for name, value in sent.headers.items())
        headers = {"x-heard": f"{sent.media_type};{heard}"}
        return Written(written.encode(), sent.wanted, headers)

    return Asked(Question([*lines], is_one=False, unusual={"length": len(lines)}), write)


def describe_lines(about: About, example: Prediction, max_rows: int) -> Described:
    """Describe all this."""
    text = {"type": "string"}
    return Described(
        "lines",
        "Predict lines",
        f"At most {max_rows}.",
        {PLAIN: {"schema": text, "example": "1,2"}},
        {PLAIN: {"schema": text, "example": example.value}, PIPES: {"schema": text}},
        headers={"X-Heard": "What was heard."},
    )


LINES = Conversation(
    read_lines,
    describe_lines,
    reads=(PLAIN, ""),
    writes=(PLAIN, PIPES),
    heeds={"x-own": "What is its own."},
    wording=LOUD,
)


def served(loaded: FakeLoaded, *, max_body_bytes: int = 100) -> list[Route]:
    """Give routes on which a model speaks two dialects."""
    predicting = Predicting(Shelf([loaded.as_loaded]), max_body_bytes)
    ours_there = Dialect({"/predict": ours.one, "/models/{model}/{version}/predict": ours.one})
    return [*predicting.routes(ours_there), predicting.route("/lines", LINES)]


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
    headers = [(b"Content-Type", b"text/plain; charset=utf-8"), (b"X-Other", b"unheard")]
    answer = post(edge_of(loaded, heard), b"1,2\n3,4", "/lines", headers)
    assert (answer.status, answer.body) == (200, b"spam,spam")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-heard"] == "text/plain;"
    assert [question.rows for question in loaded.predictor.asked] == [[(1, 2), (3, 4)]]
    assert [(event.rows, event.unusual) for event in heard.answers] == [(2, {"length": 2})]


def test_a_dialect_hears_the_headers_that_it_heeds_and_what_is_wanted(loaded: FakeLoaded) -> None:
    headers = [(b"X-OWN", b"mine"), (b"Accept", b"text/plain;q=0.5"), (b"Accept", b"text/*")]
    answer = post(edge_of(loaded), b"1,2\n3,4", "/lines", headers)
    assert answer.headers["x-heard"] == ";x-own=mine"  # of a body that is not declared
    assert (answer.headers["content-type"], answer.body) == (
        f"{PIPES}; charset=utf-8",
        b"spam|spam",
    )
    twice = post(edge_of(loaded), b"1,2", "/lines", [*headers, (b"x-own", b"other")])
    assert twice.headers["x-heard"] == ";x-own=mine, other"


@pytest.mark.parametrize(
    ("body", "headers", "told"),
    [
        (b"bad", (), (400, "no numbers")),  # it has no 422
        (b"1,2", JSON, (415, "the body must be text/plain")),
        (b"1,2", [(b"Accept", b"text/html")], (406, "the answer is text/plain or text/pipes")),
        (b"1" * 101, (), (413, "the body is larger than 100 bytes")),
    ],
    ids=[400, 415, 406, 413],
)
def test_what_a_dialect_does_not_take_is_refused_in_its_words_and_not_predicted(
    loaded: FakeLoaded, body: bytes, headers: Headers, told: tuple[int, str]
) -> None:
    answer = post(edge_of(loaded), body, "/lines", headers)
    document = answer.json()
    assert (answer.status, document["error"]) == told
    assert document["status"] == answer.status
    assert answer.headers["content-type"].startswith("text/loud")
    assert answer.headers.get("accept-post") == (PLAIN if answer.status == 415 else None)
    assert loaded.predictor.asked == []


@pytest.mark.parametrize(
    ("body", "swells", "reads_apart", "writes_apart"),
    [
        (b"1,2\n" * 4, (), False, False),
        (b"1,2\n" * 5, (), False, True),  # more than a batch may have
        (b"1,2".ljust(MAX_BYTES_AT_ONCE), (), False, False),
        (b"1,2".ljust(MAX_BYTES_AT_ONCE + 1), (), True, True),
        (b"1,2\n", LINES.reads, True, True),
    ],
    ids=["small", "many rows", "just small", "large", "swelling"],
)
def test_what_takes_long_is_read_and_written_apart_from_the_event_loop(
    loaded: FakeLoaded,
    body: bytes,
    swells: Sequence[str],
    *,
    reads_apart: bool,
    writes_apart: bool,
) -> None:
    threads: list[threading.Thread] = []

    def read(sent: Sent, about: About, rows: Rows) -> Asked:
        threads.append(threading.current_thread())
        question, write = read_lines(sent, about, rows)

        def written(predictions: Sequence[Prediction], request_id: str) -> Written:
            threads.append(threading.current_thread())
            return write(predictions, request_id)

        return Asked(question, written)

    predicting = Predicting(Shelf([loaded.as_loaded]), 2 * MAX_BYTES_AT_ONCE)
    lines = replace(LINES, read=read, in_parts=LINES.reads, swells=swells)
    assert post(door(predicting.route("/lines", lines)), body, "/lines", ()).status == 200
    here = threading.current_thread()
    assert [thread is not here for thread in threads] == [reads_apart, writes_apart]


def test_who_has_but_one_answer_asks_nobody_what_is_wanted(loaded: FakeLoaded) -> None:
    assert post(edge_of(loaded), headers=[*JSON, (b"Accept", b"text/html")]).status == 200


def test_our_own_dialect_closes_with_the_model_and_the_request(loaded: FakeLoaded) -> None:
    answer = post(edge_of(loaded), headers=[*JSON, (b"X-Request-ID", b"mine")])
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "prediction": "spam",
        "model": {"name": "mail", "version": "v1"},
        "request_id": "mine",
    }


def test_a_path_may_name_the_model_and_its_version(loaded: FakeLoaded) -> None:
    edge = edge_of(loaded)
    assert post(edge, path="/models/mail/v1/predict").status == 200
    for other in ("male/v1", "mail/v2"):  # before the body is looked at
        assert_problem(post(edge, b"", f"/models/{other}/predict"), 404, "not-found")
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


class Held(FakePredictor):
    """Answers when it is let go."""

    def __init__(self) -> None:
        """Hold."""
        super().__init__()
        self.came, self.go = asyncio.Semaphore(0), asyncio.Event()

    async def ask(self, question: Question) -> Outcome:
        """Answer a question, later."""
        outcome = await super().ask(question)
        self.came.release()
        await self.go.wait()
        return outcome


def test_of_large_bodies_that_go_in_parts_few_are_read_at_a_time_and_hold_up_no_small_one() -> None:
    predictor = Held()
    predicting = Predicting(Shelf([FakeLoaded(predictor=predictor).as_loaded]), 10**6)
    edge = door(predicting.route("/lines", replace(LINES, in_parts=LINES.reads)))
    lines = MAX_BYTES_AT_ONCE // 4 + 1

    def send(count: int) -> asyncio.Task[Answer]:
        return asyncio.create_task(ask(edge, "/lines", method="POST", body=b"1,2\n" * count))

    async def story() -> None:
        large = [send(lines) for _ in range(MAX_LARGE_AT_ONCE + 1)]
        for _ in range(MAX_LARGE_AT_ONCE):
            await predictor.came.acquire()
        small = send(1)
        await predictor.came.acquire()
        await predicting._apart(lambda: None)  # what was to be read by now is
        rows = [len(question.rows) for question in predictor.asked]
        assert rows == [*[lines] * MAX_LARGE_AT_ONCE, 1]
        predictor.go.set()
        assert [answer.status for answer in await asyncio.gather(*large, small)] == [200] * 4

    asyncio.run(story())


def test_predictions_count_need_a_key_and_are_asked_for_by_post(loaded: FakeLoaded) -> None:
    for route in served(loaded):
        assert (route.method, route.counts, route.is_open) == ("POST", True, False)
    assert get(edge_of(loaded), "/predict").headers["allow"] == "POST"


def told_of(routes: list[Route]) -> list[Operation]:
    """Give what routes tell the OpenAPI document."""
    return [tells for route in routes for tells in route.tells.values()]


def test_a_route_tells_the_document_what_its_dialect_says() -> None:
    *_, tells = told_of(served(FakeLoaded()))
    assert (tells.name, tells.summary) == ("lines", "Predict lines")
    assert tells.description == "At most 4."
    assert tells.body is not None
    assert tells.answer is not None
    text = {"type": "string"}
    assert tells.body["content"] == {PLAIN: {"schema": text, "example": "1,2"}}
    assert tells.answer["content"] == {
        PLAIN: {"schema": text, "example": "spam"},
        PIPES: {"schema": text},
    }
    assert tells.heeds == LINES.heeds
    assert tells.headers == {"X-Heard": header("What was heard.")}


# Explanations


@pytest.mark.parametrize(
    ("query", "explain"),
    [
        ("", None),
        ("explain=false", None),
        ("explain=true", Explain.PREDICTED),
        ("explain=all&other=1", Explain.ALL),
        ("other=1&other=2", None),  # which is nobody's affair
    ],
)
def test_an_explanation_is_asked_for_in_the_query(
    loaded: FakeLoaded, query: str, explain: Explain | None
) -> None:
    answer = post(edge_of(loaded), path=f"/predict?{query}")
    assert answer.status == 200
    assert [question.explain for question in loaded.predictor.asked] == [explain]
    assert ("explanation" in answer.json()) is (explain is not None)


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("explain=", "explain is one of false, true, all"),
        ("explain=True", "explain is one of false, true, all"),
        ("explain=31415926", "explain is one of false, true, all"),
        ("explain=true&explain=true", "explain is given more than once"),
    ],
)
def test_what_is_asked_in_other_words_is_refused_before_the_body_is_read(
    loaded: FakeLoaded, query: str, detail: str
) -> None:
    answer = post(edge_of(loaded), b"{", f"/predict?{query}")
    assert_problem(answer, 422, "invalid-input")
    assert answer.json()["detail"] == detail


def test_a_dialect_that_does_not_explain_ignores_the_query(loaded: FakeLoaded) -> None:
    answer = post(edge_of(loaded), b"1,2", "/lines?explain=what", [])
    assert (answer.status, answer.body) == (200, b"spam")


CSV, NDJSON = "text/csv", "application/x-ndjson"


@pytest.mark.parametrize(
    ("media_type", "body", "accept", "status"),
    [
        (NDJSON, b"[1, 1]\n", "*/*", 200),
        (NDJSON, b"[1, 1]\n", f"{NDJSON}, application/json;q=0.1", 200),
        (CSV, b"1,1\n", "application/json", 200),
        (NDJSON, b"[1, 1]\n", NDJSON, 406),
        ("application/json", b'{"data": [[1, 1]]}', CSV, 406),
    ],
)
def test_explanations_are_json_whatever_was_asked_in(
    loaded: FakeLoaded, media_type: str, body: bytes, accept: str, status: int
) -> None:
    predicting = Predicting(Shelf([loaded.as_loaded]), 100)
    edge = door(predicting.route("/many", ours.many))
    headers = [(b"Content-Type", media_type.encode()), (b"Accept", accept.encode())]
    answer = post(edge, body, "/many?explain=true", headers)
    assert answer.status == status
    if status == 200:
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["predictions"][0]["explanation"] == {}
    else:
        assert answer.json()["detail"] == "an answer with explanations is application/json"


@pytest.mark.parametrize("explains", [False, True])
def test_the_document_tells_of_explanations_where_there_are_any(*, explains: bool) -> None:
    one, of_version, lines = told_of(served(FakeLoaded(explains=explains)))
    assert ["explain" in told.query for told in (one, of_version, lines)] == [explains] * 2 + [
        False
    ]


def test_a_route_tells_what_it_may_refuse() -> None:
    one, of_version, lines = told_of(served(FakeLoaded()))
    assert [kind.status for kind in one.problems] == [400, 413, 415, 422, 503]
    assert [kind.status for kind in of_version.problems] == [400, 404, 413, 415, 422, 503]
    assert [kind.status for kind in lines.problems] == [400, 406, 413, 415, 422, 503]
    assert (one.name, of_version.name) == ("predict", "predictOfVersion")


@pytest.mark.parametrize("keeps", [False, True])
def test_the_document_tells_of_a_cache_where_an_answer_may_come_from_one(*, keeps: bool) -> None:
    predicting = Predicting(Shelf([FakeLoaded(keeps_predictions=keeps).as_loaded]), 100)
    one, many = told_of([predicting.route("/", asked) for asked in (ours.one, ours.many)])
    assert ("Cache-Status" in one.headers, "Cache-Status" in many.headers) == (keeps, False)
