"""The joints of BentoML that the seam leans on: each fails here when an upgrade moves it."""

import asyncio
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import bentoml
import pytest
from _bentoml_impl import server
from _bentoml_impl.server.serving import server_on_deployment
from bentoml import server_context
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.utils.analytics import usage_stats
from bentoml.serving import ensure_prometheus_dir
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.trace import NoOpTracerProvider
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp

from serving.host import bento
from serving.host.application import Application
from serving.host.bento import (
    STATIC,
    BatchInput,
    BatchOutput,
    InstanceInput,
    InstanceOutput,
    ModelService,
    NamedModel,
    check_start,
    pack_models,
    packed_models,
    prepare_bentoml,
    service_metrics,
    worker_count,
)
from serving.host.process import LETTERS
from serving.host.wanted import Wanted
from serving.keys import ApiKey
from serving.model import state
from serving.model.state import ModelState, State, write_state
from serving.model.stored import ModelError
from serving.settings import Settings
from tests.unit.fakes import ask, recorded

ROOT = Path(__file__).parents[3]


def moved(joint: str) -> str:
    """Tell what to do when a canary has died."""
    version = bentoml.__version__
    return f"BentoML {version} has moved {joint}: mend serving/host/bento.py, then this test"


def parameters(function: Callable[..., object]) -> list[str]:
    """Give the names of a function's parameters."""
    return list(inspect.signature(function).parameters)


# A service as small as can be, behind the same seam


@bentoml.service(name="Small", service_class=ModelService)
class Small:
    """Has one API of each kind."""

    checked: ClassVar[list[bool]] = []
    edge: ASGIApp = PlainTextResponse("of the edge")

    @bentoml.on_deployment
    @staticmethod
    def check() -> None:
        """Note that the deployment was checked."""
        Small.inner.checked.append(True)  # type: ignore[attr-defined]

    @bentoml.api(batchable=True, input_spec=InstanceInput, output_spec=InstanceOutput)
    def one(self, rows: list[Any]) -> list[Any]:
        """Never run."""
        raise AssertionError("BentoML called an API itself")

    @bentoml.api(route="/many", input_spec=BatchInput, output_spec=BatchOutput)
    def many(self, rows: list[Any]) -> list[Any]:
        """Answer in process."""
        return rows[::-1]


SMALL: Any = Small


def test_a_service_builds_its_application_in_to_asgi() -> None:
    assert parameters(bentoml.Service.to_asgi) == parameters(ModelService.to_asgi), moved(
        "Service.to_asgi"
    )
    assert isinstance(SMALL.to_asgi(), Application)


def test_what_makes_the_instance_is_the_service() -> None:
    assert isinstance(SMALL(), SMALL.inner), moved("Service.__call__")
    assert SMALL().many([1, 2]) == [2, 1], moved("APIMethod: an API is no plain method any more")


def test_tracing_is_kept_where_an_exporter_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = BentoMLContainer.tracing.exporter_type
    SMALL.inject_config()
    assert exporter.get() is None, moved("the default of tracing.exporter_type")
    monkeypatch.setattr(ModelService, "inject_config", lambda self: None)  # which reads files
    exporter.set("otlp")
    BentoMLContainer.tracer_provider.set(NoOpTracerProvider())
    try:
        traced = SMALL.to_asgi()
    finally:
        exporter.set(None)
        BentoMLContainer.tracer_provider.reset()
    assert isinstance(traced, OpenTelemetryMiddleware)
    monkeypatch.setattr(traced.app, "_answer", SMALL.inner.edge)
    assert asyncio.run(ask(traced, "/")).body == b"of the edge"


def test_a_deployment_is_checked_before_workers_start() -> None:
    SMALL.inner.checked.clear()
    server_on_deployment(SMALL)
    assert SMALL.inner.checked == [True], moved("on_deployment")


def test_bentomls_client_is_told_the_apis() -> None:
    told = {route["route"]: route for route in SMALL.schema()["routes"]}
    assert set(told) == {"/one", "/many"}, moved("Service.schema")
    assert list(told["/one"]["input"]["properties"]) == ["data"]
    assert "predictions" in told["/many"]["output"]["properties"]


@pytest.mark.parametrize("count", [1, 3])
def test_it_is_known_how_many_workers_there_will_be(count: int) -> None:
    SMALL.inject_config()
    services = BentoMLContainer.config.services
    before = services.get()
    services.set({**before, "Small": {**before["Small"], "workers": count}})
    try:
        assert worker_count(SMALL) == count, moved("ResourceAllocator")
    finally:
        services.set(before)


def test_swagger_ui_is_where_bentoml_ships_it() -> None:
    assert (STATIC / "swagger-ui-bundle.js").is_file(), moved("static_content")


@pytest.mark.parametrize("name", ["bento_name", "bento_version", "service_name", "worker_index"])
def test_a_worker_knows_what_it_serves(name: str) -> None:
    assert hasattr(server_context, name), moved(f"server_context.{name}")


def test_metrics_are_labelled_as_bentoml_names_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[dict[str, str], int]] = []

    def metrics(common: dict[str, str], worker_index: int) -> None:
        made.append((common, worker_index))

    monkeypatch.setattr(bento, "Metrics", metrics)
    context = SimpleNamespace(
        bento_name="b", bento_version="v", service_name=None, worker_index=None
    )
    monkeypatch.setattr(bento, "server_context", context)
    service_metrics()
    assert made == [({"service_name": "b", "service_version": "v", "runner_name": "b"}, 0)]


# The check before the start


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Give the lines that the check logs."""
    return recorded(monkeypatch, bento).lines


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch, lines: list[dict[str, object]]) -> list[str]:
    """Give the versions that are chosen, of models all of which are there and sound."""
    chosen: list[str] = []
    monkeypatch.setattr(bento, "ServedModel", lambda tag: SimpleNamespace(resolve=lambda: tag))
    monkeypatch.setattr(state, "newest", lambda name: "v7")
    monkeypatch.setattr(bento, "verify", lambda tag, **_: SimpleNamespace(tag=tag))
    monkeypatch.setattr(bento, "check_needs", lambda models: None)
    monkeypatch.setattr(bento, "compiled_form", lambda verified, runtime: None)
    monkeypatch.setattr(bento, "pin_models", chosen.extend)
    return chosen


def packed(tag: str | None) -> Any:  # noqa: ANN401
    """Give what of a service is looked at, with a model packed into its bento, or without one."""
    models = [SimpleNamespace(tag=tag)]
    return SimpleNamespace(bento=tag and SimpleNamespace(info=SimpleNamespace(all_models=models)))


@pytest.mark.parametrize(
    ("named", "tag", "expected"),
    [
        ({}, None, "iris:v7"),
        ({}, "wine:v3", "wine:v3"),
        ({"model": "iris:v1"}, "wine:v3", "iris:v1"),
    ],
    ids=["the default", "the one in the bento", "the one that is named"],
)
def test_a_version_is_chosen_for_all_workers(
    monkeypatch: pytest.MonkeyPatch,
    pinned: list[str],
    named: dict[str, str],
    tag: str | None,
    expected: str,
) -> None:
    monkeypatch.setattr(bento, "worker_count", lambda service: 1)
    check_start(Settings(**named), packed(tag))  # type: ignore[arg-type]
    assert pinned == [expected]


def test_a_service_outside_of_a_bento_has_no_packed_models() -> None:
    assert packed_models(SMALL) == (), moved("Service.bento")


def test_what_is_packed_is_what_the_names_mean_then(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    service, file = SimpleNamespace(models=[]), tmp_path / "state.json"
    names = ("iris", "wine:v3", "loans@best", "post@champion", "pets:v1")
    pack_models(service, Settings(models=names, state_file=file))
    monkeypatch.setattr(state, "newest", lambda name: "v7")
    models = {
        "loans": ModelState(aliases={"best": "v4"}),
        "post": ModelState(promoted=("v1", "v5")),
        "pets": ModelState(promoted=("v1", "v5")),
    }
    write_state(file, State(models=models))
    told = [str(model.tag) for model in service.models]
    assert told == ["iris:v7", "wine:v3", "loans:v4", "post:v5", "pets:v1"]
    with pytest.raises(ModelError, match="no model iris:v7"):
        service.models[0].resolve()
    with pytest.raises(ModelError, match="no loans@worst"):
        NamedModel("loans@worst", file).resolve()


def test_workers_that_would_count_alone_are_refused(
    monkeypatch: pytest.MonkeyPatch, pinned: list[str]
) -> None:
    monkeypatch.setattr(bento, "worker_count", lambda service: 2)
    check_start(Settings(rate_limit="off"), packed(None))  # nothing is counted
    with pytest.raises(SystemExit, match=r"^SERVING_RATE_LIMIT_STORAGE: .*redis://"):
        check_start(Settings(rate_limit="100/minute"), packed(None))
    assert len(pinned) == 1


def test_a_model_that_can_not_be_served_is_refused(
    monkeypatch: pytest.MonkeyPatch, pinned: list[str]
) -> None:
    def fail(*_: object) -> None:
        raise ModelError("it is not compiled")

    monkeypatch.setattr(bento, "worker_count", lambda service: 1)
    monkeypatch.setattr(bento, "compiled_form", fail)
    with pytest.raises(ModelError, match="it is not compiled"):
        check_start(Settings(), packed(None))
    assert pinned == []


@pytest.mark.parametrize("keys", [(), (ApiKey("alice", b"digest"),)], ids=["open", "with keys"])
def test_what_an_operator_may_not_have_meant_is_told(
    monkeypatch: pytest.MonkeyPatch,
    pinned: list[str],
    lines: list[dict[str, object]],
    keys: tuple[ApiKey, ...],
) -> None:
    monkeypatch.setattr(bento, "worker_count", lambda service: 1)
    monkeypatch.setenv("SERVING_TIMEOUT", "31415926")
    check_start(Settings(api_keys=keys), packed(None))
    told = [{"level": "warning", "event": "settings.unknown", "variable": "SERVING_TIMEOUT"}]
    if not keys:
        told.append(
            {"level": "warning", "event": "keys.none", "meaning": "all who can connect may ask"}
        )
    assert lines == told


# What is set where no setting reaches


@pytest.fixture
def _prepared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what `prepare_bentoml` does; it installs nothing."""
    monkeypatch.setattr(bento, "install_protocol", lambda *_: None)
    monkeypatch.setattr(bento, "install_workers", lambda *_: None)
    monkeypatch.setenv(LETTERS, "")
    BentoMLContainer.prometheus_multiproc_dir.reset()
    yield
    BentoMLContainer.prometheus_multiproc_dir.reset()


def wanting(served: Mapping[str, str]) -> Wanted:
    return Wanted(Settings(), 0, (), ())


@pytest.mark.usefixtures("_prepared")
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
    prepare_bentoml(Settings(), wanting)
    assert cached() is True


@pytest.mark.usefixtures("_prepared")
def test_each_server_keeps_its_metrics_and_letters_in_folders_of_its_own_and_tells_its_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = BentoMLContainer.prometheus_multiproc_dir.get()
    assert Path(usual).parent == Path(BentoMLContainer.bentoml_home.get()), moved("metrics folder")
    made: list[str] = []

    def make(purpose: str = "letters") -> str:
        made.append(purpose)
        return f"{os.environ['BENTOML_HOME']}/{purpose}"

    monkeypatch.setattr(bento, "make_folder", make)
    monkeypatch.setattr(bento, "make_letters_folder", make)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "another's")
    with monkeypatch.context() as worker:
        worker.setenv(LETTERS, "there")
        prepare_bentoml(Settings(), wanting)
        assert BentoMLContainer.prometheus_multiproc_dir.get() == usual
        assert not made
    prepare_bentoml(Settings(), wanting)
    assert made == ["metrics", "letters"]
    assert ensure_prometheus_dir() == make("metrics"), moved("the provider of the metrics' folder")


@pytest.mark.usefixtures("_prepared")
@pytest.mark.parametrize(("named", "expected"), [(8080, 8080), (None, 9000)])
def test_a_port_that_a_platform_names_wins_over_what_bentoml_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, named: int | None, expected: int
) -> None:
    started: list[tuple[object, ...]] = []

    def serve_http(bento: str, *, host: str, port: int) -> None:
        started.append((bento, host, port))

    assert "port" in parameters(server.serving.serve_http), moved("serve_http")
    for place in (server, server.serving):  # its command line takes it from the one
        monkeypatch.setattr(place, "serve_http", serve_http)
    prepare_bentoml(Settings(aip_http_port=named), wanting)
    for place in (server, server.serving):
        place.serve_http(".", host="::1", port=9000)
    assert started == [(".", "::1", expected)] * 2


_EFFECTIVE = """
import json
from bentoml._internal.utils.analytics import usage_stats
remembered = usage_stats.do_not_track()
import service
service.ModelApi.inject_config()
from bentoml._internal.configuration.containers import BentoMLContainer
print(json.dumps({
    "usage reports": [not remembered, not usage_stats.do_not_track()],
    "port": BentoMLContainer.http.port.get(),
    "workers": BentoMLContainer.config.services[service.ModelApi.name].get()["workers"],
    "apis": {
        api.route: [api.batchable, api.input_spec.__name__, api.output_spec.__name__]
        for api in service.ModelApi.apis.values()
    },
    "models": len(service.ModelApi.models),
}))
"""


@pytest.mark.slow
def test_bentoml_makes_of_our_configuration_what_is_meant() -> None:
    foreign = ("BENTOML_DO_NOT_TRACK", "BENTOML_CONFIG", "BENTOML_CONFIG_OVERRIDES")
    done = subprocess.run(
        [sys.executable, "-c", _EFFECTIVE],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in foreign}
        | {"SERVING_MODELS": "iris,penguins@champion"},  # which nobody looks for yet
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "usage reports": [True, False],  # before the service is imported, and then
        "port": 8000,
        "workers": 1,
        "apis": {
            "/predict": [True, "InstanceInput", "InstanceOutput"],
            "/predict/batch": [False, "BatchInput", "BatchOutput"],
        },
        "models": 2,
    }
