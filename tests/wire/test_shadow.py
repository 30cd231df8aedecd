"""A shadow over the wire: what it says is counted row by row, and whatever it does nobody feels."""

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import psutil  # type: ignore[import-untyped]
import pytest

from serving.model.state import ModelState, Shadow, State, write_state
from tests.server import BATCH, TWO_WORKERS, Server, eventually, run_python, serving
from tests.trained import copy_of
from tests.wire.estimators import GATE, HOARDS_AT, QUITS_AT
from tests.wire.gate import Gate
from tests.wire.shadow_models import NAME

# A shadow gets a core when nobody else wants one, which beside other tests may be never.
pytestmark = pytest.mark.alone

ROWS = "serving_shadow_rows_total"
PROGRAM = "serving.shadowing"
Row = list[float]


@dataclass
class Store:
    """A model store with versions of one model, and what is desired."""

    home: Path
    versions: dict[str, str]
    revision: int = 0

    def want(self, name: str | None, share: float = 100) -> None:
        """Decide which version is to be the shadow."""
        self.revision += 1
        shadow = Shadow(version=self.versions[name], share=share) if name else None
        state = State(revision=self.revision, models={NAME: ModelState(shadow=shadow)})
        write_state(self.home / "serving.json", state)

    def estimator(self, name: str) -> Any:  # noqa: ANN401 (scikit-learn has no type for it)
        """Give the estimator of a version, as nothing of the service has touched it."""
        return joblib.load(self.home / "models" / NAME / self.versions[name] / "saved_model.pkl")

    @property
    def settings(self) -> dict[str, str]:
        """What a server needs to serve the first version."""
        return {"SERVING_MODEL": f"{NAME}:{self.versions['served']}"}


def make(home: Path) -> None:
    """Save the versions."""
    told = run_python(home, "-m", "tests.wire.shadow_models")
    (home / "versions.json").write_text(told)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Give a store of this file's own."""
    home = copy_of(make, "shadow", tmp_path_factory.mktemp("shadow"))
    return Store(home, json.loads((home / "versions.json").read_text()))


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    """Give the gate of a version that may wait."""
    return Gate(tmp_path_factory.mktemp("gate"))


@pytest.fixture(scope="module")
def _server(store: Store, gate: Gate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    output = tmp_path_factory.mktemp("server") / "output"
    settings = store.settings | {GATE: str(gate.folder), "SERVING_CACHE_TTL_S": "0"}
    with serving(store.home, output, **settings) as server:
        yield server


@pytest.fixture
def server(_server: Server, store: Store) -> Iterator[Server]:
    """Give a server without a shadow, and leave it so."""
    yield _server
    store.want(None)
    eventually("no shadow", lambda: not shadows(_server))


def shadows(server: Server) -> list[psutil.Process]:
    """Give the processes of shadows."""
    family = psutil.Process(server.process.pid).children(recursive=True)
    found = []
    for process in family:
        try:
            if PROGRAM in process.cmdline():
                found.append(process)
        except psutil.NoSuchProcess:
            pass
    return found


def starts(server: Server) -> int:
    return len(server.events("shadow.started"))


def begin(server: Server, store: Store, name: str, workers: int = 1, share: float = 100) -> None:
    """Want a shadow, and wait for it."""
    before = starts(server)
    store.want(name, share)
    eventually("shadows that can be asked", lambda: starts(server) == before + workers)


def counted(server: Server) -> Counter[str]:
    """Give the rows of all shadows by their results."""
    samples = (sample for sample in server.metrics() if sample.name == ROWS)
    counts: Counter[str] = Counter()
    for sample in samples:
        counts[sample.labels["result"]] += round(sample.value)
    return counts


def after(server: Server, before: Counter[str], rows: int) -> dict[str, int]:
    """Wait until so many rows have ended, and give how."""
    more = eventually(
        f"{rows} rows", lambda: (now := counted(server) - before).total() >= rows and now
    )
    assert more
    return dict(more)


def some_rows(count: int, first: float = 4.0) -> list[Row]:
    """Give different rows, from small ones on."""
    return [[first + number / 100, 3.0, 4.0, 1.2] for number in range(count)]


def say_as_served(answers: Sequence[Any], store: Store, rows: Sequence[Row]) -> None:
    """See that answers are those of the version that is served."""
    served = store.estimator("served")
    for answer, row in zip(answers, rows, strict=True):
        told = answer.raise_for_status().json()
        assert told["model"]["version"] == store.versions["served"]
        assert told["prediction"] == served.predict([row])[0]
        shares = served.predict_proba([row])[0]
        assert list(told["probabilities"].values()) == pytest.approx(shares, rel=1e-12, abs=1e-12)


def test_counts_are_those_of_a_comparison_of_the_same_rows_by_hand(
    store: Store, tmp_path: Path
) -> None:
    log = tmp_path / "predictions.jsonl"
    settings = store.settings | TWO_WORKERS | {"SERVING_PREDICTION_LOG": str(log)}
    singles, many = some_rows(100, 5.5), some_rows(300, 4.5)
    singles += singles[:20]  # some of which come from a cache
    with (
        serving(store.home, tmp_path / "output", **settings) as server,
        ThreadPoolExecutor(8) as threads,
    ):
        server.has_started(2)
        begin(server, store, "dissenting", workers=2)
        answers = list(threads.map(server.ask_apart, singles))
        say_as_served(answers, store, singles)
        batch = server.ask(many, BATCH).raise_for_status().json()
        rows = np.array(singles + many)
        labels = {name: store.estimator(name).predict(rows) for name in ("served", "dissenting")}
        shares = {name: store.estimator(name).predict_proba(rows) for name in labels}
        differences = np.abs(shares["served"] - shares["dissenting"]).max(axis=1)
        differ = (labels["served"] != labels["dissenting"]) | (differences > 1e-12)
        assert 0 < differ.sum() < len(rows)
        found = after(server, Counter(), len(rows))
        assert found == {"same": (~differ).sum(), "different": differ.sum()}
        pairs = Counter(zip(labels["served"], labels["dissenting"], strict=True))
        assert pairs == {
            (sample.labels["served"], sample.labels["shadowed"]): sample.value
            for sample in server.metrics()
            if sample.name == "serving_shadow_labels_total"
        }
        buckets = {
            float(sample.labels["le"]): sample.value
            for sample in server.metrics()
            if sample.name == "serving_shadow_difference_bucket"
        }
        assert buckets == {le: (differences <= max(le, 1e-12)).sum() for le in buckets}
        total = server.metric("serving_shadow_difference_sum")
        assert total == pytest.approx(differences.sum())
        durations = server.metric("serving_shadow_duration_seconds_count")
        assert durations == len(rows)
        assert server.metric(ROWS, version=store.versions["served"]) == len(rows)
        assert server.metric(ROWS, shadow=store.versions["dissenting"]) == len(rows)
        store.want(None)
        eventually("no shadow", lambda: not shadows(server))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    kinds = Counter(line["event"] for line in lines)
    assert kinds == {"prediction": len(rows), "shadow": differ.sum()}
    places = [(answer.json()["request_id"], 0) for answer in answers]
    places += [(batch["request_id"], row) for row in range(len(many))]
    told = {(line["request_id"], line["row"]): line for line in lines if line["event"] == "shadow"}
    assert told.keys() == {
        place for place, is_other in zip(places, differ, strict=True) if is_other
    }
    for index, place in enumerate(places):
        if differ[index]:
            assert list(told[place]["features"].values()) == rows[index].tolist()
            assert told[place]["served"]["prediction"] == labels["served"][index]
            assert told[place]["shadowed"]["prediction"] == labels["dissenting"][index]


def test_a_shadow_comes_and_goes_while_others_ask_and_takes_its_share(
    server: Server, store: Store
) -> None:
    before = counted(server)
    begin(server, store, "dissenting")
    rows = some_rows(50)
    say_as_served([server.ask(row) for row in rows], store, rows)
    assert after(server, before, 50) == {"same": 50}
    store.want(None)
    eventually("no shadow", lambda: not shadows(server))
    say_as_served([server.ask(row) for row in rows], store, rows)
    begin(server, store, "dissenting", share=25)
    for row in rows * 2:
        server.ask(row)
    found = after(server, before, 50 + 25)
    store.want(None)
    eventually("no shadow", lambda: not shadows(server))
    assert 74 <= sum(found.values()) <= counted(server).total() - before.total() <= 76


def ask_beside(server: Server, store: Store) -> None:
    """See that answers are as ever."""
    rows = some_rows(5)
    say_as_served([server.ask(row) for row in rows], store, rows)


@pytest.mark.parametrize(
    ("row", "event"),
    [([QUITS_AT, 3, 4, 1.2], "shadow.died"), ([HOARDS_AT, 3, 4, 1.2], "shadow.failed")],
)
def test_a_row_on_which_a_shadow_exits_or_wants_too_much_memory_has_failed(
    server: Server, store: Store, row: Row, event: str
) -> None:
    begin(server, store, "ruinous")
    before, started, told = counted(server), starts(server), len(server.events(event))
    say_as_served([server.ask(row)], store, [row])
    assert after(server, before, 1) == {"failed": 1}
    eventually("a line that tells it", lambda: len(server.events(event)) == told + 1)
    if event == "shadow.died":
        assert server.events(event)[-1]["reason"] == "it ended with 7"
        eventually("another shadow", lambda: starts(server) == started + 1)
    ask_beside(server, store)
    assert after(server, before, 6) == {"failed": 1, "same": 5}


def test_a_shadow_that_is_killed_as_one_is_when_memory_runs_out_is_replaced(
    server: Server, store: Store
) -> None:
    begin(server, store, "ruinous")
    before, started = counted(server), starts(server)
    (process,) = shadows(server)
    assert process.nice() == 19
    assert Path(f"/proc/{process.pid}/oom_score_adj").read_text() == "1000\n"
    process.kill()
    ask_beside(server, store)
    eventually("another shadow", lambda: starts(server) == started + 1)
    assert server.events("shadow.died")[-1]["reason"] == "it was ended by SIGKILL"
    ended = after(server, before, 5)
    assert ended["same"] + ended.get("failed", 0) == 5


def test_a_shadow_that_hangs_is_felt_by_nobody_and_goes_when_it_is_unwanted(
    server: Server, store: Store, gate: Gate
) -> None:
    begin(server, store, "ruinous")
    before = counted(server)
    gate.close()
    try:
        (row,) = some_rows(1, 5.0)
        say_as_served([server.ask(row)], store, [row])
        eventually("a row in the shadow", lambda: gate.has_seen(row))
        rows = some_rows(20)
        say_as_served([server.ask(row) for row in rows], store, rows)
        batches = [server.ask(some_rows(400), BATCH) for _ in range(3)]
        assert {answer.status_code for answer in batches} == {200}
        assert server.is_ready()
        assert after(server, before, 1) == {"dropped": 220}
        store.want(None)
        eventually("no shadow", lambda: not shadows(server))
    finally:
        gate.open()
    assert after(server, before, 1221) == {"failed": 1, "dropped": 1220}


@pytest.mark.parametrize(
    ("name", "reason"),
    [("damaged", "is damaged"), ("of another target", "it has other targets")],
)
def test_a_version_that_can_be_no_shadow_is_refused_with_its_reason(
    server: Server, store: Store, name: str, reason: str
) -> None:
    before, told = counted(server), len(server.events("shadow.refused"))
    store.want(name)
    eventually("a line that tells it", lambda: len(server.events("shadow.refused")) == told + 1)
    assert reason in server.events("shadow.refused")[-1]["reason"]
    ask_beside(server, store)
    eventually("no shadow", lambda: not shadows(server))
    store.want(None)
    assert after(server, before, 5) == {"dropped": 5}


def test_a_shadow_that_hangs_ends_with_its_worker(store: Store, gate: Gate, tmp_path: Path) -> None:
    settings = store.settings | {GATE: str(gate.folder)}
    with serving(store.home, tmp_path / "output", **settings) as server:
        begin(server, store, "ruinous")
        gate.close()
        try:
            (row,) = some_rows(1, 5.1)
            server.ask(row)
            eventually("a row in the shadow", lambda: gate.has_seen(row))
            (process,) = shadows(server)
            started = server.started()
            os.kill(process.ppid(), signal.SIGKILL)
            eventually("its end", lambda: not process.is_running())
            server.has_started(started + 1)
            eventually("another shadow", lambda: shadows(server))
        finally:
            gate.open()
        server.ask(row)
    assert not psutil.pid_exists(process.pid)
    store.want(None)
