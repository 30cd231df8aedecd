"""The seam to BentoML: all that leans on how BentoML 1.4 works inside stands here.

BentoML keeps what it is good at: declared APIs, the model store, bentos, workers, the client. The
answers are ours: the one joint is `ModelService.to_asgi`. What is reached for beside that has a
test in ``tests/unit/host/test_bento.py`` that fails when an upgrade moves it.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import bentoml
from bentoml import server_context
from bentoml._internal.configuration import containers
from bentoml._internal.utils.analytics import usage_stats
from starlette.types import ASGIApp

from serving.door.windows import check as check_storage
from serving.host.application import Application
from serving.host.process import letters_folder, make_folder, make_letters_folder, pin_models
from serving.host.protocol import install_protocol
from serving.host.supervisor import install_workers
from serving.host.wanted import Wanted, wanted
from serving.metrics import Metrics
from serving.model.state import leaves_open, read_state
from serving.model.store import ServedModel
from serving.model.stored import check_needs, compiled_form, verify
from serving.prediction.sinks import check as check_prediction_log
from serving.settings import Settings, name_of, unknown_variables
from serving.telemetry import log

_BENTOML = containers.BentoMLContainer
# Swagger UI, as BentoML ships it.
STATIC = Path(containers.__file__).parents[1] / "server" / "static_content"


class ModelService(bentoml.Service):
    """A BentoML service whose every answer goes through the edge."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """Build the application for a worker process."""
        self.inject_config()
        application = Application(self)
        if _BENTOML.tracing.exporter_type.get() is None:
            return application
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

        return OpenTelemetryMiddleware(
            application,
            excluded_urls=_BENTOML.tracing_excluded_urls.get(),
            tracer_provider=_BENTOML.tracer_provider.get(),
        )


class NamedModel(ServedModel):
    """A model as settings name it: which version that is, is found when it is packed."""

    def __init__(self, name: str, state_file: Path) -> None:
        """Take the name, which may be an alias; nothing is looked for yet."""
        self.__dict__.update(name=name, state_file=state_file)  # BentoML has frozen the class

    @property
    def tag(self) -> bentoml.Tag:
        """The exact version: one that is named is packed, whatever was promoted over it.

        Raises:
            ModelError: there is no such model, or no such alias.
            StateError: the desired state can't be read.
        """
        name = self.__dict__["name"]
        version = name.partition(":")[2]
        if leaves_open(name):
            version = read_state(self.__dict__["state_file"]).version_of(name)
        return bentoml.Tag(name_of(name), version)


class InstanceInput(bentoml.IODescriptor):
    """The body of ``POST /predict``, for BentoML's client."""

    data: Any


class BatchInput(bentoml.IODescriptor):
    """The body of ``POST /predict/batch``."""

    data: list[Any]


class InstanceOutput(bentoml.IODescriptor):
    """The answer to ``POST /predict``."""

    prediction: Any
    probabilities: Any = None
    scores: Any = None
    score: float | None = None
    warnings: list[dict[str, str]] | None = None
    model: dict[str, str]
    request_id: str


class BatchOutput(bentoml.IODescriptor):
    """The answer to ``POST /predict/batch``."""

    predictions: list[Any]
    warnings: list[dict[str, str]] | None = None
    model: dict[str, str]
    request_id: str


def prepare_bentoml(settings: Settings, look: Callable[[Mapping[str, str]], Wanted]) -> None:
    """Set in BentoML what no setting of its own reaches; to be called while a service is imported.

    ``look`` tells what is wanted later, given what is served: see `wanted`.
    It reports usage unless told otherwise before its command line starts, and keeps the metrics of
    all servers of a model store in one folder, which each empties when it starts.
    """
    usage_stats.do_not_track.cache_clear()
    install_protocol(settings.request_timeout_s)
    install_workers(settings.drain_delay_s, settings.drain_timeout_s, look)
    if settings.platform_port is not None:
        install_port(settings.platform_port)
    if letters_folder() is None:  # in a worker it is there
        # Whatever PROMETHEUS_MULTIPROC_DIR this process has got: BentoML gives workers its own.
        _BENTOML.prometheus_multiproc_dir.set(make_folder("metrics"))
        make_letters_folder()


def install_port(port: int) -> None:
    """Let BentoML listen on this port alone, as a platform asks on no other.

    Its command line, which may have got another one, has read its options before it imports the
    service: the server's start is the last place where the port can be changed.
    """
    from _bentoml_impl import server  # where one of these is set, and nowhere else

    start = server.serving.serve_http

    @wraps(start)
    def serve_http(*args: Any, **options: Any) -> Any:  # noqa: ANN401 (BentoML's own)
        return start(*args, **options | {"port": port})

    server.serve_http = server.serving.serve_http = serve_http


def check_start(settings: Settings, service: bentoml.Service[Any]) -> None:
    """Choose the model's version for all workers, and refuse to start if it can't be served.

    Whether it can be loaded a worker finds out: here that would double the time of a start.

    Raises:
        SystemExit: a setting can't be kept.
        ModelError: the model can't be served.
    """
    for name in unknown_variables():
        log.warning("settings.unknown", variable=name)
    if not settings.clients:
        log.warning("keys.none", meaning="all who can connect may ask")
    if worker_count(service) > 1 and settings.counts_alone:
        raise SystemExit(
            "SERVING_RATE_LIMIT_STORAGE: with memory:// each worker would count for itself; "
            "serve with one worker, name a Redis (redis://HOST:PORT), or set "
            "SERVING_RATE_LIMIT=off"
        )
    check_storage(settings.rate_limit_storage.get_secret_value())
    check_prediction_log(settings.prediction_log)
    models = wanted(settings, packed_models(service)).models
    verified = [verify(ServedModel(tag).resolve(), installed=False) for tag in models]
    check_needs(verified)
    for model in verified:
        compiled_form(model, settings.runtime)
    pin_models(models)


def pack_models(service: bentoml.Service[Any], settings: Settings) -> None:
    """Tell BentoML which models to pack into a bento of a service, in their order."""
    service.models.extend(NamedModel(tag, settings.state_path) for tag in settings.tags)


def packed_models(service: bentoml.Service[Any]) -> tuple[str, ...]:
    """Tell which models were packed into the bento that is served; none where no bento is."""
    bento = service.bento
    return () if bento is None else tuple(str(model.tag) for model in bento.info.all_models)


def worker_count(service: bentoml.Service[Any]) -> int:
    """Tell how many worker processes BentoML starts for a service."""
    from _bentoml_impl.server.allocator import ResourceAllocator  # which no worker needs

    count, _ = ResourceAllocator().get_worker_env(service)
    return count  # type: ignore[no-any-return]


def service_metrics() -> Metrics:
    """Give this worker's metrics, labelled as BentoML names the bento and the worker."""
    return Metrics(
        {
            "service_name": server_context.bento_name,
            "service_version": server_context.bento_version,
            "runner_name": server_context.service_name or server_context.bento_name,
        },
        worker_index=server_context.worker_index or 0,
    )
