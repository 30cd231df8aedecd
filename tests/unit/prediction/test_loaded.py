"""A loaded version: its parts are put together as the settings say, and answer."""

import asyncio
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bentoml
import numpy as np
import pytest
from prometheus_client import REGISTRY

from serving.explaining.attribution import Attribution, Part
from serving.explaining.kept import Kept
from serving.metrics import Metrics
from serving.model.description import Description, Explained
from serving.model.facts import model_info
from serving.model.features import Row
from serving.model.outputs import Prediction
from serving.model.rows import Explain, Question, below
from serving.model.store import save
from serving.model.stored import EXPLANATION, ModelError, VerifiedModel, verify
from serving.prediction import loaded as room
from serving.prediction.cache import Lookup
from serving.prediction.loaded import Loaded
from serving.prediction.predictor import EstimatorError, Outcome
from serving.problems import Problem
from serving.settings import Settings
from serving.telemetry import Listeners, RequestRecord
from tests.unit.fakes import Heard, SignEstimator, recorded, sample
from tests.unit.prediction.stories import PATIENCE_S, story, turns, until
from tests.unit.samples import EXPLAINED, description

PAGE = "<!doctype html>\n<title>Mail</title>\n"
HAM: Row = (-1.0, 0.0)
SPAM: Row = (1.0, 0.0)


class ThreadNoting(SignEstimator):
    """Notes the threads in which it is asked, and whether it has to fail."""

    threads: list[str] = []  # noqa: RUF012 (of all that are unpickled)
    fails = False

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Give the labels."""
        self.threads.append(threading.current_thread().name)
        if self.fails:
            raise ArithmeticError
        return super().predict(features)


@pytest.fixture(scope="module")
def verified() -> VerifiedModel:
    """Save a small model, and verify it."""
    return verify(bentoml.models.get(save(ThreadNoting(), description(), PAGE)))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Give the log lines that the room writes."""
    return recorded(monkeypatch, room).lines


@contextmanager
def loading(
    verified: VerifiedModel,
    metrics: Metrics,
    *heard: Heard,
    **settings: Any,  # noqa: ANN401
) -> Iterator[Loaded]:
    """Load a model, within a story, and let its thread end."""
    loaded = Loaded(verified, Settings(**settings), metrics, Listeners(heard))
    try:
        yield loaded
    finally:
        loaded.close()


@story
async def test_what_is_public_of_a_model_is_told_as_the_store_has_it(
    verified: VerifiedModel, metrics: Metrics, told: list[dict[str, Any]]
) -> None:
    with loading(verified, metrics) as loaded:
        assert loaded.about.named == {"name": "mail", "version": verified.tag.version}
        assert loaded.info == model_info(verified)
        assert loaded.card == PAGE
        assert loaded.example == Prediction("spam")
    assert told == [
        {
            "level": "info",
            "event": "model.loaded",
            "model": str(verified.tag),
            "runtime": "sklearn",
            "size_bytes": verified.size_bytes,
        }
    ]
    labels = loaded.about.named | {"task": "classification"}
    assert REGISTRY.get_sample_value("serving_model_info", labels) == 1


@story
async def test_it_reads_rows_and_answers_and_tells_of_it(
    verified: VerifiedModel, metrics: Metrics, record: RequestRecord
) -> None:
    heard = Heard()
    with loading(verified, metrics, heard, max_batch_rows=2) as loaded:
        question = loaded.rows.many([list(HAM), list(SPAM)], ())
        outcome = await loaded.predictor.ask(question)
        assert outcome.predictions == [Prediction("ham"), Prediction("spam")]
        with pytest.raises(Problem, match="at most 2"):
            loaded.rows.many([list(HAM)] * 3, ())
    (event,) = heard.predictions
    assert event == (record.id, loaded.about, question.rows, outcome.predictions, ())


@story
async def test_rows_in_parts_are_asked_in_batches_of_the_size_that_is_set(
    verified: VerifiedModel,
    metrics: Metrics,
    record: RequestRecord,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batches: list[tuple[int, int]] = []
    counts = {"batch_started": lambda *batch: batches.append(batch), "looked_up": None}
    monkeypatch.setattr(metrics, "of", lambda about: SimpleNamespace(**counts))
    with loading(verified, metrics, max_batch_rows=2) as loaded:
        rows = [list(HAM), list(SPAM)] * 2 + [list(HAM)]
        question = loaded.rows.each(rows, below(()), in_parts=True)
        labels = [each.value for each in (await loaded.predictor.ask(question)).predictions]
    assert labels == ["ham", "spam", "ham", "spam", "ham"]
    assert [size for size, _ in batches] == [2, 2, 1]


@story
async def test_columns_that_the_model_ignores_may_be_sent(
    verified: VerifiedModel, metrics: Metrics
) -> None:
    with loading(replace(verified, description=description(ignored=("id",))), metrics) as loaded:
        question = loaded.rows.one({"length": -1.0, "a/b ~c": 0.0, "id": 7}, ())
        assert question.rows == [HAM]


@pytest.mark.parametrize(
    ("settings", "last"),
    [
        ({}, Lookup.HIT),
        ({"cache_entries": 0}, None),
        ({"cache_ttl_s": 0}, None),
        ({"cache_entries": 1}, Lookup.MISS),
        ({"cache_ttl_s": 1e-9}, Lookup.MISS),
    ],
)
@story
async def test_predictions_are_kept_as_the_settings_say(
    verified: VerifiedModel,
    metrics: Metrics,
    record: RequestRecord,
    settings: dict[str, int],
    last: Lookup | None,
) -> None:
    with loading(verified, metrics, **settings) as loaded:
        questions = [Question([row], is_one=True) for row in (HAM, SPAM, HAM)]
        lookups = [(await loaded.predictor.ask(question)).lookup for question in questions]
        first = None if last is None else Lookup.MISS
        assert lookups == [first, first, last]
        assert loaded.keeps_predictions is (last is not None)


@story
async def test_batches_and_lookups_are_counted(
    verified: VerifiedModel,
    metrics: Metrics,
    record: RequestRecord,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[object] = []
    counts = {"batch_started": lambda *batch: told.append(batch), "looked_up": told.append}
    monkeypatch.setattr(metrics, "of", lambda about: SimpleNamespace(**counts))
    with loading(verified, metrics) as loaded:
        await loaded.predictor.ask(Question([HAM], is_one=True))
        await loaded.predictor.ask(Question([HAM, SPAM], is_one=False))
    assert told == [Lookup.MISS, (1, 0), (2, 0)]


@pytest.mark.parametrize(
    ("settings", "refused"),
    [({}, 0), ({"max_queue_rows": 1}, 1), ({"request_timeout_s": 1e-9}, 2)],
)
@story
async def test_as_many_rows_wait_and_for_as_long_as_the_settings_say(
    verified: VerifiedModel,
    metrics: Metrics,
    record: RequestRecord,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    refused: int,
) -> None:
    model = GatedModel()
    monkeypatch.setattr(room, "load", lambda verified, runtime: (model, model.warm_up()))
    with loading(verified, metrics, cache_entries=0, **settings) as loaded:

        def ask() -> "asyncio.Task[Outcome]":
            return asyncio.create_task(loaded.predictor.ask(Question([HAM], is_one=True)))

        tasks = [ask()]
        await turns()
        until(model.arrived.is_set)
        tasks += [ask(), ask()]
        await turns()
        model.gate.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(Problem) == refused


@story
async def test_an_estimator_is_never_asked_on_the_event_loop(
    verified: VerifiedModel, metrics: Metrics, record: RequestRecord
) -> None:
    with loading(verified, metrics, cache_entries=0) as loaded:
        ThreadNoting.threads.clear()
        for rows in ([HAM], [HAM, SPAM]):
            await loaded.predictor.ask(Question(rows, is_one=len(rows) == 1))
        assert ThreadNoting.threads == ["model"] * 2


@story
async def test_a_failure_of_the_estimator_is_one_in_the_service_and_in_process(
    verified: VerifiedModel,
    metrics: Metrics,
    record: RequestRecord,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with loading(verified, metrics) as loaded:
        assert loaded.compute([HAM]) == [Prediction("ham")]
        monkeypatch.setattr(ThreadNoting, "fails", True)
        with pytest.raises(EstimatorError):
            loaded.compute([HAM])
        with pytest.raises(EstimatorError):
            await loaded.predictor.ask(Question([HAM], is_one=True))


class GatedModel:
    """Waits at its gate before it answers."""

    runtime = "sklearn"
    max_at_once = 0

    def __init__(self) -> None:
        """Close the gate."""
        self.arrived = threading.Event()
        self.gate = threading.Event()

    def warm_up(self) -> Prediction:
        """Answer about the example."""
        return Prediction("ham")

    def predict(self, rows: Sequence[Row]) -> list[Prediction | None]:
        """Wait, and answer."""
        self.arrived.set()
        assert self.gate.wait(PATIENCE_S)
        return [Prediction("ham") for _ in rows]

    at_once = predict


class QuickModel:
    """Answers two rows at once, but not spam: for that it has to be asked in its thread."""

    runtime = "onnx"
    max_at_once = 2

    def __init__(self) -> None:
        """Start with nothing asked."""
        self.asked: list[tuple[str, int]] = []  # in which thread, about how many rows

    def warm_up(self) -> Prediction:
        """Answer about the example."""
        return Prediction("ham")

    def predict(self, rows: Sequence[Row]) -> list[Prediction | None]:
        """Answer about all."""
        self.asked.append((threading.current_thread().name, len(rows)))
        return [Prediction("ham" if row == HAM else "spam") for row in rows]

    def at_once(self, rows: Sequence[Row]) -> list[Prediction | None]:
        """Answer about ham."""
        self.asked.append(("at once", len(rows)))
        assert threading.current_thread() is threading.main_thread()
        return [Prediction("ham") if row == HAM else None for row in rows]


@story
async def test_a_quick_model_answers_few_rows_on_the_event_loop_and_the_rest_in_its_thread(
    verified: VerifiedModel,
    metrics: Metrics,
    record: RequestRecord,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = QuickModel()
    monkeypatch.setattr(room, "load", lambda verified, runtime: (model, model.warm_up()))
    with loading(verified, metrics) as loaded:
        for rows in ([HAM], [HAM, SPAM], [HAM] * 3):
            answers = (await loaded.predictor.ask(Question(rows, is_one=False))).predictions
            assert [answer.value == "ham" for answer in answers] == [row == HAM for row in rows]
    assert model.asked == [("at once", 1), ("at once", 2), ("model", 1), ("model", 3)]


# What explains


class FakeExplanation:
    """Explains in a part, which notes its thread and asks the model."""

    method = "trees"
    threads: list[str] = []  # noqa: RUF012 (of all)

    def __init__(self, kept: Kept, explained: Explained, of: Description, model: object) -> None:
        """Take what was read, or fail."""
        if not kept.told["works"]:
            raise LookupError("leaves")

    def parts(self, row: Row) -> list[Part]:
        """Give one."""
        note = self.threads.append
        return [lambda: np.array([note(threading.current_thread().name) is None])]

    def attribution(self, row: Row, prediction: Prediction, results: Any) -> Attribution:  # noqa: ANN401 (arrays)
        """Give nothing."""
        return Attribution(np.zeros(2), np.zeros((len(row), 2)))

    def told(self, attribution: Attribution, prediction: Prediction, *, of_all: bool) -> str:
        """Tell it."""
        return "since it is so"


@pytest.fixture
def explainable(
    verified: VerifiedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> VerifiedModel:
    """Give a model beside which something is kept for explanations."""
    monkeypatch.setattr(room, "Explanation", FakeExplanation)
    folder = shutil.copytree(verified.path, tmp_path / "model")
    (folder / EXPLANATION).write_bytes(Kept({"works": True}).packed())
    return replace(verified, path=folder, description=description(explained=EXPLAINED))


EXPLAINED_HAM = Question([HAM], is_one=False, explain=Explain.PREDICTED)


@story
async def test_predictions_are_explained_in_the_model_s_thread_and_counted(
    explainable: VerifiedModel, metrics: Metrics, record: RequestRecord
) -> None:
    with loading(explainable, metrics) as loaded:
        assert loaded.explains
        FakeExplanation.threads.clear()
        outcome = await loaded.predictor.ask(EXPLAINED_HAM)
        assert outcome.predictions == [(Prediction("ham"), "since it is so")]
        assert FakeExplanation.threads == ["model"]
        labels = {"model_name": "mail", "version": loaded.about.version}
        assert sample("serving_explanations_total", method="trees", **labels) == 1
        assert sample("serving_explanation_duration_seconds_count", **labels) == 1


@story
async def test_as_many_rows_are_explained_as_the_settings_say(
    explainable: VerifiedModel, metrics: Metrics, record: RequestRecord
) -> None:
    with (
        loading(explainable, metrics, explain_max_rows=1) as loaded,
        pytest.raises(Problem, match="at most 1 are explained"),
    ):
        await loaded.predictor.ask(replace(EXPLAINED_HAM, rows=[HAM, HAM]))
    with loading(explainable, metrics, explain=False) as loaded:
        assert not loaded.explains
        assert loaded.info["explained"] == {"why_not": "SERVING_EXPLAIN=off"}
        with pytest.raises(Problem, match="not explained: SERVING_EXPLAIN=off"):
            await loaded.predictor.ask(EXPLAINED_HAM)


@story
async def test_a_model_that_can_t_be_explained_says_why(
    verified: VerifiedModel, metrics: Metrics, record: RequestRecord
) -> None:
    told = replace(verified, description=description(explained="it takes texts"))
    with loading(told, metrics) as loaded:
        assert not loaded.explains
        with pytest.raises(Problem, match="not explained: it takes texts"):
            await loaded.predictor.ask(EXPLAINED_HAM)


@pytest.mark.parametrize("kept", [Kept({"works": False}).packed(), b"no file of NumPy"])
@story
async def test_what_does_not_explain_the_example_is_refused(
    explainable: VerifiedModel, metrics: Metrics, kept: bytes
) -> None:
    (explainable.path / EXPLANATION).write_bytes(kept)
    with (
        pytest.raises(ModelError, match=r"can't explain its example: .*SERVING_EXPLAIN=off"),
        loading(explainable, metrics),
    ):
        pass


@story
async def test_closing_lets_its_thread_end(verified: VerifiedModel, metrics: Metrics) -> None:
    before = set(threading.enumerate())
    with loading(verified, metrics):
        (thread,) = set(threading.enumerate()) - before
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
