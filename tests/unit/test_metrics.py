"""Metrics: true over all workers, and of no more series than a Prometheus can take."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from serving.exposition import (
    CONSTANTS,
    Constant,
    exposition,
    forget_dead_workers,
    forget_this_worker,
)
from serving.metrics import MAX_NAMED_SERIES, OTHERS, Metrics
from serving.model.about import About
from serving.model.description import Label
from serving.model.outputs import Prediction
from serving.telemetry import Answered, Predicted, RequestRecord
from tests.unit.fakes import sample, service_labels
from tests.unit.samples import description

MAIL, POST = (About(description(name=name), "v1") for name in ("mail", "post"))
NAMED = {"model_name": "mail", "version": "v1"}
NONE = {"model_name": "", "version": ""}

# Requests


@pytest.fixture
def answered(record: RequestRecord) -> Answered:
    """Give the end of a request that nothing was noted of."""
    return record.answered(200, 0.25)


def test_requests_are_counted_with_their_times_and_those_under_way(
    metrics: Metrics, answered: Answered, request: pytest.FixtureRequest
) -> None:
    route = {"endpoint": "/predict", **service_labels(request.node.name)}
    metrics.started("/predict")
    metrics.started("/predict")
    assert sample("bentoml_service_request_in_progress", **route) == 2
    metrics.answered(answered)
    metrics.answered(answered._replace(status=503, model=MAIL))
    assert sample("bentoml_service_request_in_progress", **route) == 0
    for status, model in (("200", NONE), ("503", NAMED)):
        labels = {**route, **model, "http_response_code": status}
        assert sample("bentoml_service_request_total", **labels) == 1
        assert sample("bentoml_service_request_duration_seconds_sum", **labels) == 0.25


def test_problems_are_counted_by_type(metrics: Metrics, answered: Answered) -> None:
    refused = answered._replace(problem="counted-problem")
    for model in (None, MAIL, MAIL):
        metrics.answered(refused._replace(model=model))
    metrics.answered(answered)
    assert sample("serving_errors_total", type="counted-problem", **NONE) == 1
    assert sample("serving_errors_total", type="counted-problem", **NAMED) == 2


def test_values_unlike_training_are_counted_by_feature(
    metrics: Metrics, answered: Answered
) -> None:
    metrics.answered(answered)
    unusual = {"counted length": 3, "counted/ünï ~": 1}
    for model in (MAIL, MAIL, POST):
        metrics.answered(answered._replace(model=model, unusual=unusual))
    assert sample("serving_unusual_values_total", feature="counted length", **NAMED) == 6
    assert sample("serving_unusual_values_total", feature="counted/ünï ~", **NAMED) == 2
    assert sample("serving_unusual_values_total", feature="counted/ünï ~", model_name="post") == 1


# Predictions


def predicted(*labels: Label, about: About = MAIL) -> Predicted:
    """Tell that these labels were predicted."""
    predictions: Sequence[Prediction] = [Prediction(label) for label in labels]
    return Predicted("id-1", about, [()] * len(labels), predictions)


def test_predictions_are_counted_by_class_named_as_json_writes_it(metrics: Metrics) -> None:
    names = ("counted ham", "counted spam", "true", "9007199254740993")

    def counts() -> list[float]:
        return [sample("serving_predictions_total", **{"class": name}) for name in names]

    before = counts()
    metrics.predicted(predicted("counted ham", "counted spam", "counted ham"))
    metrics.predicted(predicted("counted ham"))
    metrics.predicted(predicted(True, 2**53 + 1, True))
    assert [now - then for now, then in zip(counts(), before, strict=True)] == [3, 1, 2, 1]


def series(metric: str, label: str, start: str) -> set[str]:
    """Give the values of a label that start so."""
    return {
        measured.labels[label]
        for family in REGISTRY.collect()
        for measured in family.samples
        if measured.name == metric and measured.labels[label].startswith(start)
    }


@pytest.mark.parametrize(
    ("metric", "label"),
    [("serving_predictions_total", "class"), ("serving_unusual_values_total", "feature")],
)
def test_no_more_classes_and_features_become_series_than_the_limit(
    metrics: Metrics, answered: Answered, metric: str, label: str
) -> None:
    many, few = (About(description(name=name), "v1") for name in ("many", "few"))

    def count(name: str, about: About = many) -> None:
        if label == "class":
            metrics.predicted(predicted(name, about=about))
        else:
            metrics.answered(answered._replace(model=about, unusual={name: 1}))

    before = sample(metric, **{label: OTHERS})
    for number in range(MAX_NAMED_SERIES + 50):
        count(f"many {number}")
    assert len(series(metric, label, "many ")) == MAX_NAMED_SERIES
    assert sample(metric, **{label: OTHERS}) == before + 50
    count("many 0")
    assert sample(metric, **{label: "many 0"}) == 2
    count("many 0", few)  # which has room of its own
    assert sample(metric, **{label: "many 0", "model_name": "few"}) == 1


def test_a_batch_is_counted_with_its_rows_and_those_that_wait(
    metrics: Metrics, request: pytest.FixtureRequest
) -> None:
    labels = {"method_name": "predict", "worker_index": "0", **service_labels(request.node.name)}
    labels |= NAMED
    counts = metrics.of(MAIL)
    counts.batch_started(3, 5)
    assert sample("serving_waiting_rows", **NAMED) == 5
    counts.batch_started(1, 0)
    counts.batch_started(0, 0)  # nothing is left to do: that is no batch
    assert sample("bentoml_service_adaptive_batch_size_count", **labels) == 2
    assert sample("bentoml_service_adaptive_batch_size_sum", **labels) == 4
    assert sample("serving_waiting_rows", **NAMED) == 0


def test_looks_into_the_cache_are_counted_by_their_result(metrics: Metrics) -> None:
    labels = {"result": "collapsed", **NAMED}
    before = sample("serving_cache_lookups_total", **labels)
    metrics.of(MAIL).looked_up("collapsed")
    assert sample("serving_cache_lookups_total", **labels) == before + 1


# Workers


def test_any_worker_answers_for_all_and_alone_where_there_is_one(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics.serves("told everywhere", "v1", "regression")
    told = b'serving_model_info{name="told everywhere",task="regression",version="v1"} 1.0'
    assert told in exposition()
    assert b"pid=" not in exposition()  # gauges are those of all workers together
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR")
    assert told in exposition()


def test_the_gauges_of_dead_workers_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, of_another_user = 11, 12

    def kill(pid: int, signal: int) -> None:
        assert signal == 0
        if pid == dead:
            raise ProcessLookupError
        if pid == of_another_user:
            raise PermissionError

    monkeypatch.setattr(os, "kill", kill)
    forgotten = [f"gauge_livesum_{dead}.db", f"gauge_livemax_{dead}.db"]
    kept = [f"counter_{dead}.db", f"gauge_livesum_{of_another_user}.db", "gauge_livesum_13.db"]
    for name in (*forgotten, *kept):
        (tmp_path / name).touch()
    forget_dead_workers(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == set(kept)


def test_a_worker_that_has_counted_nothing_leaves_nothing(tmp_path: Path) -> None:
    for pid in (os.getpid(), 13):
        (tmp_path / f"counter_{pid}.db").touch()
    forget_this_worker(tmp_path)
    assert os.listdir(tmp_path) == ["counter_13.db"]


@pytest.mark.parametrize("forget", [forget_dead_workers, forget_this_worker])
def test_a_folder_that_is_not_there_is_no_error(tmp_path: Path, forget: object) -> None:
    assert callable(forget)
    forget(tmp_path / "nowhere")


def test_what_never_changes_is_told_beside_the_metrics_of_all_workers() -> None:
    def lines() -> list[str]:
        return [line for line in exposition().decode().splitlines() if name in line]

    name = "told_constant"
    constant = Constant(name, "What is told.", ("b", "a"))
    try:
        assert lines() == []
        for value in (0.5, 2.0):  # what was told before is not kept for ever
            constant.tell(value, b='a "quote"\n', a="ünï")
            assert lines() == [
                f"# HELP {name} What is told.",
                f"# TYPE {name} gauge",
                name + r'{a="ünï",b="a \"quote\"\n"} ' + str(value),
            ]
    finally:
        CONSTANTS.unregister(constant)


@pytest.mark.slow
def test_a_worker_that_still_loads_its_model_tells_of_no_lost_storage() -> None:
    """The least of all workers is told, and an alert goes by it."""
    code = "from serving.metrics import QUOTA_STORAGE_UP as up; print(up._value.get())"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "1.0"
