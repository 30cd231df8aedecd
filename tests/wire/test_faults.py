"""A model with defects: an internal error for that request, and none for its neighbours."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.server import BATCH, Server, eventually, serving
from tests.wire.estimators import FAULTS
from tests.wire.gate import Gate
from tests.wire.problems import assert_problem
from tests.zoo import assert_alike

SECRET = 3.14159265  # an unsuspicious value of the second feature
GOOD = [[5.2, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [6.1, 2.8, 4.0, 1.3]]


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    """Give the gate of the faulty model."""
    return Gate(tmp_path_factory.mktemp("gate"))


@pytest.fixture(scope="module")
def faulty(home: Path, gate: Gate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve the faulty model."""
    output = tmp_path_factory.mktemp("faulty") / "output"
    settings = gate.settings | {"SERVING_MODEL": "faulty", "SERVING_CACHE_ENTRIES": "0"}
    with serving(home, output, **settings) as server:
        yield server


def bad_row(fault: str) -> list[float]:
    return [FAULTS[fault][0], SECRET, 1.4, 0.2]


def answered(answer: httpx.Response) -> dict[str, object]:
    assert answer.status_code == 200, answer.text
    body: dict[str, object] = answer.json()
    body.pop("request_id")
    return body


@pytest.mark.parametrize("fault", FAULTS)
def test_a_model_that_answers_nonsense_is_an_internal_error_with_one_line_in_the_log(
    faulty: Server, fault: str
) -> None:
    row = bad_row(fault)
    for answer in (faulty.ask(row), faulty.ask([GOOD[0], row], BATCH)):
        body = assert_problem(faulty, answer, 500, "internal-error")
        line = faulty.log_of(body["request_id"])
        assert (line["level"], line["problem"]) == ("error", "internal-error")
        assert "in predict" in line["exception"]
        errors = [entry for entry in faulty.lines() if entry["level"] in {"error", "critical"}]
        assert {entry["event"] for entry in errors} == {"request.finished"}
        for text in (answer.text, faulty.text()):
            for secret in (str(SECRET), "no-such-luck", "no-more"):
                assert secret not in text
    assert answered(faulty.ask(GOOD[0]))["prediction"] == "setosa"
    assert "cache-status" not in faulty.ask(GOOD[0]).headers  # which is set to keep none


@pytest.mark.parametrize("fault", FAULTS)
def test_a_model_that_answers_nonsense_about_one_row_answers_its_neighbours(
    faulty: Server, gate: Gate, fault: str
) -> None:
    alone = [answered(faulty.ask(row)) for row in GOOD]
    asked = len(gate.seen())
    with ThreadPoolExecutor(10) as threads:
        gate.close()
        held = threads.submit(faulty.ask, GOOD[0])
        eventually("a row in the model", lambda: len(gate.seen()) > asked)
        rows = [*GOOD, bad_row(fault), *GOOD]
        answers = [threads.submit(faulty.ask, row) for row in rows]
        try:
            eventually("all that wait", lambda: faulty.waiting() == len(rows))
        finally:
            gate.open()
        good = [answers.pop(index) for index in (6, 5, 4, 2, 1, 0)][::-1]
        assert_problem(faulty, answers[0].result(), 500, "internal-error")
        for answer, quiet in zip(good, [*alone, *alone], strict=True):
            assert_alike(answered(answer.result()), quiet)
        assert answered(held.result()) == alone[0]
    together = gate.seen()[asked + 1]
    assert sorted(together) == sorted(row[0] for row in rows)
