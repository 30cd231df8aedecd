"""``deploy``'s alerts and dashboard, checked by Prometheus itself; Debian's package has it.

Each alert fires where it should and nowhere else, each panel's query has an answer from a real
Prometheus that reads a real service, and what the files say of each other is so. Grafana itself,
and the images that ``deploy/compose.yaml`` names, are not run.
"""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from serving.model.state import ModelState, Shadow, State, write_state
from serving.settings import Settings
from tests.server import ROOT, ROW, Server, eventually, serving
from tests.system.monitoring import (
    ALERTS,
    CONFIGURATION,
    DASHBOARD,
    DEPLOY,
    RECORDINGS,
    Document,
    Panel,
    Prometheus,
    alerts,
    dashboard,
    panels,
    prometheus,
    recordings,
    substituted,
)
from tests.system.rules import MATCHER, Mutants, mutants, promtool, unnoticed
from tests.system.test_redis import RedisServer

UNIT_TESTS = ALERTS.with_name("alerts-test.yml")
COMPOSE = DEPLOY / "compose.yaml"
NAME = re.compile(r"(?<![\w:])(?:bentoml|serving)_\w+")
RECORDED = re.compile(r"\w+:\w+:\w+")
FAMILY = re.compile(r'__name__=~"([^"]+)"')
SELECTOR = re.compile(r"([\w:]+)\{([^}]*)\}")
SECONDS = 12  # of traffic: more than two windows of a rate
DEADLINE_S = 2.0
QUOTA = 200  # of the server's only client: used up long before the traffic ends
OF_PROMETHEUS = {"up", "ALERTS"}


def by_name() -> dict[str, Document]:
    """Give the alerts by their names."""
    return {alert["alert"]: alert for alert in alerts()}


# The rules, without a service


def test_promtool_finds_nothing_wrong_with_the_configuration() -> None:
    checked = promtool("check", "config", "--lint=all", "--lint-fatal", CONFIGURATION)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", ALERTS, RECORDINGS)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_alert_fires_when_it_should_and_at_no_other_time() -> None:
    tested = promtool("test", "rules", UNIT_TESTS)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    fires = {
        test["alertname"]
        for group in yaml.safe_load(UNIT_TESTS.read_text())["tests"]
        for test in group["alert_rule_test"]
        if test.get("exp_alerts")
    }
    assert fires == by_name().keys()


def mutants_of_alert(alert: Document) -> Mutants:
    """Give an alert with each threshold, label and condition changed, and its period."""
    yield from mutants(alert, r"(?<=[=>] )[\d.]+")
    if "for" in alert:
        minutes = int(alert["for"].removesuffix("m"))
        for seconds in (120 * minutes, 30 * minutes):
            yield f"for {seconds} s", alert | {"for": f"{seconds}s"}


@pytest.mark.parametrize("name", by_name())
def test_an_alert_that_is_changed_fails_a_test(name: str, tmp_path: Path) -> None:
    unit_tests = yaml.safe_load(UNIT_TESTS.read_text())
    unit_tests["tests"] = [
        group | {"alert_rule_test": own}
        for group in unit_tests["tests"]
        if (own := [test for test in group["alert_rule_test"] if test["alertname"] == name])
    ]
    alert = by_name()[name]
    assert list(mutants_of_alert(alert))
    assert unnoticed(tmp_path, unit_tests, [alert], 0, mutants_of_alert(alert)) == []


def test_every_alert_has_its_section_in_the_runbook() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text()
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    titles = [section.partition("\n")[0] for section in sections]
    assert titles == list(by_name())
    for section in sections:
        for part in ("Means:", "Look at:", "Do:"):
            assert part in section, section
    for name, alert in by_name().items():
        assert alert["labels"].keys() == {"severity"}
        assert alert["labels"]["severity"] in {"critical", "warning", "info"}
        assert alert["annotations"].keys() == {"summary", "description", "runbook"}
        assert alert["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"


# The dashboard and the service, together


@dataclass(frozen=True, slots=True)
class Watched:
    """A service that has had all kinds of traffic, and the Prometheus that watched."""

    server: Server
    prometheus: Prometheus
    redis: RedisServer
    start: float
    end: float


STALLED = (
    b"POST /predict HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
    b"Content-Length: 99\r\n\r\n{"
)


def mixed_traffic(server: Server, seconds: float) -> None:
    """Send what makes each kind of event more than once: the first of a kind is in no rate."""
    start, next_stall_s = time.monotonic(), 0.0
    with ExitStack() as stalled:
        for number in count():
            elapsed = time.monotonic() - start
            if elapsed > seconds:
                break
            if elapsed >= next_stall_s:  # is answered with 504 at its deadline
                stalled.enter_context(server.raw()).sendall(STALLED)
                next_stall_s += DEADLINE_S
            row = [4.5 + number % 3000 / 1000, 3.0, 4.0, 1.2]
            for data in (row, ROW, [30.0, 3.0, 4.0, 1.0], [True]):
                server.http.post("/predict", json={"data": data})
            server.http.post("/predict/batch", json={"data": [row] * 20})
            for path in ("/health", "/nothing"):
                server.http.get(path)
            time.sleep(0.1)


def shadow_state(home: Path, folder: Path) -> Path:
    """Write a desired state in which the other version is the shadow of the default model."""
    models = home / "models" / "iris"
    served = (models / "latest").read_text()
    (other,) = (file.parent.name for file in models.glob("*/model.yaml") if served not in str(file))
    wanted = State(revision=1, models={"iris": ModelState(shadow=Shadow(version=other))})
    write_state(folder / "serving.json", wanted)
    return folder / "serving.json"


@pytest.fixture(scope="module")
def watched(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Serve with a shadow, a quota in Redis and the prediction log, under mixed traffic."""
    folder = tmp_path_factory.mktemp("watched")
    storage = RedisServer(folder)
    storage.start()
    settings = {
        "SERVING_STATE_FILE": str(shadow_state(home, folder)),
        "SERVING_RATE_LIMIT": f"{QUOTA}/minute",
        "SERVING_RATE_LIMIT_STORAGE": storage.url,
        "SERVING_PREDICTION_LOG": str(folder / "predictions.jsonl"),
        "SERVING_REQUEST_TIMEOUT_S": f"{DEADLINE_S}",
    }
    try:
        with (
            serving(home, folder / "service", **settings) as server,
            prometheus(folder, server.port) as watching,
        ):
            start = time.time()
            mixed_traffic(server, SECONDS)
            yield Watched(server, watching, storage, start, time.time())
    finally:
        with suppress(ProcessLookupError):
            storage.end()
        storage.client.close()


def queries() -> list[str]:
    """Give all that the alerts and the dashboard ask, with values for variables."""
    asked = [substituted(query.expr, 1, 1) for panel in panels() for query in panel.queries]
    return [rule["expr"] for rule in (*recordings(), *alerts())] + asked


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel.title)
def test_every_panel_has_something_to_show(watched: Watched, panel: Panel) -> None:
    for query in panel.queries:
        series = watched.prometheus.of_panel(query, watched.start, watched.end, 1)
        assert series, query.expr
        values = [value for each in series for _, value in each.points]
        assert values
        assert all(value == value for value in values), f"NaN: {query.expr}"
        names = [query.name(each.labels) for each in series]
        assert len(names) == len(set(names)), names
        assert all(names), names
        if "vector(0)" in query.expr and "ALERTS" not in query.expr:
            assert max(values) > 0, query.expr  # not only what stands in for no series


def test_before_any_request_shares_and_latencies_are_left_out_rather_than_nan(
    home: Path, tmp_path: Path
) -> None:
    with (
        serving(home, tmp_path / "service") as server,
        prometheus(tmp_path, server.port) as watching,
    ):
        start = time.time()
        time.sleep(5)  # some scrapes, more than the window of a rate
        for panel in panels():
            for query in panel.queries:
                for series in watching.of_panel(query, start, time.time(), 1):
                    assert all(value == value for _, value in series.points), query.expr
        for rule in recordings():
            recorded = watching.now(rule["record"])
            assert all(value == value for each in recorded for _, value in each.points), rule
        alerting = [rule for rule in watching.rules() if rule["type"] == "alerting"]
        assert [rule["name"] for rule in alerting if rule["state"] != "inactive"] == []


def test_every_metric_and_label_that_is_asked_for_exists(watched: Watched) -> None:
    labels: dict[str, set[str]] = {}
    for sample in watched.server.metrics():
        labels.setdefault(sample.name, {"job", "instance"}).update(sample.labels)
    for name in {rule["record"] for rule in recordings()}:
        for series in watched.prometheus.now(name):
            labels.setdefault(name, set()).update(series.labels)
    for expr in queries():
        assert set(NAME.findall(expr)) <= labels.keys(), expr
        for family in FAMILY.findall(expr):
            assert sum(bool(re.fullmatch(family, name)) for name in labels) == 3, expr
        for name, matchers in SELECTOR.findall(expr):
            assert name in labels or name in OF_PROMETHEUS, expr
            if name in labels:
                assert {label for label, _, _ in MATCHER.findall(matchers)} <= labels[name], expr


def test_what_is_recorded_is_read() -> None:
    recorded = {rule["record"] for rule in recordings()}
    assert {name for expr in queries() for name in RECORDED.findall(expr)} == recorded


def test_every_problem_type_and_endpoint_that_is_asked_for_exists(watched: Watched) -> None:
    document = watched.server.http.get("/docs.json").json()
    for expr in queries():
        for label, _, value in MATCHER.findall(expr):
            if label == "type":
                assert watched.server.http.get(f"/errors/{value}").status_code == 200, value
            if label == "endpoint":
                for each in value.split("|"):
                    assert any(re.fullmatch(each, path) for path in document["paths"]), each


def test_alerts_look_at_all_paths_of_predictions_and_all_probes(watched: Watched) -> None:
    paths = watched.server.http.get("/docs.json").json()["paths"]

    def looked_at(name: str) -> set[str]:
        (asked,) = {
            value for _, _, value in MATCHER.findall(by_name()[name]["expr"]) if "/" in value
        }
        return {path for path in paths if re.fullmatch(asked, path)}

    def tagged(tag: str, status: str) -> set[str]:
        return {
            path
            for path, operations in paths.items()
            for told in operations.values()
            if tag in told["tags"] and status in told["responses"]
        }

    for name in ("ModelApiFailing", "ModelApiOverloaded", "ModelApiDeadlineExceeded"):
        assert looked_at(name) == tagged("Predictions", "200")
    assert looked_at("ModelApiUnready") == tagged("Operations", "503")


def test_prometheus_takes_every_rule(watched: Watched) -> None:
    eventually(
        "every rule evaluated",
        lambda: all(rule["health"] == "ok" for rule in watched.prometheus.rules()),
    )
    taken = sorted(rule["name"] for rule in watched.prometheus.rules())
    assert taken == sorted([rule["record"] for rule in recordings()] + list(by_name()))
    for rule in (*recordings(), *alerts()):
        watched.prometheus.now(rule["expr"])


def test_what_happens_to_the_service_comes_to_its_alert(watched: Watched) -> None:
    def state(name: str) -> str:
        (rule,) = [rule for rule in watched.prometheus.rules() if rule["name"] == name]
        return str(rule["state"])

    assert state("ModelApiQuotaStorageDown") == "inactive"
    watched.redis.end()
    watched.server.http.post("/predict", json={"data": ROW})
    eventually("Redis is missed", lambda: state("ModelApiQuotaStorageDown") == "pending")
    assert state("ModelApiDown") == "inactive"
    assert state("ModelApiDrift") == "pending"  # the traffic has the same values again and again


# What the files say of each other


def test_the_dashboard_is_laid_out_and_explained() -> None:
    document = dashboard()
    assert document["uid"] == "model-api"
    ids = [panel["id"] for panel in document["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in document["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"].endswith("."), panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
            assert panel["datasource"]["uid"] == "${datasource}"
    named = set(re.findall(r"ModelApi\w+", DASHBOARD.read_text()))
    assert named <= by_name().keys()


def test_of_several_models_and_versions_the_panels_of_drift_can_show_one() -> None:
    asked = [query.expr for panel in panels() for query in panel.queries]
    recorded = [
        matchers
        for expr in asked
        for name, matchers in SELECTOR.findall(expr)
        if RECORDED.fullmatch(name)
    ]
    assert recorded
    for matchers in recorded:
        chosen = {("model_name", "=~", "$model"), ("version", "=~", "$version")}
        assert chosen <= set(MATCHER.findall(matchers)), matchers


def test_thresholds_of_the_dashboard_are_those_of_the_alerts() -> None:
    drawn = {panel.title: panel.limit for panel in panels() if panel.limit is not None}
    for title, name in {
        "Failed and refused": "ModelApiFailing",
        "Latency of /predict": "ModelApiSlow",
        "Refused for a quota": "ModelApiClientLimited",
        "Unlike the training data": "ModelApiUnusualInputs",
        "Population stability index": "ModelApiDrift",
    }.items():
        limit = re.escape(f"> {drawn.pop(title):g}")
        assert re.search(f"{limit}$", by_name()[name]["expr"], re.MULTILINE), title
    assert not drawn
    index, rows = re.findall(r"[=>] ([\d.]+)", by_name()["ModelApiDrift"]["expr"])
    (worst,) = next(panel.queries for panel in panels() if panel.title == "Changed most")
    assert f", {index})" in worst.expr
    assert f">= {rows})" in worst.expr


def compose(file: Path = COMPOSE) -> Document:
    """Read a compose file."""
    document: Document = yaml.safe_load(file.read_text())
    return document


def test_the_compose_file_mounts_what_is_there() -> None:
    volumes = compose()["volumes"]
    mounted = [
        source
        for service in compose()["services"].values()
        for source, _, _ in (volume.partition(":") for volume in service.get("volumes", []))
    ]
    assert mounted
    for source in mounted:
        assert source in volumes or (COMPOSE.parent / source).is_dir(), source


def test_every_service_of_the_compose_file_is_confined() -> None:
    for name, service in compose()["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"], name
        assert service["pids_limit"], name
        assert service["restart"] == "unless-stopped", name
        assert any(mount.startswith("/tmp:") for mount in service["tmpfs"]), name  # noqa: S108
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        if name != "service":  # whose image is made here, and has its user and health check
            assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+(-alpine)?", service["image"]), name
            assert re.fullmatch(r"[1-9]\d*:\d+", service["user"]), name
            assert service["healthcheck"]["test"], name
    published = {name for name, service in compose()["services"].items() if "ports" in service}
    assert published == {"service", "grafana"}


def test_the_compose_file_gives_the_service_settings_that_it_has_and_time_to_end() -> None:
    service = compose()["services"]["service"]
    names = {f"SERVING_{name.upper()}" for name in Settings.model_fields}
    assert service["environment"].keys() <= names
    assert "SERVING_METRICS_NEED_KEY" not in service["environment"]  # Prometheus has none
    keys = compose(DEPLOY / "compose.keys.yaml")["services"]["service"]["environment"]
    assert keys.keys() <= names
    own = service["environment"]
    periods = [float(own[f"SERVING_DRAIN_{name}_S"]) for name in ("DELAY", "TIMEOUT")]
    grace = float(service["stop_grace_period"].removesuffix("s"))
    assert grace >= sum(periods) + 5 + 5  # its worker's, and some


def test_names_and_intervals_agree_between_files() -> None:
    (job,) = yaml.safe_load(CONFIGURATION.read_text())["scrape_configs"]
    (static,) = job["static_configs"]
    services = compose()["services"]
    for target in static["targets"]:
        assert target.partition(":")[0] in services
    (source,) = yaml.safe_load(
        (DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yaml").read_text()
    )["datasources"]
    chosen = {each["name"]: each["current"] for each in dashboard()["templating"]["list"]}
    assert source["uid"] == chosen["datasource"]["value"]
    assert job["job_name"] == chosen["job"]["value"]
    interval = yaml.safe_load(CONFIGURATION.read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == interval
    (provider,) = yaml.safe_load(
        (DEPLOY / "grafana" / "provisioning" / "dashboards" / "model-api.yaml").read_text()
    )["providers"]
    folder = provider["options"]["path"]
    mounts = [volume.split(":")[1] for volume in services["grafana"]["volumes"]]
    assert folder in mounts
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{folder}/{DASHBOARD.name}"
