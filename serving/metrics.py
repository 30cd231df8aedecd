"""All metrics, declared once; a listener counts what happens to requests.

Other rooms count what they alone see.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from serving.exposition import Constant
from serving.telemetry import Answered, Listener, Predicted

MAX_NAMED_SERIES = 100
OTHERS = "other"

# BentoML's names and labels, so that dashboards made for it work; what its middlewares would count
# is counted at the edge, with the route's template for ``endpoint``.
SERVICE_LABELS = ("service_name", "service_version", "runner_name")
MODEL_LABELS = ("model_name", "version")  # empty for requests that are for no model
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_ROWS = tuple(2**power for power in range(13))
DIFFERENCES = tuple(float(f"1e{power}") for power in range(-12, 1))
ROW_SECONDS = tuple(float(f"{digit}e{power}") for power in range(-6, 1) for digit in (1, 2, 5))

REQUESTS = Counter(
    "bentoml_service_request_total",
    "HTTP requests answered.",
    ("endpoint", *SERVICE_LABELS, "http_response_code", *MODEL_LABELS),
)
DURATION = Histogram(
    "bentoml_service_request_duration_seconds",
    "Time from a request's head to the end of its answer.",
    ("endpoint", *SERVICE_LABELS, "http_response_code", *MODEL_LABELS),
    buckets=_SECONDS,
)
IN_PROGRESS = Gauge(
    "bentoml_service_request_in_progress",
    "HTTP requests being answered.",
    ("endpoint", *SERVICE_LABELS),
    multiprocess_mode="livesum",
)
BATCH_SIZE = Histogram(
    "bentoml_service_adaptive_batch_size",
    "Rows that went through the model together.",
    ("method_name", *SERVICE_LABELS, "worker_index", *MODEL_LABELS),
    buckets=_ROWS,
)
ERRORS = Counter(
    "serving_errors_total",
    "Requests answered with a problem, by its type.",
    ("type", *MODEL_LABELS),
)
PREDICTIONS = Counter(
    "serving_predictions_total",
    f"Predictions, by predicted class; those beyond a model's first {MAX_NAMED_SERIES} as one.",
    (*MODEL_LABELS, "class"),
)
UNUSUAL = Counter(
    "serving_unusual_values_total",
    "Values unlike those seen in training; features beyond a model's first "
    f"{MAX_NAMED_SERIES} as one.",
    (*MODEL_LABELS, "feature"),
)
CACHE_LOOKUPS = Counter(
    "serving_cache_lookups_total",
    "Single predictions looked up in the cache: hit, miss, or collapsed into one under way.",
    (*MODEL_LABELS, "result"),
)
EXPLANATIONS = Counter(
    "serving_explanations_total",
    "Rows whose predictions were explained, by the way in which; not those kept from before.",
    (*MODEL_LABELS, "method"),
)
EXPLANATION_DURATION = Histogram(
    "serving_explanation_duration_seconds",
    "Time from a row's turn to its explanation.",
    MODEL_LABELS,
    buckets=_SECONDS,
)
LIMITED = Counter(
    "serving_limited_requests_total",
    "Requests refused for a used-up quota, by the name of the client's key.",
    ("api_key",),
)
QUOTA_STORAGE_UP = Gauge(
    "serving_quota_storage_up",
    "1 while requests are counted in the storage that is set, 0 while each worker counts alone.",
    multiprocess_mode="livemin",
)
QUOTA_STORAGE_UP.set(1)  # of all workers the least is told, and one that still loads knows no other
PREDICTIONS_LOGGED = Counter(
    "serving_prediction_log_total",
    "Predictions for the prediction log: written, or lost for want of room or of a disk.",
    ("result",),
)
WAITING = Gauge(
    "serving_waiting_rows", "Rows waiting for the model.", MODEL_LABELS, multiprocess_mode="livesum"
)
MODEL_INFO = Gauge(
    "serving_model_info",
    "1 for each model that is served.",
    ("name", "version", "task"),
    multiprocess_mode="livemax",
)
FEATURE_VALUES = Counter(
    "serving_feature_values_total",
    "Values of features answered for, by the bins in which training counted its own.",
    (*MODEL_LABELS, "feature", "bin"),
)
FEATURE_REFERENCE_RATIO = Constant(
    "serving_feature_reference_ratio",
    "Share of training's values of a feature in a bin.",
    (*MODEL_LABELS, "feature", "bin"),
)
FEATURE_REFERENCE_ROWS = Constant(
    "serving_feature_reference_rows",
    "Values of a feature in training.",
    (*MODEL_LABELS, "feature"),
)
FEATURE_REFERENCE_CHI2 = Constant(
    "serving_feature_reference_chi2",
    "Chi-squared value that the bins of an unchanged feature exceed by chance, over all features "
    "in one of 1000 windows.",
    (*MODEL_LABELS, "feature"),
)
PREDICTION_VALUES = Counter(
    "serving_prediction_values_total",
    "Predictions for a target, by the bins of those for rows held out from training.",
    (*MODEL_LABELS, "target", "bin"),
)
PREDICTION_REFERENCE_RATIO = Constant(
    "serving_prediction_reference_ratio",
    "Share of the predictions for rows held out from training in a bin.",
    (*MODEL_LABELS, "target", "bin"),
)
PREDICTION_REFERENCE_ROWS = Constant(
    "serving_prediction_reference_rows",
    "Predictions for rows held out from training.",
    (*MODEL_LABELS, "target"),
)
PREDICTION_REFERENCE_CHI2 = Constant(
    "serving_prediction_reference_chi2",
    "Chi-squared value that the bins of unchanged predictions exceed by chance.",
    (*MODEL_LABELS, "target"),
)
CONFIDENCE = Counter(
    "serving_confidence_total",
    "Largest probabilities of predictions, by the bins of those for rows held out from training.",
    (*MODEL_LABELS, "target", "bin"),
)
CONFIDENCE_REFERENCE_RATIO = Constant(
    "serving_confidence_reference_ratio",
    "Share of the largest probabilities for rows held out from training in a bin.",
    (*MODEL_LABELS, "target", "bin"),
)
CONFIDENCE_REFERENCE_ROWS = Constant(
    "serving_confidence_reference_rows",
    "Largest probabilities for rows held out from training.",
    (*MODEL_LABELS, "target"),
)
CONFIDENCE_REFERENCE_CHI2 = Constant(
    "serving_confidence_reference_chi2",
    "Chi-squared value that the bins of unchanged largest probabilities exceed by chance.",
    (*MODEL_LABELS, "target"),
)
DRIFT_SHARE_CHI2 = Constant(
    "serving_drift_share_chi2",
    "Chi-squared value that an unchanged share of a feature's values exceeds by chance, over all "
    "features in one of 1000 windows.",
    MODEL_LABELS,
)
SHADOW_RESULTS = ("same", "different", "failed", "dropped")
SHADOW_ROWS = Counter(
    "serving_shadow_rows_total",
    "Rows that a shadow was to answer as well: same, different, failed, or dropped for want of "
    "room.",
    (*MODEL_LABELS, "shadow", "result"),
)
SHADOW_DIFFERENCE = Histogram(
    "serving_shadow_difference",
    "By how much a shadow's numbers differ from those that were answered: the largest of a row's "
    "probabilities or scores, or of numbers relative to them.",
    (*MODEL_LABELS, "shadow"),
    buckets=DIFFERENCES,
)
SHADOW_LABELS = Counter(
    "serving_shadow_labels_total",
    f"Labels that were answered, with those of the shadow; pairs beyond the first "
    f"{MAX_NAMED_SERIES} as one.",
    (*MODEL_LABELS, "shadow", "served", "shadowed"),
)
SHADOW_DURATION = Histogram(
    "serving_shadow_duration_seconds",
    "Time that a shadow takes for a row, of up to 100 that it is asked at once.",
    (*MODEL_LABELS, "shadow"),
    buckets=ROW_SECONDS,
)


class ModelMetrics:
    """What is counted of one model in one worker process, with its labels bound once."""

    def __init__(self, labels: Mapping[str, str], common: Mapping[str, str], index: int) -> None:
        """Take `MODEL_LABELS`, `SERVICE_LABELS`, and the worker's index."""
        self._batch_size = BATCH_SIZE.labels(
            method_name="predict", worker_index=index, **common, **labels
        )
        self._waiting = WAITING.labels(**labels)
        self._lookups = cache(lambda lookup: CACHE_LOOKUPS.labels(result=lookup, **labels))
        self._explanations = cache(lambda method: EXPLANATIONS.labels(method=method, **labels))
        self._explanation_duration = EXPLANATION_DURATION.labels(**labels)
        self.by_class = _Named(PREDICTIONS, "class", labels)
        self.by_feature = _Named(UNUSUAL, "feature", labels)

    def batch_started(self, rows: int, waiting: int) -> None:
        """Count the rows that go into the model together, and those that still wait."""
        if rows:
            self._batch_size.observe(rows)
        self._waiting.set(waiting)

    def looked_up(self, lookup: str) -> None:
        """Count a look into the cache."""
        self._lookups(lookup).inc()

    def explained(self, method: str, duration_s: float) -> None:
        """Count an explanation."""
        self._explanations(method).inc()
        self._explanation_duration.observe(duration_s)


class Metrics(Listener):
    """The metrics of the service in one worker process, with its labels bound once."""

    def __init__(self, common: Mapping[str, str], worker_index: int) -> None:
        """Take the labels by which BentoML tells services apart: `SERVICE_LABELS`."""
        # A label lookup costs more than the count itself; routes, statuses and models are few.
        self._in_progress = cache(lambda route: IN_PROGRESS.labels(endpoint=route, **common))
        self._answered = cache(
            lambda route, status, model: _request_series(
                {"endpoint": route, "http_response_code": status, **common, **_labels_of(model)}
            )
        )
        self._models = cache(lambda model: ModelMetrics(_labels_of(model), common, worker_index))

    def of(self, model: Any) -> ModelMetrics:  # noqa: ANN401 (see `Predicted`)
        """Give the metrics of a model."""
        return self._models(model)

    def serves(self, name: str, version: str, task: str) -> None:
        """Tell which model is served."""
        MODEL_INFO.labels(name, version, task).set(1)

    def started(self, route: str) -> None:
        """Count a request under way."""
        self._in_progress(route).inc()

    def answered(self, event: Answered) -> None:
        """Count it as answered."""
        self._in_progress(event.route).dec()
        total, duration = self._answered(event.route, event.status, event.model)
        total.inc()
        duration.observe(event.duration_s)
        if event.problem is not None:
            ERRORS.labels(type=event.problem, **_labels_of(event.model)).inc()
        for feature, count in event.unusual.items():
            self._models(event.model).by_feature.count(feature, count)

    def predicted(self, event: Predicted) -> None:
        """Count predictions by their label."""
        by_class = self._models(event.about).by_class
        for key, count in event.about.counted(event.predictions).items():
            by_class.count(key, count)


def _request_series(labels: Mapping[str, str]) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(**labels), DURATION.labels(**labels)


def _labels_of(model: Any) -> dict[str, str]:  # noqa: ANN401
    """Give the labels of a model, or of none."""
    return {
        "model_name": "" if model is None else model.name,
        "version": "" if model is None else model.version,
    }


class _Named:
    """A counter with one label whose values come from a model: at most so many become series."""

    def __init__(self, counter: Counter, label: str, others: Mapping[str, str]) -> None:
        self._counter = counter
        self._label = label
        self._others = others
        self._series: dict[str, Counter] = {}

    def count(self, name: str, count: int) -> None:
        if name not in self._series and len(self._series) >= MAX_NAMED_SERIES:
            name = OTHERS
        if name not in self._series:
            self._series[name] = self._counter.labels(**self._others, **{self._label: name})
        self._series[name].inc(count)
