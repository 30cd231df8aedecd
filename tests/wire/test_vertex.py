"""A container as Vertex AI starts one: its paths win over all others of this service."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import BATCH, ROW, Server, serving
from tests.wire.tallies import counts_of, tallied

PLATFORM = {
    "AIP_PREDICT_ROUTE": "/predict",
    "AIP_HEALTH_ROUTE": "/ping",
    "SERVING_DIALECTS": "vertex,invocations",  # in whatever order
}


@pytest.fixture(scope="module")
def vertex(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve at a path of this service's own, and at one of another dialect."""
    with serving(home, tmp_path_factory.mktemp("vertex") / "output", **PLATFORM) as running:
        yield running


def test_the_platform_s_paths_win_and_the_log_says_so_at_the_start(vertex: Server) -> None:
    before = tallied(vertex)
    body = {"instances": [ROW] * 3, "parameters": {"predict_method": "predict_proba"}}
    answer = vertex.http.post("/predict", json=body)
    known = vertex.ask([ROW] * 3, BATCH).json()["predictions"]
    assert answer.json() == {
        "predictions": [list(each["probabilities"].values()) for each in known]
    }
    counts_of(vertex, 6, before)  # of either route
    assert vertex.http.get("/ping").json() == {"name": "iris", "ready": True}
    replaced = [(event["method"], event["path"]) for event in vertex.events("route.replaced")]
    assert sorted(replaced) == [("GET", "/ping"), ("POST", "/predict")]
    described = vertex.http.get("/docs.json").json()["paths"]
    assert described["/predict"]["post"]["operationId"] == "vertexPredict"
    assert described["/ping"]["get"]["operationId"] == "vertexHealth"


def test_what_is_refused_there_is_400_with_the_sentence_that_clients_show(vertex: Server) -> None:
    answer = vertex.ask(ROW)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert answer.json()["error"].endswith("expected either instances or inputs")
