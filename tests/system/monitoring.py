"""What ``deploy`` has for monitoring, read and put to work: rules, dashboard, a real Prometheus.

Queries come from the files alone. Variables in them become what Grafana would make of them.
"""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml  # type: ignore[import-untyped]

from tests.server import PATIENCE_S, ROOT, eventually, free_port, kill

DEPLOY = ROOT / "deploy"
CONFIGURATION = DEPLOY / "prometheus" / "prometheus.yml"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
RECORDINGS = DEPLOY / "prometheus" / "drift.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "model-api.json"
JOB = "model-api"

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_PLACE = re.compile(r"\{\{\s*(\w+)\s*\}\}")

Document = dict[str, Any]  # as JSON or YAML has it
Labels = dict[str, str]


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel, and how its series are named."""

    expr: str
    legend: str

    def name(self, labels: Mapping[str, str]) -> str:
        """Name a series as Grafana does."""
        return _PLACE.sub(lambda place: labels.get(place[1], ""), self.legend)


@dataclass(frozen=True, slots=True)
class Panel:
    """What is drawn in one place of the dashboard."""

    title: str
    limit: float | None  # where a line is drawn across
    queries: tuple[Query, ...]


def dashboard() -> Document:
    """Read the dashboard."""
    document: Document = json.loads(DASHBOARD.read_text())
    return document


def panels() -> list[Panel]:
    """Read the panels of the dashboard that ask something, in their order."""
    return [_panel(panel) for panel in dashboard()["panels"] if panel["type"] != "row"]


def _panel(panel: Document) -> Panel:
    defaults = panel["fieldConfig"]["defaults"]
    style = defaults.get("custom", {}).get("thresholdsStyle", {})
    is_drawn = style.get("mode") == "dashed"
    return Panel(
        title=panel["title"],
        limit=defaults["thresholds"]["steps"][-1]["value"] if is_drawn else None,
        queries=tuple(Query(each["expr"], each["legendFormat"]) for each in panel["targets"]),
    )


def alerts() -> list[Document]:
    """Read the alerts."""
    return _rules(ALERTS)


def recordings() -> list[Document]:
    """Read the rules that record."""
    return _rules(RECORDINGS)


def _rules(file: Path) -> list[Document]:
    (group,) = yaml.safe_load(file.read_text())["groups"]
    rules: list[Document] = group["rules"]
    return rules


def substituted(expr: str, step_s: int, scrape_s: int) -> str:
    """Put values for variables as Grafana does before it asks Prometheus.

    Raises:
        KeyError: a variable that neither the dashboard has nor Grafana.
    """
    # https://grafana.com/docs/grafana/latest/datasources/prometheus/template-variables/
    own = {"__rate_interval": f"{max(step_s + scrape_s, 4 * scrape_s)}s", "__range": "1h"}
    for variable in dashboard()["templating"]["list"]:
        chosen = variable["current"]["value"]
        is_all = "$__all" in chosen  # in a list, if several can be chosen
        own[variable["name"]] = variable["allValue"] if is_all else chosen
    return _VARIABLE.sub(lambda found: own[found[1] or found[2]], expr)


@dataclass(frozen=True, slots=True)
class Series:
    """A series of an answer: its labels, and its values by Unix time."""

    labels: Labels
    points: list[tuple[float, float]]


class Prometheus:
    """A Prometheus that runs."""

    def __init__(self, url: str, scrape_s: int) -> None:
        """Ask one at an address, which reads metrics so often."""
        self.scrape_s = scrape_s
        self._http = httpx.Client(base_url=url, timeout=PATIENCE_S)

    def close(self) -> None:
        """Close the connections to it."""
        self._http.close()

    def _ask(self, path: str, **parameters: str | float) -> Any:  # noqa: ANN401 (any JSON)
        answer = self._http.get(f"/api/v1/{path}", params=parameters)
        assert answer.status_code == 200, f"{parameters}: {answer.text}"
        body = answer.json()
        assert not body.get("warnings"), f"{parameters}: {body}"
        return body["data"]

    def is_ready(self) -> bool:
        """Tell whether it answers queries."""
        with suppress(httpx.TransportError):
            return self._http.get("/-/ready").status_code == 200
        return False

    def now(self, expr: str) -> list[Series]:
        """Ask for the values of this moment."""
        data = self._ask("query", query=expr)
        assert data["resultType"] == "vector", expr
        return [_series(each["metric"], [each["value"]]) for each in data["result"]]

    def between(self, expr: str, start: float, end: float, step_s: int) -> list[Series]:
        """Ask for the values of a time."""
        data = self._ask("query_range", query=expr, start=start, end=end, step=step_s)
        return [_series(each["metric"], each["values"]) for each in data["result"]]

    def of_panel(self, query: Query, start: float, end: float, step_s: int) -> list[Series]:
        """Ask a panel's query, as Grafana would."""
        return self.between(substituted(query.expr, step_s, self.scrape_s), start, end, step_s)

    def rules(self) -> list[Document]:
        """Tell how the rules fare."""
        return [rule for group in self._ask("rules")["groups"] for rule in group["rules"]]

    def is_scraping(self, servers: int) -> bool:
        """Tell whether it has read the metrics of so many servers."""
        up = self.now(f'up{{job="{JOB}"}} == 1')
        return len(up) == servers


def _series(labels: Labels, points: Sequence[tuple[float, str]]) -> Series:
    return Series(labels, [(at, float(value)) for at, value in points])


@contextmanager
def prometheus(folder: Path, *ports: int, scrape_s: int = 1) -> Iterator[Prometheus]:
    """Run Prometheus with the project's configuration, but for addresses and intervals."""
    configuration = yaml.safe_load(CONFIGURATION.read_text())
    (job,) = configuration["scrape_configs"]
    assert job["job_name"] == JOB
    job["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for port in ports]}]
    interval = {"scrape_interval": f"{scrape_s}s", "scrape_timeout": f"{scrape_s}s"}
    configuration["global"] |= interval | {"evaluation_interval": f"{scrape_s}s"}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    for name in configuration["rule_files"]:
        rules = yaml.safe_load((CONFIGURATION.parent / name).read_text())
        for group in rules["groups"]:
            group.pop("interval", None)
        (folder / name).write_text(yaml.safe_dump(rules))
    port = free_port()
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    running = Prometheus(f"http://127.0.0.1:{port}", scrape_s)
    try:

        def reads() -> bool:
            assert process.poll() is None, (folder / "output").read_text()
            return running.is_ready() and running.is_scraping(len(ports))

        eventually("a Prometheus that reads the metrics", reads)
        yield running
    finally:
        running.close()
        kill(process)
