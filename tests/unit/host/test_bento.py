"""The joints of BentoML that the seam leans on: each fails here when an upgrade moves it."""

import asyncio
import gc
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import bentoml
import pytest
from _bentoml_impl.server.app import ContextMiddleware, ServiceAppFactory
from _bentoml_impl.server.serving import server_on_deployment
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.context import server_context
from bentoml._internal.utils.analytics import usage_stats
from bentoml.exceptions import BentoMLException
from bentoml.serving import ensure_prometheus_dir
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from serving.host.workers import Life
from starlette._utils import is_async_callable
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from serving.door.edge import Edge
from serving.host.bento import (
    YOUNG_OBJECTS,
    AppFactory,
    ModelService,
    get,
    prepare_bentoml,
    service_metrics,
)
from serving.settings import Settings
from tests.unit.fakes import Answer, ask, lifespan

ROOT = Path(__file__).parents[3]


def moved(joint: str) -> str:
    """Tell what to do when a canary has died."""
    version = bentoml.__version__
    return f"BentoML {version} has moved {joint}: mend serving/host/bento.py, then this test"


def parameters(function: Callable[..., object]) -> list[str]:
    """Give the names of a function's parameters."""
    return list(inspect.signature(function).parameters)


# A service as small as can be, behind the same seam


class Echo(bentoml.IODescriptor):
    """Hands on the body as it is."""

    data: Any

    @classmethod
    async def from_http_request(cls, request: Any, serde: object) -> Any:  # noqa: ANN401
        """Read the body."""
        return SimpleNamespace(model_fields=("rows",), rows=[(await request.body()).decode()])

    @classmethod
    async def to_http_response(cls, obj: Any, serde: object) -> Any:  # noqa: ANN401
        """Write what the API gave."""
        return PlainTextResponse(" ".join(obj))


class ShoutingPredictor:
    """Answers in capitals."""

    async def one(self, row: str) -> str:
        """Answer, or fail as BentoML may."""
        if row == "fail":
            raise BentoMLException("inside")
        return row.upper()


@bentoml.service(name="Small", service_class=ModelService)
class Small:
    """Has one API of each kind."""

    settings = Settings()
    checked: ClassVar[list[bool]] = []

    @bentoml.on_deployment
    @staticmethod
    def check() -> None:
        """Note that the deployment was checked."""
        Small.inner.checked.append(True)  # type: ignore[attr-defined]

    def __init__(self) -> None:
        """Be as the seam needs it."""
        self.version = "v7"
        self.predictor = ShoutingPredictor()
        self.life = Life(self.settings, lambda: 0.0)
        self.echo = self.echo

    @bentoml.api(batchable=True, input_spec=Echo, output_spec=Echo)
    def echo(self, rows: list[str]) -> list[str]:
        """Never run: the predictor answers."""
        raise AssertionError("BentoML called a batchable API itself")

    @bentoml.api(route="/plain", input_spec=Echo, output_spec=Echo)
    async def plain(self, rows: list[str]) -> list[str]:
        """Answer by itself."""
        return [*rows, type(self).__name__]

    @get("/marked")
    async def marked(self, request: Any) -> Any:  # noqa: ANN401
        """Answer to GET."""
        return PlainTextResponse(f"{request.method} {self.version}")


def talk(*requests: tuple[str, str, bytes]) -> list[Answer]:
    """Start the small service, send requests of method, path and body, and shut it down."""

    async def story() -> list[Answer]:
        app = Small.to_asgi()  # type: ignore[attr-defined]
        async with lifespan(app):
            assert app.model_version == "v7"
            return [
                await ask(app, path, method=method, body=body) for method, path, body in requests
            ]

    return asyncio.run(story())


def test_a_batchable_api_is_answered_by_our_predictor() -> None:
    (answer,) = talk(("POST", "/echo", b"hello"))
    assert (answer.status, answer.body) == (200, b"HELLO"), moved("batch_infer")


def test_an_api_that_is_not_batchable_is_called() -> None:
    (answer,) = talk(("POST", "/plain", b"hello"))
    assert (answer.status, answer.body) == (200, b"hello Small"), moved("api_endpoint")


def test_a_marked_method_answers_to_get_alone() -> None:
    good, bad = talk(("GET", "/marked", b""), ("POST", "/marked", b""))
    assert (good.status, good.body) == (200, b"GET v7"), moved("routes")
    assert bad.status == 405


def test_a_websocket_finds_no_route() -> None:
    sent: list[Any] = []

    async def receive() -> Any:  # noqa: ANN401 (never)
        raise AssertionError("nothing is read")

    async def send(message: Any) -> None:  # noqa: ANN401 (an ASGI message)
        sent.append(message["type"])

    scope = {"type": "websocket", "path": "/echo", "headers": []}
    asyncio.run(Small.to_asgi()(scope, receive, send))  # type: ignore[attr-defined]
    assert sent == ["websocket.close"]


def test_exceptions_come_through_to_our_handler() -> None:
    (answer,) = talk(("POST", "/echo", b"fail"))
    assert answer.headers["content-type"] == "application/problem+json", moved(
        "api_endpoint_wrapper"
    )
    assert answer.json()["type"] == "./errors/internal-error"
    assert b"inside" not in answer.body


def test_slashes_are_not_redirected_and_debug_pages_are_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BENTOML_DEBUG", "True")
    slash, crash = talk(("GET", "/marked/", b""), ("POST", "/echo", b"fail"))
    assert slash.status == 404, moved("the router")
    assert b"Traceback" not in crash.body


# What the factory overrides


@pytest.mark.parametrize("name", ["routes", "middlewares"])
def test_the_factory_s_properties_are_there_to_override(name: str) -> None:
    assert isinstance(getattr(ServiceAppFactory, name), property), moved(
        f"ServiceAppFactory.{name}"
    )


@pytest.mark.parametrize(
    "name", ["api_endpoint_wrapper", "batch_infer", "create_instance", "__call__"]
)
def test_the_factory_s_methods_are_called_as_ours_expect(name: str) -> None:
    theirs, ours = getattr(ServiceAppFactory, name), getattr(AppFactory, name)
    assert parameters(theirs) == parameters(ours), moved(f"ServiceAppFactory.{name}")
    assert inspect.iscoroutinefunction(theirs) == inspect.iscoroutinefunction(ours)


def test_the_factory_takes_the_service_and_answers_through_api_endpoint() -> None:
    assert parameters(ServiceAppFactory)[:2] == ["service", "is_main"], moved("ServiceAppFactory")
    assert parameters(ServiceAppFactory.api_endpoint) == ["self", "name", "request"], moved(
        "ServiceAppFactory.api_endpoint"
    )


def test_a_service_builds_its_application_in_to_asgi() -> None:
    theirs = parameters(bentoml.Service.to_asgi)
    assert theirs == parameters(ModelService.to_asgi), moved("Service.to_asgi")
    assert isinstance(Small.to_asgi(), Edge)  # type: ignore[attr-defined]


def test_the_factory_builds_starlette_with_the_layers_that_the_edge_replaces() -> None:
    Small.inject_config()  # type: ignore[attr-defined]
    theirs = ServiceAppFactory(Small)
    assert isinstance(theirs(), Starlette), moved("ServiceAppFactory.__call__")
    classes = [layer.cls for layer in theirs.middlewares]
    assert ContextMiddleware in classes, moved("ContextMiddleware")
    assert OpenTelemetryMiddleware in classes, moved("OpenTelemetryMiddleware")
    assert AppFactory(Small).middlewares == []


def test_routes_answer_through_app_and_have_coroutine_functions_as_endpoints() -> None:
    Small.inject_config()  # type: ignore[attr-defined]
    routes = [route for route in ServiceAppFactory(Small)().routes if isinstance(route, Route)]
    assert {"/echo", "/plain", "/readyz"} <= {route.path for route in routes}
    assert all(is_async_callable(route.endpoint) for route in routes), moved("the endpoints")
    route = Route("/", routes[0].endpoint)
    route.app = PlainTextResponse("stands in")
    answer = asyncio.run(ask(Starlette(routes=[route]), "/"))
    assert answer.body == b"stands in", moved("Starlette's Route.app")


def test_the_context_is_there_for_an_api_that_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [method.ctx_param for method in Small.apis.values()] == [None] * 2, moved("ctx_param")  # type: ignore[attr-defined]
    monkeypatch.setattr(Small.apis["plain"], "ctx_param", "ctx")  # type: ignore[attr-defined]
    Small.inject_config()  # type: ignore[attr-defined]
    assert [layer.cls for layer in AppFactory(Small).middlewares] == [ContextMiddleware]


def test_tracing_is_kept_where_an_exporter_is_configured() -> None:
    Small.inject_config()  # type: ignore[attr-defined]
    provider = BentoMLContainer.tracing.exporter_type
    assert provider.get() is None, moved("the default of tracing.exporter_type")
    provider.set("otlp")
    try:
        classes: list[Any] = [layer.cls for layer in AppFactory(Small).middlewares]
    finally:
        provider.set(None)
    assert classes == [OpenTelemetryMiddleware]


def test_a_deployment_is_checked_before_workers_start() -> None:
    Small.inner.checked.clear()  # type: ignore[attr-defined]
    server_on_deployment(Small)
    assert Small.inner.checked == [True], moved("on_deployment")  # type: ignore[attr-defined]


def test_a_server_without_a_folder_for_metrics_can_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR")
    (answer,) = talk(("POST", "/echo", b"hello"))
    assert answer.status == 200


def test_the_gauges_of_dead_workers_are_forgotten_at_the_start_of_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    (tmp_path / f"gauge_livesum_{ended.pid}.db").touch()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    talk()
    assert list(tmp_path.iterdir()) == []


def test_all_that_lives_after_the_start_is_left_out_of_garbage_collection() -> None:
    gc.unfreeze()
    gc.set_threshold(700)
    talk()
    assert gc.get_freeze_count() > 0
    assert gc.isenabled()
    assert gc.get_threshold()[0] == YOUNG_OBJECTS
    gc.unfreeze()


def test_the_instance_is_that_of_the_current_service() -> None:
    async def story() -> tuple[object, object]:
        Small.inject_config()  # type: ignore[attr-defined]
        factory = AppFactory(Small)
        async with lifespan(factory()):
            return factory._service_instance, bentoml.get_current_service()

    built, current = asyncio.run(story())
    assert built is not None, moved("ServiceAppFactory._service_instance")
    assert built is current, moved("get_current_service")


def test_an_api_is_called_through_local_and_an_attribute_shadows_its_descriptor() -> None:
    class Plain:
        @bentoml.api
        def answer(self, x: int) -> int:
            return x + 1

    plain = Plain()
    assert plain.answer is not plain.answer, moved("the wrapper at each access: drop the shadow")
    plain.answer = plain.answer
    assert plain.answer is plain.answer, moved("APIMethod.__get__")
    assert plain.answer.local(1) == 2, moved("APIMethod.local")


def test_bodies_are_read_and_answers_written_by_the_descriptors() -> None:
    descriptor = bentoml.IODescriptor
    assert parameters(descriptor.from_http_request) == ["request", "serde"], moved("IODescriptor")
    assert parameters(descriptor.to_http_response) == ["obj", "serde"], moved("IODescriptor")


def test_exceptions_of_bentoml_carry_a_status() -> None:
    assert BentoMLException("x").error_code == 500, moved("BentoMLException.error_code")
    assert bentoml.exceptions.NotFound("x").error_code == 404


@pytest.mark.parametrize("name", ["bento_name", "bento_version", "service_name", "worker_index"])
def test_a_worker_knows_what_it_serves(name: str) -> None:
    assert hasattr(server_context, name), moved(f"server_context.{name}")


def test_metrics_are_made_once_for_a_worker() -> None:
    assert service_metrics() is service_metrics()


# Models


def test_a_reference_to_a_model_tells_whether_it_is_stored() -> None:
    reference = bentoml.models.BentoModel("nowhere:latest")
    assert reference.stored is None, moved("BentoModel.stored")
    assert parameters(reference.resolve)[0] == "base_path", moved("BentoModel.resolve")


# What is set where no setting reaches


def test_usage_reports_are_off_even_if_the_answer_was_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cached = usage_stats.do_not_track
    assert hasattr(cached, "cache_clear"), moved("the cache of do_not_track")
    cached.cache_clear()
    monkeypatch.setenv("BENTOML_DO_NOT_TRACK", "False")
    assert cached() is False, moved("BENTOML_DO_NOT_TRACK")
    monkeypatch.setenv("BENTOML_DO_NOT_TRACK", "True")
    assert cached() is False, moved("the cache of do_not_track: no need to clear it any more")
    prepare_bentoml(Settings())
    BentoMLContainer.prometheus_multiproc_dir.reset()
    assert cached() is True


def test_each_server_keeps_its_metrics_in_a_folder_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR")  # as in the process that starts the workers
    BentoMLContainer.prometheus_multiproc_dir.reset()
    usual = BentoMLContainer.prometheus_multiproc_dir.get()
    assert Path(usual).parent == Path(BentoMLContainer.bentoml_home.get()), moved("metrics folder")
    folders = []
    try:
        for _ in range(2):
            prepare_bentoml(Settings())
            folders.append(Path(ensure_prometheus_dir()))
            told = BentoMLContainer.prometheus_multiproc_dir.get()
            assert str(folders[-1]) == told, moved("its provider")
            assert folders[-1].is_dir()
    finally:
        BentoMLContainer.prometheus_multiproc_dir.reset()
    assert usual not in map(str, folders)
    assert len(set(folders)) == 2
    for folder in folders:
        folder.rmdir()


def test_a_worker_keeps_its_metrics_where_the_server_told_it() -> None:
    BentoMLContainer.prometheus_multiproc_dir.reset()
    usual = BentoMLContainer.prometheus_multiproc_dir.get()
    prepare_bentoml(Settings())
    assert BentoMLContainer.prometheus_multiproc_dir.get() == usual


_EFFECTIVE = """
import json
from bentoml._internal.utils.analytics import usage_stats
remembered = usage_stats.do_not_track()
import service
service.ModelApi.inject_config()
from _bentoml_impl.server.serving import server_on_deployment
from bentoml._internal.configuration.containers import BentoMLContainer
ours = BentoMLContainer.config.services[service.ModelApi.name].get()
print(json.dumps({
    "remembered": remembered,
    "do_not_track": usage_stats.do_not_track(),
    "port": BentoMLContainer.http.port.get(),
    "workers": ours["workers"],
    "apis": {
        api.route: [api.batchable, api.input_spec.__name__, api.output_spec.__name__]
        for api in service.ModelApi.apis.values()
    },
    "models": [str(model.tag) for model in service.ModelApi.models],
}))
"""


@pytest.fixture(scope="module")
def effective() -> dict[str, Any]:
    """Tell what BentoML makes of our configuration in a process of its own."""
    foreign = ("BENTOML_DO_NOT_TRACK", "BENTOML_CONFIG", "BENTOML_CONFIG_OVERRIDES")
    done = subprocess.run(
        [sys.executable, "-c", _EFFECTIVE],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in foreign},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def test_the_service_listens_on_port_8000_with_one_worker(effective: dict[str, Any]) -> None:
    assert effective["port"] == 8000, moved("http.port, or configuration.yaml is not read")
    assert effective["workers"] == 1, moved("workers")


def test_importing_the_service_turns_usage_reports_off(effective: dict[str, Any]) -> None:
    assert effective["remembered"] is False
    assert effective["do_not_track"] is True


def test_bentoml_knows_the_apis_and_the_model_to_pack(effective: dict[str, Any]) -> None:
    assert effective["apis"] == {
        "/predict": [True, "InstanceInput", "InstanceOutput"],
        "/predict/batch": [False, "BatchInput", "BatchOutput"],
    }
    assert effective["models"] == ["iris:latest"]
