"""The service: its settings, its model, and its routes. Start reading here.

``bentoml serve`` imports this module in its own process and in each worker process.
"""

from pathlib import Path

import bentoml
import orjson
from starlette.requests import Request
from starlette.responses import Response

from serving.dialects.ours import AnswerWriter, Prediction
from serving.door.openapi import openapi_document
from serving.door.pages import Document, docs_page, docs_script, page, problem_page
from serving.door.quotas import check as check_storage
from serving.host.bento import (
    BatchInput,
    BatchOutput,
    InstanceInput,
    InstanceOutput,
    ModelService,
    get,
    packed_model,
    prepare_bentoml,
    service_metrics,
    worker_count,
)
from serving.host.workers import Life, refuse
from serving.metrics import MODEL_INFO, tell_lost_metrics
from serving.model.rows import RequestSchema
from serving.model.store import ModelError, ServedModel, compiled_form, load, model_info, verify
from serving.model.values import Row
from serving.prediction.batching import Batcher
from serving.prediction.cache import PredictionCache
from serving.prediction.lanes import Again
from serving.prediction.log import PredictionLog
from serving.prediction.log import check as check_prediction_log
from serving.prediction.predictor import Predictor
from serving.problems import JSON_MEDIA_TYPE, NOT_FOUND, PROBLEM_TYPES, UNAVAILABLE, Problem
from serving.settings import (
    LogFormat,
    load_settings,
    pin_model,
    prepare_process,
    unknown_variables,
)
from serving.telemetry import configure_logging, log

settings = load_settings()
configure_logging(settings.log_level, as_json=settings.log_format is LogFormat.JSON)
tell_lost_metrics()
prepare_process(settings, Path(__file__).with_name("configuration.yaml"))
prepare_bentoml(settings)


@bentoml.service(name="ModelApi", service_class=ModelService)
class ModelApi:
    """Serves a scikit-learn model over HTTP."""

    settings = settings
    stored = ServedModel(settings.model)

    @bentoml.on_deployment
    @staticmethod
    def check() -> None:
        """Choose the model's version for all workers, and refuse to start if it can't be served.

        Whether it can be loaded a worker finds out: here that would double the time of a start.
        """
        for name in unknown_variables():
            log.warning("settings.unknown", variable=name)
        if not settings.clients:
            log.warning("keys.none", meaning="all who can connect may ask")
        if worker_count(ModelApi) > 1 and settings.counts_alone:
            raise SystemExit(
                "SERVING_RATE_LIMIT_STORAGE: with memory:// each worker would count for itself; "
                "serve with one worker, name a Redis (redis://HOST:PORT), or set "
                "SERVING_RATE_LIMIT=off"
            )
        check_storage(settings.rate_limit_storage.get_secret_value())
        check_prediction_log(settings.prediction_log)
        named = "model" in settings.model_fields_set
        tag = settings.model if named else packed_model(ModelApi) or settings.model
        verified = verify(ServedModel(tag).resolve())
        compiled_form(verified, settings.runtime)
        pin_model(str(verified.tag))

    def __init__(self) -> None:
        """Load the model, and build all that is fixed from then on."""
        try:
            verified = verify(self.stored)
            model = load(verified, settings.runtime)
        except ModelError as exc:
            refuse(str(exc))
        description = model.description
        self.version = str(verified.tag.version)
        self.schema = RequestSchema(
            description.features, settings.max_batch_rows, description.ignored
        )
        self.answers = AnswerWriter(description, self.version)
        example_answer = self.answers.document(model.warm_up())
        openapi = openapi_document(description, self.version, settings, example_answer)
        self.openapi = Document(orjson.dumps(openapi), JSON_MEDIA_TYPE)
        info = model_info(verified, settings.runtime)
        self.info = Document(orjson.dumps(info), JSON_MEDIA_TYPE)
        self.card = page(verified.card)
        self.health_answer = orjson.dumps(
            {"status": "ok", "model": {"name": description.name, "version": self.version}}
        )
        MODEL_INFO.labels(description.name, self.version, description.task).set(1)
        self.predict = self.predict  # BentoML builds a wrapper at each access of an API
        self.batcher = Batcher(
            self.predict,
            service_metrics().batch_started,
            max_items=settings.max_batch_rows,
            max_waiting_items=settings.max_queue_rows,
            patience_s=settings.request_timeout_s,
        )
        self.prediction_log = PredictionLog(
            settings.prediction_log,
            settings.prediction_log_rows,
            features=[feature.name for feature in description.features],
            model={"name": description.name, "version": self.version},
            describe=self.answers.document,
        )
        cache = PredictionCache(settings.cache_entries, settings.cache_ttl_s)
        self.predictor = Predictor(
            model,
            self.batcher,
            service_metrics(),
            cache if settings.keeps_predictions else None,
            self.prediction_log,
        )
        self.life = Life(settings, lambda: self.batcher.running_s)
        log.info(
            "model.loaded",
            model=str(verified.tag),
            runtime=model.runtime,
            size_bytes=verified.size_bytes,
        )

    @bentoml.api(batchable=True, input_spec=InstanceInput, output_spec=InstanceOutput)
    def predict(self, rows: list[Row]) -> list[Prediction | Again]:
        """Predict one instance; concurrent calls meet here as one list of rows."""
        return self.predictor.compute(rows)

    @bentoml.api(route="/predict/batch", input_spec=BatchInput, output_spec=BatchOutput)
    async def predict_batch(self, rows: list[Row]) -> list[Prediction]:
        """Predict many instances, on the same way as single ones."""
        return await self.predictor.many(rows)

    @get("/model/info")
    async def model_info(self, request: Request) -> Response:
        """Tell what the model is."""
        return self.info.answer(request)

    @get("/model/card")
    async def model_card(self, request: Request) -> Response:
        """Show people what the model is."""
        return self.card.answer(request)

    @get("/health")
    async def health(self, _: Request) -> Response:
        """Tell whether the model answers. No worker listens before it has, once."""
        if reason := self.life.unready:
            raise Problem(UNAVAILABLE, reason)
        return Response(self.health_answer, media_type=JSON_MEDIA_TYPE)

    async def __is_ready__(self) -> bool:
        """Answer ``/readyz``, for BentoML, as ``/health`` is answered."""
        return not self.life.unready

    @get("/errors/{slug}")
    async def problem_type(self, request: Request) -> Response:
        """Explain a problem type."""
        kind = PROBLEM_TYPES.get(request.path_params["slug"])
        if kind is None:
            raise Problem(NOT_FOUND, "there is no such problem type")
        return page(problem_page(kind)).answer(request)

    @get("/docs.json")
    async def openapi_json(self, request: Request) -> Response:
        """Give the OpenAPI document."""
        return self.openapi.answer(request)

    @get("/")
    async def docs(self, request: Request) -> Response:
        """Show the OpenAPI document."""
        return page(docs_page()).answer(request)

    @get("/docs.js")
    async def docs_js(self, _: Request) -> Response:
        """Give the script of that page."""
        return Response(docs_script(), media_type="text/javascript")

    @bentoml.on_shutdown
    def close(self) -> None:
        """Let the threads end: the model's, and that of the prediction log when it is written."""
        self.life.end()
        self.batcher.close()
        self.prediction_log.close()
