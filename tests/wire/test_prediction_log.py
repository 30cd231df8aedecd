"""The prediction log of a real server: each answer in it, and no answer harmed by it."""

import json
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server import ROW, Server, eventually, refused, serving
from tests.wire.conftest import Serve
from tests.wire.disks import fill, make_room, small_disk
from tests.wire.test_start import assert_one_clear_line

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 0.1 + 0.2], [1e-300, 123456.789, 4, 1.3]]
TOTAL = "serving_prediction_log_total"


def ask(server: Server, data: object, path: str = "/predict", status: int = 200) -> Any:  # noqa: ANN401 (any JSON)
    answer = server.http.post(path, json={"data": data})
    assert answer.status_code == status, answer.text
    return answer.json()


def read(file: Path) -> list[dict[str, Any]]:
    """Read a log; each line has to be whole."""
    text = file.read_text()
    assert not text or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def expected(
    server: Server, answer: dict[str, Any], rows: Sequence[Sequence[float]]
) -> list[dict[str, Any]]:
    """Give the lines of an answer, but for their times."""
    names = [feature["name"] for feature in server.http.get("/model/info").json()["features"]]
    predictions = answer.get("predictions") or [
        {"prediction": answer["prediction"], "probabilities": answer["probabilities"]}
    ]
    return [
        {
            "level": "info",
            "event": "prediction",
            "request_id": answer["request_id"],
            "row": index,
            "model": answer["model"],
            "features": dict(zip(names, row, strict=True)),
            **prediction,
        }
        for index, (row, prediction) in enumerate(zip(rows, predictions, strict=True))
    ]


def without_times(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in line.items() if name != "timestamp"} for line in lines]


def test_no_prediction_is_logged_unless_it_is_wanted(server: Server) -> None:
    answer = ask(server, [5.0, 3.14159265, 1.4, 0.2])
    server.log_of(answer["request_id"])
    assert server.events("prediction") == []
    assert "3.14159265" not in server.text()
    assert server.metric(TOTAL) == 0


def test_each_prediction_is_a_line_on_stdout(serve: Serve) -> None:
    with serve(SERVING_PREDICTION_LOG="stdout") as server:
        wanted = []
        for row in (*ROWS, *ROWS):  # the second time from the cache
            wanted += expected(server, ask(server, row), [row])
        wanted += expected(server, ask(server, ROWS, "/predict/batch"), ROWS)
        ask(server, ["x"], status=422)
        ask(server, [], "/predict/batch")
        eventually("all lines", lambda: len(server.events("prediction")) == len(wanted))
        assert without_times(server.events("prediction")) == wanted
        assert server.metric(TOTAL, result="written") == len(wanted)


def test_a_file_has_all_predictions_when_the_server_has_ended(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "predictions.jsonl"
    many = [[number / 100, 3.0, 4.0, 1.0] for number in range(400, 800)]
    with (
        serve(
            SERVING_PREDICTION_LOG=str(file),
            BENTOML_CONFIG_OPTIONS="services.ModelApi.workers=2",
        ) as server,
        ThreadPoolExecutor(8) as threads,
    ):
        eventually("two workers", lambda: len(server.events("Application startup complete.")) == 2)

        def ask_apart(row: list[float]) -> dict[str, Any]:  # on a connection of its own
            answer = httpx.post(f"{server.url}/predict", json={"data": row}, timeout=60)
            return dict(answer.json())

        answers = list(threads.map(ask_apart, many[:100]))
        wanted = [
            line
            for row, answer in zip(many, answers, strict=False)
            for line in expected(server, answer, [row])
        ]
        wanted += expected(server, ask(server, many, "/predict/batch"), many)
    found = without_times(read(file))
    batch = [line for line in found if line["request_id"] == wanted[-1]["request_id"]]
    assert batch == wanted[100:]

    def order(line: dict[str, Any]) -> tuple[str, int]:
        return line["request_id"], line["row"]

    assert sorted(found, key=order) == sorted(wanted, key=order)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_that_logrotate_moves_away_is_made_anew(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "predictions.jsonl"
    with serve(SERVING_PREDICTION_LOG=str(file)) as server:
        first = ask(server, ROW)
        eventually("its line", lambda: read(file))
        moved = file.rename(tmp_path / "predictions.jsonl.1")
        second = ask(server, ROW)
        eventually("the new file", lambda: file.exists() and read(file))
    for place, answer in ((moved, first), (file, second)):
        assert [line["request_id"] for line in read(place)] == [answer["request_id"]]


def test_a_full_disk_delays_lines_and_harms_no_answer(home: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path, 1_000_000) as disk:
        file = disk / "predictions.jsonl"
        output = tmp_path / "output"
        with serving(home, output, SERVING_PREDICTION_LOG=str(file)) as server:
            ask(server, ROW)
            eventually("its line", lambda: read(file))
            fill(disk)
            for _ in range(3):
                ask(server, [ROW] * 100, "/predict/batch")
            eventually("the line that tells it", lambda: server.events("prediction_log.failed"))
            make_room(disk)
            eventually("more lines", lambda: server.metric(TOTAL, result="written") == 301)
            (line,) = server.events("prediction_log.failed")
            assert (line["level"], line["reason"]) == ("error", "No space left on device")
            assert len(read(file)) == 301
            assert server.metric(TOTAL, result="lost") == 0


def test_what_does_not_find_room_in_time_is_counted_as_lost(home: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path, 65_536) as disk:
        settings = {
            "SERVING_PREDICTION_LOG": str(disk / "predictions.jsonl"),
            "SERVING_PREDICTION_LOG_ROWS": "100",
        }
        with serving(home, tmp_path / "output", **settings) as server:
            fill(disk)
            for _ in range(5):
                ask(server, [ROW] * 70, "/predict/batch")
            assert server.metric(TOTAL, result="lost") >= 250
            assert len(server.events("prediction_log.full")) == 1
        assert server.events("prediction_log.unwritten")


@pytest.mark.parametrize(
    ("path", "problem"),
    [("/nowhere/predictions", "No such file or directory"), ("/", "Is a directory")],
)
def test_a_file_that_can_not_be_written_stops_the_start(
    home: Path, path: str, problem: str
) -> None:
    refusal = refused(home, SERVING_PREDICTION_LOG=path)
    assert_one_clear_line(refusal, "SERVING_PREDICTION_LOG", path, problem)
