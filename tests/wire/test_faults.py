"""What goes wrong around a request: the model's defects, a lost model store, full disks."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.server import ROW, Server, eventually, serving
from tests.wire.disks import fill, small_disk
from tests.wire.estimators import FAULTS
from tests.wire.gate import Gate
from tests.wire.problems import assert_problem
from tests.zoo import assert_alike

SECRET = 3.14159265  # an unsuspicious value of the second feature
GOOD = [[5.2, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [6.1, 2.8, 4.0, 1.3]]

# Defects of the model


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


def ask(server: Server, row: object, path: str = "/predict") -> httpx.Response:
    return server.http.post(path, json={"data": row})


def bad_row(fault: str) -> list[float]:
    return [FAULTS[fault][0], SECRET, 1.4, 0.2]


def answered(answer: httpx.Response) -> dict[str, object]:
    assert answer.status_code == 200, answer.text
    body: dict[str, object] = answer.json()
    body.pop("request_id")
    return body


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_model_that_answers_nonsense_is_an_internal_error_with_one_line_in_the_log(
    faulty: Server, fault: str, path: str
) -> None:
    row = bad_row(fault)
    answer = ask(faulty, [GOOD[0], row] if path == "/predict/batch" else row, path)
    body = assert_problem(faulty, answer, 500, "internal-error")
    line = faulty.log_of(body["request_id"])
    assert (line["level"], line["problem"]) == ("error", "internal-error")
    assert "in predict" in line["exception"]
    errors = [entry for entry in faulty.lines() if entry["level"] in {"error", "critical"}]
    assert {entry["event"] for entry in errors} == {"request.finished"}
    for text in (answer.text, faulty.text()):
        for secret in (str(SECRET), "no-such-luck", "no-more"):
            assert secret not in text
    assert answered(ask(faulty, GOOD[0]))["prediction"] == "setosa"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_model_that_answers_nonsense_about_one_row_answers_its_neighbours(
    faulty: Server, gate: Gate, fault: str
) -> None:
    alone = [answered(ask(faulty, row)) for row in GOOD]
    asked = len(gate.seen())
    with ThreadPoolExecutor(10) as threads:
        gate.close()
        held = threads.submit(ask, faulty, GOOD[0])
        eventually("a row in the model", lambda: len(gate.seen()) > asked)
        rows = [*GOOD, bad_row(fault), *GOOD]
        answers = [threads.submit(ask, faulty, row) for row in rows]
        try:
            eventually("all that wait", lambda: faulty.metric("serving_waiting_rows") == len(rows))
        finally:
            gate.open()
        good = [answers.pop(index) for index in (6, 5, 4, 2, 1, 0)][::-1]
        assert_problem(faulty, answers[0].result(), 500, "internal-error")
        for answer, quiet in zip(good, [*alone, *alone], strict=True):
            assert_alike(answered(answer.result()), quiet)
        assert answered(held.result()) == alone[0]
    together = gate.seen()[asked + 1]
    assert sorted(together) == sorted(row[0] for row in rows)


# The model store, after the start


def lose(models: Path) -> None:
    shutil.move(models, models.with_name("away"))


def restore(models: Path) -> None:
    shutil.move(models.with_name("away"), models)


def break_pickle(models: Path) -> None:
    (file,) = models.glob("*/saved_model.pkl")
    content = file.read_bytes()
    file.write_bytes(content[::-1])


@pytest.mark.parametrize(
    ("damage", "mend"), [(lose, restore), (break_pickle, break_pickle)], ids=["lost", "damaged"]
)
def test_a_worker_whose_model_is_gone_is_tried_again_until_the_store_is_mended(
    home: Path, tmp_path: Path, damage: Callable[[Path], None], mend: Callable[[Path], None]
) -> None:
    own_home = Path(shutil.copytree(home, tmp_path / "home"))
    models = own_home / "models" / "iris"
    with serving(own_home, tmp_path / "output") as server:
        version = server.http.get("/model/info").json()["version"]
        damage(models)
        assert ask(server, ROW).status_code == 200  # what is loaded needs no store
        os.kill(server.worker(), signal.SIGKILL)
        eventually("two failures to load", lambda: len(server.events("model.refused")) > 1)
        for failure in server.events("model.refused"):
            assert failure["level"] == "critical"
            assert f"iris:{version}" in failure["reason"]
        assert not [line for line in server.lines() if "exception" in line]
        mend(models)
        eventually("a server that is ready again", server.is_ready)
        assert server.http.get("/model/info").json()["version"] == version
        assert ask(server, ROW).status_code == 200


# Full disks


def test_a_disk_that_is_full_from_the_start_costs_the_metrics_alone(
    home: Path, tmp_path: Path
) -> None:
    with (
        small_disk(tmp_path, 16_384) as disk,
        serving(home, tmp_path / "output", TMPDIR=str(disk)) as server,
    ):
        assert list(disk.iterdir())  # it has the folders, but no room for files
        worker = server.worker()
        for row in GOOD:
            assert ask(server, row).status_code == 200
        assert ask(server, ["x"]).status_code == 422
        assert server.http.get("/metrics").status_code == 200
        assert server.worker() == worker
        (line,) = server.events("metrics.lost")
        assert (line["level"], line["reason"]) == ("error", "No space left on device")


def test_a_disk_that_fills_up_later_costs_new_series_alone(home: Path, tmp_path: Path) -> None:
    with (
        small_disk(tmp_path, 1_000_000) as disk,
        serving(home, tmp_path / "output", TMPDIR=str(disk)) as server,
    ):
        worker = server.worker()
        assert ask(server, ROW).status_code == 200
        fill(disk)
        paths = ["/health", "/livez", "/model/info", "/docs.json", "/", "/docs.js", "/nothing"]
        paths += ["/errors/not-found", "/schema.json", "/model/card", "/readyz", "/healthz"]
        for path in paths:
            for method in ("GET", "POST", "GET"):
                assert server.http.request(method, path).status_code < 500
        for body in (["x"], {"x": 1}, None):
            assert ask(server, body).status_code == 422
        eventually("the line that tells it", lambda: server.events("metrics.lost"))
        for _ in range(3):
            assert ask(server, ROW).status_code == 200
        requests = "bentoml_service_request_total"
        ok = {"endpoint": "/predict", "http_response_code": "200"}
        assert server.metric(requests, **ok) == 4  # it has had its place since before
        assert server.worker() == worker
        assert len(server.events("metrics.lost")) == 1
