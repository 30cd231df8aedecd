"""The service: settings to parts to routes. Start reading here.

``bentoml serve`` imports this module in its own process and in each worker process.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import bentoml
import orjson

from serving.dialects import invocations, ours, v1, v2, vertex
from serving.dialects.dialect import Dialect, spoken
from serving.door.auth import Keyring
from serving.door.drift import drift_routes
from serving.door.edge import Edge
from serving.door.models import models
from serving.door.naming import misnamed
from serving.door.openapi import openapi_document
from serving.door.pages import Document, assets, metrics_page, pages
from serving.door.predicting import Predicting
from serving.door.probes import probes
from serving.door.quotas import Quotas
from serving.door.routes import Route, Routes, overridden
from serving.door.telling import telling
from serving.door.trying import try_page
from serving.host.bento import (
    STATIC,
    BatchInput,
    BatchOutput,
    InstanceInput,
    InstanceOutput,
    ModelService,
    check_start,
    pack_models,
    packed_models,
    prepare_bentoml,
    service_metrics,
)
from serving.host.life import Life
from serving.host.logs import configure_logging
from serving.host.process import pinned_models, prepare_environment
from serving.host.shadowed import shadows
from serving.host.wanted import wanted
from serving.model.features import Row
from serving.model.outputs import Prediction
from serving.model.store import ServedModel
from serving.model.stored import ModelError, verify
from serving.prediction.drift import Drift
from serving.prediction.loaded import Loaded
from serving.prediction.log import PredictionLog
from serving.prediction.shelf import Shelf
from serving.prediction.sinks import sink_to
from serving.problems import JSON_MEDIA_TYPE
from serving.settings import Settings, load_settings
from serving.telemetry import Listeners, LogLine

# What is spoken beside this service's own, by the names in SERVING_DIALECTS. Of two at one path the
# later is heard: Vertex AI's paths are the platform's.
DIALECTS: dict[str, Callable[[Settings], Dialect]] = {
    "v2": v2.dialect,
    "v1": v1.dialect,
    "invocations": invocations.dialect,
    "vertex": vertex.dialect,
}


def read_settings() -> tuple[Settings, tuple[Dialect, ...]]:
    """Read the settings, and make of them what is spoken, or end the process with what is wrong."""
    settings = load_settings()
    return settings, tuple(spoken(settings, DIALECTS))


settings, dialects = read_settings()
configure_logging(settings.log_level, settings.log_format)
prepare_environment(settings, Path(__file__).with_name("configuration.yaml"))
prepare_bentoml(
    settings, lambda served: wanted(read_settings()[0], packed_models(ModelApi), served)
)


@bentoml.service(name="ModelApi", service_class=ModelService)
class ModelApi:
    """Serves scikit-learn models over HTTP."""

    @bentoml.on_deployment
    @staticmethod
    def check() -> None:
        """Refuse before workers start."""
        check_start(settings, ModelApi)

    def __init__(self) -> None:
        """Load the models, and build all that is fixed from then on."""
        self.life = Life(settings)
        self.life.take_signals()
        metrics = service_metrics()
        sink = sink_to(settings.prediction_log)
        self.prediction_log = PredictionLog(sink) if sink else None
        self.drift = Drift(settings.drift_features if settings.drift else 0)
        self.shadows = shadows(settings)
        log = filter(None, (self.prediction_log,))
        heard = Listeners((metrics, self.drift, self.shadows, *log))
        tags = pinned_models() or wanted(settings, packed_models(ModelApi)).models
        try:
            stored = [verify(ServedModel(tag).resolve()) for tag in tags]
            self.shelf = Shelf([Loaded(each, settings, metrics, heard) for each in stored])
        except ModelError as exc:
            self.life.refuse(str(exc))
        paths = chain.from_iterable(dialect.paths for dialect in dialects)
        if reason := misnamed(paths, self.shelf):
            self.life.refuse(reason)
        for loaded in self.shelf.all:
            self.drift.watch(loaded.about)
            self.shadows.watch(loaded)
        abouts = [loaded.about for loaded in self.shelf.all]
        self.quotas = Quotas(settings.rate_limit, settings.rate_limit_storage.get_secret_value())
        routes = Routes(self.routes())
        document = openapi_document(
            routes,
            abouts,
            asks_for_keys=bool(settings.clients),
            has_quotas=settings.limits_clients,
        )
        self.openapi = Document(orjson.dumps(document), JSON_MEDIA_TYPE)
        self.edge = Edge(
            routes,
            Keyring(settings.clients) if settings.clients else None,
            self.quotas,
            Listeners((LogLine(abouts[0]), metrics)),
            settings.request_timeout_s,
            settings.cors_origins,
        )

    def routes(self) -> list[Route]:
        """Give all that is served: this service's own, and over it what each dialect has."""
        predicting = Predicting(self.shelf, settings.max_body_bytes)
        own = chain(predicting.routes(ours.DIALECT), self.beside())
        spoken = [
            chain(
                predicting.routes(dialect),
                telling(dialect, self.shelf, self.unready),
            )
            for dialect in dialects
        ]
        return overridden(own, *spoken)

    def beside(self) -> Iterator[Route]:
        """Give what is served beside predictions."""
        alive = next((dialect.alive for dialect in dialects if dialect.alive), None)
        schema = ModelApi.schema()  # type: ignore[attr-defined]
        yield from models(self.shelf)
        yield from pages(lambda: self.openapi, schema, alive)
        if settings.try_page:
            yield from try_page()
        yield from drift_routes(self.drift, self.shelf)
        yield from probes(self.unready, self.shelf.default.about)
        yield metrics_page(is_open=not settings.metrics_need_key)
        yield from assets(STATIC)

    def unready(self, loaded: Loaded | None = None) -> str | None:
        """Tell why clients of a model, or of any, should ask another server."""
        if loaded is None:
            return self.life.unready
        return self.life.unready_with(loaded.batcher.running_s)

    async def open(self) -> None:
        """Find out whether Redis is away, if it is needed."""
        if settings.limits_clients:
            await self.quotas.open()

    async def close(self) -> None:
        """Let the threads end: the models', and those of who listens when all is written."""
        self.shelf.close()
        self.shadows.close()
        self.drift.close()
        if self.prediction_log is not None:
            self.prediction_log.close()
        await self.quotas.close()

    @bentoml.api(batchable=True, input_spec=InstanceInput, output_spec=InstanceOutput)
    def predict(self, rows: list[Row]) -> list[Prediction | None]:
        """Predict one instance; concurrent calls meet here as one list of rows."""
        return self.shelf.default.compute(rows)

    @bentoml.api(route="/predict/batch", input_spec=BatchInput, output_spec=BatchOutput)
    def predict_batch(self, rows: list[Row]) -> list[Prediction | None]:
        """Predict many instances, on the same way as single ones."""
        return self.shelf.default.compute(rows)


pack_models(ModelApi, settings)
