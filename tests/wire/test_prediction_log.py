"""The prediction log of a real server: each answer in it, and no answer harmed by it."""

import csv
import json
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sklearn.datasets import load_iris
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    roc_auc_score,
)

from tests.server import (
    BATCH,
    ROW,
    TWO_WORKERS,
    Server,
    eventually,
    refused,
    run_python,
    serving,
)
from tests.wire.conftest import Serve
from tests.wire.disks import fill, make_room, small_disk
from tests.wire.test_start import assert_one_clear_line

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 0.1 + 0.2], [1e-300, 123456.789, 4, 1.3]]
TOTAL = "serving_prediction_log_total"


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
    answer = server.ask([5.0, 3.14159265, 1.4, 0.2]).raise_for_status().json()
    server.log_of(answer["request_id"])
    assert server.events("prediction") == []
    assert "3.14159265" not in server.text()
    assert server.metric(TOTAL) == 0


def test_each_prediction_is_a_line_on_stdout(configured: Server) -> None:
    before = len(configured.events("prediction"))
    wanted = []
    for row in (*ROWS, ROWS[0]):
        answer = configured.ask(row).raise_for_status().json()
        wanted += expected(configured, answer, [row])
    answer = configured.ask(ROWS, BATCH).raise_for_status().json()
    wanted += expected(configured, answer, ROWS)
    assert configured.ask(["x"]).status_code == 422
    assert configured.ask([], BATCH).status_code == 200
    total = before + len(wanted)
    eventually("all lines", lambda: len(configured.events("prediction")) == total)
    assert without_times(configured.events("prediction")[before:]) == wanted
    assert configured.metric(TOTAL, result="written") == total


def test_what_was_logged_is_scored_by_labels_that_come_later(
    configured: Server, home: Path, tmp_path: Path
) -> None:
    data = load_iris()
    rows, truth = data.data.tolist(), data.target_names[data.target]
    before = len(configured.events("prediction"))
    batch = configured.ask(rows[:-1], BATCH).raise_for_status().json()
    one = configured.ask(rows[-1]).raise_for_status().json()
    answers = [*batch["predictions"], one]
    keys = [*((batch["request_id"], row) for row in range(len(rows) - 1)), (one["request_id"], 0)]
    eventually("all lines", lambda: len(configured.events("prediction")) == before + len(rows))
    labels = tmp_path / "labels.csv"
    with labels.open("w", newline="") as file:
        labelled = ((*key, label) for key, label in zip(keys, truth, strict=True))
        csv.writer(file).writerows([("request_id", "row", "species"), *labelled])
    log = str(configured.output)  # stdout's, with the lines of all else that was logged
    command = ("-m", "serving.outcomes", log, str(labels))
    (version,) = json.loads(run_python(home, *command, "--json"))["versions"]
    said = [answer["prediction"] for answer in answers]
    shares = [list(answer["probabilities"].values()) for answer in answers]
    info = configured.http.get("/model/info").json()
    assert version["model"] == one["model"]
    assert version["training"]["scores"] == info["metrics"]["values"]
    assert version["rows"] == sum(day["rows"] for day in version["days"]) == len(rows)
    assert version["scores"] == {
        "accuracy": accuracy_score(truth, said),
        "balanced_accuracy": balanced_accuracy_score(truth, said),
        "f1_macro": f1_score(truth, said, average="macro"),
        "log_loss": log_loss(truth, shares),
        "roc_auc": roc_auc_score(truth, shares, multi_class="ovr"),
    }
    told = run_python(home, *command)
    assert f"training: {info['metrics']['split']}" in told


def test_a_file_has_all_predictions_of_two_workers_and_is_made_anew_when_logrotate_moves_it(
    serve: Serve, tmp_path: Path
) -> None:
    file = tmp_path / "predictions.jsonl"
    many = [[number / 100, 3.0, 4.0, 1.0] for number in range(400, 800)]
    with (
        serve(SERVING_PREDICTION_LOG=str(file), **TWO_WORKERS) as server,
        ThreadPoolExecutor(8) as threads,
    ):
        server.has_started(2)
        asked = [*many[:40], many[0]]  # the last may come from a cache
        answers = list(threads.map(server.ask_apart, asked))
        wanted = [
            line
            for row, answer in zip(asked, answers, strict=True)
            for line in expected(server, answer.raise_for_status().json(), [row])
        ]
        batch = expected(server, server.ask(many, BATCH).raise_for_status().json(), many)
        requests = "bentoml_service_request_total"
        assert server.metric(requests, endpoint="/predict", http_response_code="200") == 41
        assert server.metric("serving_predictions_total") == 441
        assert server.under_way() == 0
        assert server.metric("serving_model_info") == 1
        eventually("all lines", lambda: len(read(file)) == len(wanted + batch))
        moved = file.rename(tmp_path / "predictions.jsonl.1")
        last = [server.ask_apart(ROW).json()["request_id"] for _ in range(10)]
    assert sorted(line["request_id"] for line in read(file)) == sorted(last)
    found = without_times(read(moved))
    assert [line for line in found if line["request_id"] == batch[0]["request_id"]] == batch

    def order(line: dict[str, Any]) -> tuple[str, int]:
        return line["request_id"], line["row"]

    assert sorted(found, key=order) == sorted(wanted + batch, key=order)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_full_disk_delays_lines_loses_some_in_the_end_and_harms_nothing_else(
    home: Path, tmp_path: Path
) -> None:
    with small_disk(tmp_path, 1_000_000) as disk:
        file = disk / "predictions.jsonl"
        settings = {"SERVING_PREDICTION_LOG": str(file), "TMPDIR": str(disk)}
        with serving(home, tmp_path / "output", **settings) as server:
            server.ask(ROW)
            eventually("its line", lambda: read(file))
            fill(disk)
            for _ in range(3):
                assert server.ask([ROW] * 100, BATCH).status_code == 200
            eventually("the line that tells it", lambda: server.events("prediction_log.failed"))
            make_room(disk)
            eventually("more lines", lambda: server.metric(TOTAL, result="written") == 301)
            (line,) = server.events("prediction_log.failed")
            assert (line["level"], line["reason"]) == ("error", "No space left on device")
            assert len(read(file)) == 301
            assert server.metric(TOTAL, result="lost") == 0
            # More than finds room in memory either.
            fill(disk)
            for _ in range(13):
                assert server.ask([ROW] * 1000, BATCH).status_code == 200
            assert server.metric(TOTAL, result="lost") >= 2000
            assert len(server.events("prediction_log.full")) == 1
            # Metrics need no disk.
            assert server.metric("serving_predictions_total") == 13_301
            assert server.http.get("/nothing").status_code == 404
            assert server.metric("serving_errors_total", type="not-found") == 1
        assert server.events("prediction_log.unwritten")


def test_a_file_that_can_not_be_written_stops_the_start(home: Path) -> None:
    path = "/nowhere/predictions"
    refusal = refused(home, SERVING_PREDICTION_LOG=path)
    assert_one_clear_line(refusal, "SERVING_PREDICTION_LOG", path, "No such file or directory")
