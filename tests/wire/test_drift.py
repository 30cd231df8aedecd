"""What requests are counted for, over the wire: each row once, whoever answers it and however."""

import io
import itertools
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import psutil  # type: ignore[import-untyped]
import pytest
from sklearn.datasets import load_iris

from tests.server import BATCH, ROOT, ROW, TWO_WORKERS, Server, eventually, run_python, serving
from tests.trained import copy_of
from tests.wire.conftest import Serve
from tests.wire.gate import Gate
from tests.wire.tallies import Counts, counts_of, grown, psi_by_query, sums, tallied

FLATS = 600
CSV = {"Content-Type": "text/csv", "Accept": "text/csv"}
FEATURE, PREDICTION, CONFIDENCE = (
    "serving_feature_values_total",
    "serving_prediction_values_total",
    "serving_confidence_total",
)
REPORT = "/model/drift"
RARE = "Quarter of two"
WORDS = ["bright", "quiet", "old", "new", "large", "central", "near", "the", "park", "balcony"]
QUIET_S = 1.5  # after which all that was answered is counted


def flats() -> pd.DataFrame:
    """Make up flats, with each type of feature, gaps, and a quarter that few are in."""
    draw = np.random.default_rng(5)
    area = draw.gamma(9, 9, FLATS).round(1)
    quarter = draw.choice(["North", "South", "missing"], FLATS, p=[0.5, 0.3, 0.2]).astype(object)
    quarter[:2] = RARE
    words = np.array(WORDS)
    told = [" ".join(draw.choice(words, draw.integers(20, 60))) for _ in range(FLATS)]
    return pd.DataFrame(
        {
            "area": np.where(draw.random(FLATS) < 0.1, np.nan, area),
            "floor": draw.integers(0, 9, FLATS),
            "renovated": draw.random(FLATS) < 0.4,
            "quarter": quarter,
            "told": told,
            "price": np.where(area > 100, "high", np.where(area > 70, "middle", "low")),
        }
    )


def train(home: Path) -> None:
    """Train on them."""
    flats().to_csv(home / "flats.csv", index=False)
    options = ("--data", "flats.csv", "--target", "price", "--estimator", "LogisticRegression")
    run_python(home, str(ROOT / "train.py"), *options, folder=home)


@pytest.fixture(scope="module")
def flat_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a model store with that model."""
    return copy_of(train, "flats", tmp_path_factory.mktemp("flats"))


@pytest.fixture(scope="module")
def started(flat_home: Path) -> Iterator[tuple[Server, Counts]]:
    """Serve it with two workers; give what is told before any row comes, too."""
    settings = {"SERVING_MODEL": "flats", "SERVING_DRAIN_DELAY_S": "0"} | TWO_WORKERS
    with serving(flat_home, flat_home / "output", **settings) as running:
        running.has_started(2)
        yield running, tallied(running)


@pytest.fixture
def two(started: tuple[Server, Counts]) -> Server:
    """Give the server of two workers."""
    return started[0]


def records() -> Iterator[list[Any]]:
    """Give rows that nobody has asked about."""
    for number in itertools.count():
        yield [50 + number / 8, number % 9, number % 2 == 0, "North", f"a flat of number {number}"]


NEW = records()


def new(amount: int) -> list[list[Any]]:
    """Give some of them."""
    return [next(NEW) for _ in range(amount)]


def workers(server: Server) -> set[int]:
    """Tell the processes that have loaded the model."""
    return {child.pid for child in psutil.Process(server.process.pid).children()}


def test_all_that_is_watched_is_told_from_the_start_and_nothing_is_counted(
    started: tuple[Server, Counts],
) -> None:
    _, at_first = started
    tenths = [str(number) for number in range(10)]
    bins = {thing: set(counts) for thing, counts in at_first.items()}
    assert bins[FEATURE, "area"] == {"below", *tenths, "above", "missing"}
    assert bins[FEATURE, "floor"] <= {"below", *tenths, "above"}
    assert bins[FEATURE, "renovated"] == {"false", "true"}
    assert bins[FEATURE, "quarter"] == {"North", "South", '"missing"', "rare", "unseen"}
    assert bins[FEATURE, "told"] == {"below", *tenths, "above"}
    assert bins[PREDICTION, "price"] == {"high", "middle", "low"}
    assert bins[CONFIDENCE, "price"] <= set(tenths)
    assert len(bins) == 7
    assert set(sums(at_first).values()) == {0}


def in_tensors(rows: list[list[Any]]) -> dict[str, Any]:
    """Ask in the Open Inference Protocol's form."""
    types = {"area": "FP64", "floor": "INT64", "renovated": "BOOL", "quarter": "BYTES"}
    columns = zip([*types.items(), ("told", "BYTES")], zip(*rows, strict=True), strict=True)
    return {
        "inputs": [
            {"name": name, "datatype": kind, "shape": [len(rows), 1], "data": list(column)}
            for (name, kind), column in columns
        ]
    }


def test_each_row_that_is_answered_is_counted_once_in_whatever_language(two: Server) -> None:
    before, names = tallied(two), list(flats().columns[:-1])
    rows = new(40)

    def by_name(rows: list[list[Any]]) -> list[dict[str, Any]]:
        return [dict(zip(names, row, strict=True)) for row in rows]

    def lines(rows: list[list[Any]]) -> str:
        return str(pd.DataFrame(rows, columns=names).to_csv(index=False))

    for row in (rows[0], *rows[:5]):  # the first is known by then to the worker that answered it
        assert two.ask(row).status_code == 200
    for _ in range(10):
        assert two.ask_apart(rows[1]).status_code == 200
    sent = 16
    for path, body, count in (
        (BATCH, {"data": rows}, 40),
        ("/v1/models/flats:predict", {"instances": by_name(rows[:7])}, 7),
        ("/v1/models/flats:predict", {"instances": rows[:1]}, 1),
        ("/v2/models/flats/infer", in_tensors(rows[:9]), 9),
        ("/v2/models/flats/infer", in_tensors(rows[:1]), 1),
        ("/invocations", {"dataframe_split": {"columns": names, "data": rows[:6]}}, 6),
        ("/invocations", by_name(rows[:3]), 3),
        ("/invocations", rows[:1], 1),
    ):
        answer = two.http.post(path, json=body)
        assert answer.status_code == 200, answer.text
        sent += count
    many = new(2500)  # more than the model is asked for at a time
    for path, some in ((BATCH, rows), ("/invocations", rows[:8]), ("/invocations", many)):
        answer = two.http.post(path, content=lines(some).encode(), headers=CSV)
        assert answer.status_code == 200, answer.text
        sent += len(some)
    refused: tuple[dict[str, Any], ...] = (
        {"data": ["wide", 1, True, "North", "x"]},
        {"data": [1.0]},
        {"data": None},
        {},
    )
    for body in refused:
        assert two.http.post("/predict", json=body).status_code in {400, 422}
    assert two.ask([*rows[:3], [None] * 5], BATCH).status_code == 422
    assert two.send("{").status_code == 400
    more = counts_of(two, sent, before)
    time.sleep(QUIET_S)
    assert grown(tallied(two), before) == more


def test_rows_that_are_answered_together_or_from_the_cache_are_counted_each(
    gated: Server, shared_gate: Gate
) -> None:
    before = tallied(gated)
    (row,) = shared_gate.rows(1)
    with ThreadPoolExecutor(8) as threads:
        shared_gate.close()
        first = threads.submit(gated.ask, row)
        eventually("the first in the model", lambda: shared_gate.has_seen(row))
        others = [threads.submit(gated.ask, row) for _ in range(4)]
        others += [threads.submit(gated.ask, each) for each in shared_gate.rows(3)]
        eventually("all under way", lambda: gated.under_way() == 8)
        shared_gate.open()
        answers = [future.result() for future in (first, *others)]
    answers += [gated.ask(row) for _ in range(2)]
    told = [answer.headers["cache-status"].rpartition("; ")[2] for answer in answers]
    assert {state: told.count(state) for state in set(told)} == {
        "stored": 4,
        "collapsed": 4,
        "hit": 2,
    }
    counts_of(gated, 10, before)


def test_the_index_is_numpy_s_on_the_rows_that_were_sent(two: Server) -> None:
    before, draw = tallied(two), np.random.default_rng(6)
    seen = flats()
    moved = pd.DataFrame(
        {
            "area": np.where(draw.random(500) < 0.3, np.nan, draw.gamma(9, 11, 500)),
            "floor": draw.integers(-3, 12, 500),
            "renovated": draw.random(500) < 0.9,
            "quarter": draw.choice(["North", "missing", RARE, "Elsewhere"], 500),
            "told": ["x" * length for length in draw.integers(1, 400, 500)],
        }
    )
    rows = moved.astype(object).where(moved.notna(), None).to_numpy().tolist()
    for part in (rows[:1], rows[1:200], rows[200:]):
        assert two.ask(part, BATCH).status_code == 200
    counts = counts_of(two, 500, before)
    info = two.http.get("/model/info").json()
    quantiles = {each["name"]: each.get("quantiles") for each in info["features"]}

    def numbers(then: Any, now: Any, edges: Any) -> float:  # noqa: ANN401
        low, high = then.min(), then.max()
        return index(in_bins(then, edges, low, high), in_bins(now, edges, low, high))

    def values(name: str, known: list[str]) -> float:
        def shares(column: Any) -> list[int]:  # noqa: ANN401
            found = [int((column == value).sum()) for value in known]
            return [*found, len(column) - sum(found)]

        return index(shares(seen[name]), shares(moved[name]))

    lengths = [frame["told"].str.len().to_numpy() for frame in (seen, moved)]
    tenths = np.quantile(lengths[0], np.arange(1, 10) / 10)
    expected = {
        "area": numbers(seen["area"], moved["area"], quantiles["area"].values()),
        "floor": numbers(seen["floor"], moved["floor"], quantiles["floor"].values()),
        "renovated": index(
            *([int((~f["renovated"]).sum()), int(f["renovated"].sum())] for f in (seen, moved))
        ),
        "quarter": values("quarter", ["North", "South", "missing", RARE]),
        "told": numbers(lengths[0], lengths[1], tenths),
    }
    for name, wanted in expected.items():
        got = psi_by_query(two, (FEATURE, name), counts[FEATURE, name])
        assert got == pytest.approx(wanted, abs=1e-9), name


def in_bins(column: Any, edges: Any, low: float, high: float) -> list[int]:  # noqa: ANN401
    """Count numbers by comparing each with all edges; those that are missing last, if any are."""
    column = np.asarray(column, dtype=float)
    edges = sorted({edge for edge in edges if edge < high})
    inner = column[(column >= low) & (column <= high)]
    passed = (inner[:, None] > np.array(edges)).sum(axis=1)
    counts = [int((passed == number).sum()) for number in range(len(edges) + 1)]
    missing = int(np.isnan(column).sum())
    outside = [int((column < low).sum()), int((column > high).sum())]
    return [*counts, *outside, *[missing] * bool(missing)]


def index(then: list[int], now: list[int]) -> float:
    """Give the population stability index."""
    a, b = (np.array(each) + 0.5 for each in (then, now))
    a, b = a / a.sum(), b / b.sum()
    return float(((b - a) * np.log(b / a)).sum())


def test_what_was_never_seen_adds_no_series_and_is_told_nowhere(two: Server) -> None:
    def series() -> int:
        return sum(sample.name in {FEATURE, PREDICTION, CONFIDENCE} for sample in two.metrics())

    before, there = tallied(two), series()
    rows = [
        [987.654321, 1, True, f"Quarter {number} of Atlantis", f"told {number}"]
        for number in range(10_000)
    ]
    for start in range(0, len(rows), 1000):
        assert two.ask(rows[start : start + 1000], BATCH).status_code == 200
    two.ask([1.0, 1, True, RARE, "told"])
    more = counts_of(two, len(rows) + 1, before)
    assert more[FEATURE, "quarter"]["unseen"] == 10_000
    assert more[FEATURE, "quarter"]["rare"] == 1
    assert more[FEATURE, "area"]["above"] == 10_000
    assert series() == there
    for told in (two.http.get("/metrics"), *map(two.http.get, (REPORT, "/model/info"))):
        for secret in ("Atlantis", RARE, "987.65"):
            assert secret not in told.raise_for_status().text


def test_neither_a_killed_worker_nor_a_drain_nor_a_reload_loses_a_row(two: Server) -> None:
    before = tallied(two)
    for _ in range(8):
        assert two.ask_apart(new(1)[0]).status_code == 200
    sent = 8
    counts_of(two, sent, before)
    start = two.started()
    os.kill(min(workers(two)), signal.SIGKILL)
    two.has_started(start + 1)
    eventually("it is missed", lambda: two.events("worker.died"))
    assert two.ask(new(400), BATCH).status_code == 200
    for worker in workers(two):  # one of them has not counted yet what it has just answered
        os.kill(worker, signal.SIGTERM)
    two.has_started(start + 3)
    sent += 400
    counts_of(two, sent, before)
    start = two.started()
    assert two.ask(new(300), BATCH).status_code == 200
    two.reload()
    eventually("it is done", lambda: two.events("switch.done"))
    two.has_started(start + 2)
    assert two.ask(new(7), BATCH).status_code == 200
    sent += 307
    counts_of(two, sent, before)
    time.sleep(QUIET_S)
    counts = tallied(two)
    assert set(sums(grown(counts, before)).values()) == {sent}
    # Of the server's whole life, as it is younger than a day: all workers tell alike, new as they
    # are, and what Prometheus reads.
    for report in reports(two, "24h"):
        assert (report["rows"], report["features_left_out"]) == (max(sums(counts).values()), 0)
        for section, counter in (
            ("features", FEATURE),
            ("predictions", PREDICTION),
            ("confidence", CONFIDENCE),
        ):
            for each in report[section]:
                thing = counter, each["name"]
                assert {one["bin"]: one["rows"] for one in each["bins"]} == counts[thing]
                assert each["psi"] == pytest.approx(psi_by_query(two, thing, counts[thing]))


def reports(server: Server, window: str) -> list[Any]:
    """Ask for the report again and again, each time of whichever worker."""
    asked = [httpx.get(f"{server.url}{REPORT}?window={window}") for _ in range(8)]
    told = [answer.raise_for_status().json() for answer in asked]
    assert len({report["since"] for report in told}) == 1
    return told


def test_a_model_that_was_saved_by_an_older_version_is_served_without_and_that_is_logged(
    fragile: Server,
) -> None:
    (line,) = fragile.events("drift.off")
    assert line["level"] == "warning"
    assert line["model"]["name"] == "fragile"
    assert "train it again" in line["reason"]
    assert fragile.ask(ROW).status_code == 200
    assert not tallied(fragile)
    told = fragile.http.get(REPORT)
    assert (told.status_code, "train it again" in told.json()["detail"]) == (404, True)


def test_turned_off_nothing_is_counted_and_all_is_answered(serve: Serve) -> None:
    with serve(SERVING_DRIFT="off") as server:
        assert server.ask(ROW).status_code == 200
        assert not tallied(server)
        assert "reference" not in server.http.get("/metrics").text
        told = server.http.get(REPORT)
        assert (told.status_code, "SERVING_DRIFT" in told.json()["detail"]) == (404, True)
        assert not [line for line in server.lines() if "drift" in line["event"]]


def test_of_as_many_features_as_are_wanted_the_most_important_are_counted(serve: Serve) -> None:
    with serve(SERVING_DRIFT_FEATURES="2") as server:
        before = tallied(server)
        features = {name for counter, name in before if counter == FEATURE}
        assert features == {"petal length (cm)", "petal width (cm)"}
        (line,) = server.events("drift.features_left_out")
        assert line["count"] == 2
        server.ask([ROW] * 5, BATCH)
        counts_of(server, 5, before)


def test_numbers_in_32_bits_are_as_in_training(server: Server) -> None:
    before, iris = tallied(server), load_iris().data
    names = [feature["name"] for feature in server.http.get("/model/info").json()["features"]]
    columns = zip(names, iris.astype(np.float32).T.tolist(), strict=True)
    inputs = [
        {"name": name, "datatype": "FP32", "shape": [len(iris), 1], "data": column}
        for name, column in columns
    ]
    answer = server.http.post("/v2/models/iris/infer", json={"inputs": inputs})
    assert answer.status_code == 200, answer.text
    counts = counts_of(server, len(iris), before)
    for name in names:
        assert psi_by_query(server, (FEATURE, name), counts[FEATURE, name]) == pytest.approx(0)


def test_rows_of_numpy_s_arrays_are_counted(server: Server) -> None:
    before = tallied(server)
    file = io.BytesIO()
    np.save(file, np.array([ROW] * 3))
    headers = {"Content-Type": "application/x-npy", "Accept": "application/x-npy"}
    answer = server.http.post("/invocations", content=file.getvalue(), headers=headers)
    assert answer.status_code == 200
    counts_of(server, 3, before)
