"""What comes over the wire is what the estimator says in process, whatever company a row has."""

import asyncio
import json
import random
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import bentoml.sklearn
import httpx
import numpy as np
import pandas as pd
import pytest
from bentoml._internal.models.model import ModelStore
from sklearn.datasets import load_iris

from tests.server import BATCH, PATIENCE_S, ROOT, Server, run_python, serving
from tests.trained import copy_of
from tests.wire.estimators import EXITS_AT, FAILS_ABOVE

CONNECTIONS = 64
CLOSE = 1e-12


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, and what must come back: a status, and for 200 an answer for each row."""

    path: str
    rows: list[list[Any]]
    status: int = 200


@pytest.fixture(scope="module")
def estimator(home: Path) -> Any:  # noqa: ANN401 (scikit-learn has no type for it)
    """Load the served estimator in process, as a user of BentoML does."""
    return bentoml.sklearn.load_model(ModelStore(str(home / "models")).get("iris:latest"))


def boundary_rows(estimator: Any, count: int, rng: random.Random) -> list[list[float]]:  # noqa: ANN401
    """Find rows in which two classes meet: halve the way between two rows of different label."""
    flowers = load_iris().data
    rows: list[list[float]] = []
    while len(rows) < count:
        first, second = flowers[rng.randrange(150)], flowers[rng.randrange(150)]
        label = estimator.predict([first])[0]
        if estimator.predict([second])[0] == label:
            continue
        for _ in range(60):
            middle = (first + second) / 2
            if estimator.predict([middle])[0] == label:
                first = middle
            else:
                second = middle
        rows += [first.tolist(), second.tolist()]
    return rows


def distinct_rows(estimator: Any, count: int, seed: int) -> list[list[float]]:  # noqa: ANN401
    """Give rows of every kind: flowers, in between, far away, and at the boundaries."""
    rng = random.Random(seed)
    rows = boundary_rows(estimator, count // 4, rng)
    rows += [[rng.uniform(0, 8) for _ in range(4)] for _ in range(count // 2)]
    rows += [[rng.uniform(-1, 1) * 10 ** rng.randrange(300) for _ in range(4)] for _ in range(9)]
    rows += [[rng.gauss(4, 2) for _ in range(4)] for _ in range(count - len(rows))]
    rng.shuffle(rows)
    assert len({tuple(row) for row in rows}) == count
    return rows


def ask_all(server: Server, requests: Iterable[Asked]) -> list[tuple[Asked, httpx.Response]]:
    """Send all requests at once, over many connections."""

    async def run() -> list[tuple[Asked, httpx.Response]]:
        limits = httpx.Limits(max_connections=CONNECTIONS)
        async with httpx.AsyncClient(
            base_url=server.url, limits=limits, timeout=PATIENCE_S
        ) as client:

            async def ask(asked: Asked) -> tuple[Asked, httpx.Response]:
                data = asked.rows if asked.path == BATCH else asked.rows[0]
                return asked, await client.post(asked.path, json={"data": data})

            return await asyncio.gather(*map(ask, requests))

    return asyncio.run(run())


def assert_faithful(estimator: Any, answers: list[tuple[Asked, httpx.Response]]) -> None:  # noqa: ANN401
    """Compare every answer with what the estimator says of its rows, one by one."""
    classes = [str(label) for label in estimator.classes_]
    for asked, answer in answers:
        assert answer.status_code == asked.status, answer.text
        if asked.status != 200:
            continue
        body = answer.json()
        predictions = body["predictions"] if asked.path == BATCH else [body]
        for row, prediction in zip(asked.rows, predictions, strict=True):
            assert prediction["prediction"] == estimator.predict([row])[0], row
            assert list(prediction["probabilities"]) == classes
            np.testing.assert_allclose(
                list(prediction["probabilities"].values()),
                estimator.predict_proba([row])[0],
                rtol=CLOSE,
                atol=CLOSE,
            )


class Batches:
    """Measures how many rows went through the model together since it was made."""

    def __init__(self, server: Server) -> None:
        """Note what was there before."""
        self._server = server
        self._before = self._read()

    def _read(self) -> np.ndarray[Any, np.dtype[Any]]:
        name = "bentoml_service_adaptive_batch_size"
        return np.array([self._server.metric(f"{name}_{part}") for part in ("sum", "count")])

    def mean(self) -> float:
        """Give the mean batch size."""
        rows, batches = self._read() - self._before
        return float(rows / batches)


def test_a_row_alone_gets_the_estimators_own_bits(configured: Server, estimator: Any) -> None:  # noqa: ANN401
    for row in distinct_rows(estimator, 60, seed=1):
        body = configured.ask(row).json()
        assert body["prediction"] == estimator.predict([row])[0]
        own = estimator.predict_proba([row])[0].tolist()
        assert list(body["probabilities"].values()) == own


def test_single_rows_batches_and_invalid_neighbours_at_once_get_their_own_answers(
    server: Server,
    estimator: Any,  # noqa: ANN401
) -> None:
    rng = random.Random(3)
    rows = distinct_rows(estimator, 700, seed=3)
    requests = []
    while rows:
        size = rng.choice([1, 1, 1, 1, 1, 2, 5, 20])
        path = rng.choice(["/predict", "/predict", BATCH]) if size == 1 else BATCH
        requests.append(Asked(path, rows[:size]))
        del rows[:size]
    requests += [
        Asked("/predict", [[rng.random(), bad, 1, 1]], 422) for bad in [True, None, "x", 1e308] * 25
    ]
    requests += [Asked(BATCH, [[1, 1, 1, 1], [rng.random()]], 422) for _ in range(25)]
    rng.shuffle(requests)
    batches = Batches(server)
    answers = ask_all(server, requests)
    assert_faithful(estimator, answers)
    assert batches.mean() > 1
    assert len({answer.json()["request_id"] for _, answer in answers}) == len(answers)


def test_neighbours_that_the_estimator_fails_on_change_no_answer(
    fragile: Server,
    estimator: Any,  # noqa: ANN401
) -> None:
    rng = random.Random(5)
    good = [row for row in distinct_rows(estimator, 400, seed=5) if abs(row[0]) < FAILS_ABOVE]
    requests = [Asked("/predict", [row]) for row in good[:200]]
    requests += [Asked(BATCH, good[start : start + 5]) for start in range(200, len(good), 5)]
    failing = [[FAILS_ABOVE + 1 + rng.random(), 1, 1, 1] for _ in range(50)]
    failing += [[EXITS_AT, 1, 1, 1] for _ in range(10)]
    requests += [Asked("/predict", [row], 500) for row in failing[:40]]
    requests += [Asked(BATCH, [[1, 1, 1, 1], row], 500) for row in failing[40:]]
    rng.shuffle(requests)
    batches = Batches(fragile)
    assert_faithful(estimator, ask_all(fragile, requests))
    assert batches.mean() > 1


def flowers_between(estimator: Any) -> list[list[float]]:  # noqa: ANN401
    """Give rows between two flowers, some of them where classes meet."""
    rng = random.Random(6)
    flowers = load_iris().data
    pairs = [(flowers[rng.randrange(150)], flowers[rng.randrange(150)]) for _ in range(40)]
    mixed = [(one + (other - one) * rng.random()).tolist() for one, other in pairs]
    return mixed + boundary_rows(estimator, 10, rng)


def orchard() -> tuple[pd.DataFrame, list[list[Any]]]:
    """Give a table of numbers, a category and gaps, with fruit and its price; and rows of it."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(5, 2, (150, 3)).round(3), columns=["length", "width", "age"])
    frame["colour"] = rng.choice(["red", "green", "blue"], 150)
    size = ((frame["length"] + frame["width"]) // 4).clip(0, 2).astype(int)
    frame["fruit"] = np.array(["apple", "pear", "plum"])[size]
    frame["price"] = np.exp(frame["length"] / 5 + rng.normal(size=150) / 3)
    frame.loc[rng.random(150) < 0.1, ["width", "colour"]] = None
    asked = frame.iloc[:50].drop(columns=["fruit", "price"])
    return frame, json.loads(asked.to_json(orient="values"))


def train_orchard(options: str, home: Path) -> None:
    """Train a model on that table."""
    orchard()[0].to_csv(home / "orchard.csv", index=False)
    command = f"--data orchard.csv {options}".split()
    run_python(home, str(ROOT / "train.py"), *command, folder=home)


def ask_one_by_one(server: Server, requests: Sequence[Asked]) -> list[bytes]:
    """Send requests one after the other, as a client with one connection, and give the bodies."""
    with httpx.Client(base_url=server.url, headers={"X-Request-ID": "id"}) as client:
        return [
            client.post(
                asked.path,
                json={"data": asked.rows if asked.path == BATCH else asked.rows[0]},
            )
            .raise_for_status()
            .content
            for asked in requests
        ]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("flowers", ""),
        ("fruit", "--target fruit --drop price --estimator GradientBoostingClassifier"),
        ("price", "--target price --drop fruit --estimator PoissonRegressor"),
    ],
)
def test_the_same_question_gets_the_same_bytes_in_any_company(
    kind: str,
    options: str,
    home: Path,
    tmp_path: Path,
    estimator: Any,  # noqa: ANN401
) -> None:
    settings = {"SERVING_CACHE_ENTRIES": "0"}
    if options:
        home = copy_of(partial(train_orchard, options), f"orchard-{kind}", tmp_path, options)
        settings["SERVING_MODEL"] = "orchard"
    rows: list[list[Any]] = orchard()[1] if options else flowers_between(estimator)
    rng = random.Random(7)
    requests = [Asked("/predict", [row]) for row in rows * 15]
    requests += [Asked(BATCH, rng.choices(rows, k=size)) for size in range(1, 80, 2)]
    rng.shuffle(requests)
    with serving(home, tmp_path / "output", **settings) as server:
        assert server.http.get("/model/info").json()["runtime"]["same_bits"]
        alone = ask_one_by_one(server, [Asked("/predict", [row]) for row in rows])
        batches = Batches(server)
        shares = [requests[client::8] for client in range(8)]
        with ThreadPoolExecutor(8) as clients:
            told = list(clients.map(lambda share: ask_one_by_one(server, share), shares))
        assert batches.mean() > 1
    parts = {str(row): body.split(b',"model":') for row, body in zip(rows, alone, strict=True)}
    for asked, body in zip(chain(*shares), chain(*told), strict=True):
        answers = [parts[str(row)][0] for row in asked.rows]
        if asked.path == BATCH:
            answers = [b'{"predictions":[' + b",".join(answer + b"}" for answer in answers) + b"]"]
        assert body.split(b',"model":') == [*answers, parts[str(rows[0])][1]]
