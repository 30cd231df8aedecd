"""The seam to BentoML: all that leans on how BentoML 1.4 works inside stands here.

BentoML keeps what it is good at: declared APIs, the model store, bentos, workers, the client. What
stands between it and the contract is replaced at its own joints: its middlewares (the edge does
their work), its translation of exceptions, and the dispatcher behind ``batchable``. Each joint has
a test in ``tests/unit/host/test_bento.py`` that fails when an upgrade moves it.
"""

import atexit
import gc
import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache, partial
from http import HTTPStatus
from typing import Any, ClassVar, Protocol, TypeVar

import bentoml
from _bentoml_impl.server.allocator import ResourceAllocator
from _bentoml_impl.server.app import ContextMiddleware, ServiceAppFactory
from bentoml import get_current_service  # bound once: bentoml's own attributes are lazy
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.context import server_context
from bentoml._internal.utils.analytics import usage_stats
from bentoml.exceptions import BentoMLException
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import Receive, Scope, Send

from serving.dialects.ours import AnswerWriter, Prediction
from serving.door.auth import Keyring
from serving.door.bodies import read_json_body
from serving.door.edge import Edge, RouteTable
from serving.door.quotas import Quotas
from serving.host.protocol import install_protocol
from serving.host.workers import Life, install_workers
from serving.metrics import ServiceMetrics, forget_dead_workers, make_metrics_folder
from serving.model.rows import Instances, RequestSchema
from serving.model.values import Row
from serving.prediction.predictor import EstimatorError, Predictor
from serving.problems import INVALID_INPUT, JSON_MEDIA_TYPE, Problem, from_status
from serving.settings import Settings, metrics_folder
from serving.telemetry import PrintsAsLog, current_record

YOUNG_OBJECTS = 10_000  # looked at together: a millisecond's work, and many requests' objects

Handler = TypeVar("Handler", bound=Callable[..., Any])


class Served(Protocol):
    """What the seam needs of the service's instance, which ``get_current_service`` gives."""

    settings: Settings
    schema: RequestSchema
    answers: AnswerWriter
    predictor: Predictor
    life: Life
    version: str


def get(path: str) -> Callable[[Handler], Handler]:
    """Declare a method of the service as the answer to GET: ``@bentoml.api`` knows POST alone."""

    def mark(method: Handler) -> Handler:
        method.__serving_path__ = path  # type: ignore[attr-defined]
        return method

    return mark


@dataclass(slots=True)
class Rows:
    """Validated rows, in the shape in which BentoML hands input to an API: by field."""

    model_fields: ClassVar[tuple[str, ...]] = ("rows",)
    rows: list[Row]


def _noted(instances: Instances) -> Rows:
    """Take the rows of a request, and note on its record what its answer and metrics tell."""
    record = current_record()
    record.rows = len(instances.rows)
    if instances.unusual is not None:
        record.unusual = instances.unusual.by_feature
        record.warnings = instances.unusual.warnings
    return Rows(instances.rows)


class InstanceInput(bentoml.IODescriptor):
    """The body of ``POST /predict``, for BentoML's client; requests are read by `RequestSchema`."""

    data: Any

    @classmethod
    async def from_http_request(cls, request: Request, serde: object) -> Rows:
        """Read and validate one instance."""
        served: Served = get_current_service()
        body = await read_json_body(request, served.settings.max_body_bytes)
        return _noted(served.schema.instance(body))


class BatchInput(bentoml.IODescriptor):
    """The body of ``POST /predict/batch``."""

    data: list[Any]

    @classmethod
    async def from_http_request(cls, request: Request, serde: object) -> Rows:
        """Read and validate many instances."""
        served: Served = get_current_service()
        body = await read_json_body(request, served.settings.max_body_bytes)
        return _noted(served.schema.batch(body))


class InstanceOutput(bentoml.IODescriptor):
    """The answer to ``POST /predict``."""

    prediction: Any
    probabilities: Any = None
    scores: Any = None
    score: float | None = None
    warnings: list[dict[str, str]] | None = None
    model: dict[str, str]
    request_id: str

    @classmethod
    async def to_http_response(cls, obj: list[Prediction], serde: object) -> Response:
        """Write the one prediction."""
        (prediction,) = obj
        record = current_record()
        answer = get_current_service().answers.instance(prediction, record.id, record.warnings)
        return Response(answer, media_type=JSON_MEDIA_TYPE)


class BatchOutput(bentoml.IODescriptor):
    """The answer to ``POST /predict/batch``."""

    predictions: list[Any]
    warnings: list[dict[str, str]] | None = None
    model: dict[str, str]
    request_id: str

    @classmethod
    async def to_http_response(cls, obj: list[Prediction], serde: object) -> Response:
        """Write the predictions, in order."""
        record = current_record()
        answer = get_current_service().answers.batch(obj, record.id, record.warnings)
        return Response(answer, media_type=JSON_MEDIA_TYPE)


class AppFactory(ServiceAppFactory):
    """Builds the ASGI application of a service, without the layers that the edge replaces."""

    @property
    def routes(self) -> list[BaseRoute]:
        """BentoML's own routes, the APIs first since they are sought most, and those of `get`."""
        methods = [
            (name, method.__serving_path__)
            for name, method in vars(self.service.inner).items()
            if hasattr(method, "__serving_path__")
        ]
        ours = [Route(path, partial(self._get, name)) for name, path in methods]
        return [*reversed(super().routes), *ours]

    async def _get(self, name: str, request: Request) -> Response:
        return await getattr(self._service_instance, name)(request)  # type: ignore[no-any-return]

    @property
    def middlewares(self) -> list[Middleware]:
        """Keep what an API that takes a ``bentoml.Context`` needs, and tracing if it is on."""
        kept = set()
        if any(method.ctx_param is not None for method in self.service.apis.values()):
            kept.add(ContextMiddleware)
        if BentoMLContainer.tracing.exporter_type.get() is not None:
            kept.add(OpenTelemetryMiddleware)
        return [layer for layer in super().middlewares if layer.cls in kept]

    async def api_endpoint_wrapper(self, name: str, request: Request) -> Response:
        """Let exceptions through to our handler; BentoML would log inputs and answer lists.

        A ``ValueError`` is how scikit-learn refuses input. Where values are unlike training's, it
        is they that the estimator can't compute with, and no defect.
        """
        try:
            return await self._answer(name, request)
        except EstimatorError as exc:
            unusual = current_record().warnings
            if not unusual or not isinstance(exc.__cause__, ValueError):
                raise
            detail = "the model can't compute with values unlike those of training"
            raise Problem(INVALID_INPUT, detail, errors=unusual) from exc
        except BentoMLException as exc:
            if exc.error_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            raise from_status(exc.error_code) from exc

    async def _answer(self, name: str, request: Request) -> Response:
        """Do for the batchable API what BentoML does for all, which takes it half as long again."""
        method = self.service.apis[name]
        if not method.batchable:
            return await self.api_endpoint(name, request)  # type: ignore[no-any-return]
        given = await method.input_spec.from_http_request(request, None)
        predictions = await self.batch_infer(name, (given.rows,), {})
        return await method.output_spec.to_http_response(predictions, None)  # type: ignore[no-any-return]

    async def batch_infer(
        self, name: str, input_args: tuple[Any, ...], input_kwargs: dict[str, Any]
    ) -> list[Prediction]:
        """Send the row of the batchable API to our batcher, in place of BentoML's dispatcher."""
        ((row,),) = (*input_args, *input_kwargs.values())
        served: Served = self._service_instance
        return [await served.predictor.one(row)]

    async def create_instance(self, app: Any) -> None:  # noqa: ANN401 (BentoML's own)
        """Load the model, then leave all that lives by now out of garbage collection.

        A full collection over all imported modules takes 100 to 200 ms, the worst case of a request
        that it falls on. None runs before either: they would be a sixth of the time that a start
        takes, for a megabyte of garbage, which stays. Those of young objects would come by the
        hundred; as many belong to requests under way, and are looked at in vain.
        """
        gc.disable()
        sys.stdout = PrintsAsLog()
        if (folder := metrics_folder()) is not None:
            forget_dead_workers(folder)
        await super().create_instance(app)
        self.edge.model_version = self._service_instance.version
        if self.service.inner.settings.limits_clients:
            await self.quotas.open()
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS)
        gc.enable()
        self._service_instance.life.begin(partial(setattr, self.edge, "draining", True))

    async def destroy_instance(self, app: Any) -> None:  # noqa: ANN401 (BentoML's own)
        """Let go of what the service and its quotas hold."""
        await super().destroy_instance(app)
        await self.quotas.close()

    def __call__(self) -> Edge:
        """Build the application with the edge around it."""
        app = super().__call__()
        app.debug = False  # with BENTOML_DEBUG, Starlette would show clients the stack trace
        app.router.redirect_slashes = False  # to an address that the client's Host header names
        # Without Starlette's layers for exceptions, which the edge answers; each route has one too.
        for route in app.routes:
            if isinstance(route, Route):
                route.app = partial(_respond, route.endpoint)
        app.middleware_stack = _Routes(app.router)
        for layer, args, kwargs in reversed(app.user_middleware):
            app.middleware_stack = layer(app.middleware_stack, *args, **kwargs)
        settings: Settings = self.service.inner.settings
        storage = settings.rate_limit_storage.get_secret_value()
        self.quotas = Quotas(settings.rate_limit, storage)
        self.edge = Edge(
            app,
            RouteTable(app.routes),
            service_metrics(),
            settings,
            Keyring(settings.clients),
            self.quotas,
        )
        return self.edge


class _Routes:
    """Looks a path up, where Starlette tries one route's pattern after another.

    Patterns, mounts, and what is no HTTP are left to Starlette's router.
    """

    def __init__(self, router: Router) -> None:
        self._router = router
        self._exact = {  # of several with a path, the router takes the first
            route.path: route
            for route in reversed(router.routes)
            if isinstance(route, Route) and not route.param_convertors
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._exact.get(scope["path"]) if scope["type"] == "http" else None
        await (self._router if route is None else route.handle)(scope, receive, send)


async def _respond(
    endpoint: Callable[[Request], Awaitable[Response]], scope: Scope, receive: Receive, send: Send
) -> None:
    response = await endpoint(Request(scope, receive, send))
    await response(scope, receive, send)


class ModelService(bentoml.Service):
    """A BentoML service whose every answer goes through the edge."""

    def to_asgi(self, is_main: bool = True) -> Edge:
        """Build the application for a worker process."""
        self.inject_config()
        return AppFactory(self, is_main=is_main)()


def packed_model(service: bentoml.Service[Any]) -> str | None:
    """Tell which model was packed into the bento that is served; none where no bento is."""
    bento = service.bento
    return None if bento is None else str(bento.info.all_models[0].tag)


def worker_count(service: bentoml.Service[Any]) -> int:
    """Tell how many worker processes BentoML starts for a service."""
    count, _ = ResourceAllocator().get_worker_env(service)
    return count  # type: ignore[no-any-return]


@cache
def service_metrics() -> ServiceMetrics:
    """Give this worker's metrics, labelled as BentoML names the bento and the worker."""
    return ServiceMetrics(
        {
            "service_name": server_context.bento_name,
            "service_version": server_context.bento_version,
            "runner_name": server_context.service_name or server_context.bento_name,
        },
        worker_index=server_context.worker_index or 0,
    )


def prepare_bentoml(settings: Settings) -> None:
    """Set in BentoML what no setting of its own reaches; to be called while a service is imported.

    It reports usage unless told otherwise before its command line starts, and keeps the metrics of
    all servers of a model store in one folder, which each empties when it starts.
    """
    usage_stats.do_not_track.cache_clear()
    install_protocol(settings.request_timeout_s, settings.max_head_bytes)
    install_workers(settings.drain_delay_s, settings.drain_timeout_s)
    if metrics_folder() is None:  # in a worker it is there
        folder = make_metrics_folder()
        BentoMLContainer.prometheus_multiproc_dir.set(folder)
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
