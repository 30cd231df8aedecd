"""The probes: who is ready, who lives, and that nobody needs a key to know."""

import pytest

from serving.door.edge import Edge
from serving.door.probes import probes
from serving.model.about import About
from serving.problems import UNAVAILABLE
from tests.unit.door.doors import api_key, assert_problem, door, get
from tests.unit.samples import description

ABOUT = About(description(), "v7")
READY, ALIVE = ("/health", "/readyz"), ("/livez", "/healthz")


def probed(reason: str | None) -> Edge:
    """Give a server that is unready for a reason, and asks all others for keys."""
    return door(*probes(lambda: reason, ABOUT), keys=[api_key("alice", "secret")])


def test_health_tells_which_model_is_served() -> None:
    answer = get(probed(None), "/health")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {"status": "ok", "model": {"name": "mail", "version": "v7"}}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", [*READY, *ALIVE])
def test_a_server_that_is_ready_says_so_to_all(path: str, method: str) -> None:
    assert get(probed(None), path, method=method).status == 200


@pytest.mark.parametrize("path", READY)
def test_a_server_that_is_unready_says_why_and_when_to_come_back(path: str) -> None:
    answer = get(probed("the server is shutting down"), path)
    assert_problem(answer, 503, "unavailable")
    assert answer.json()["detail"] == "the server is shutting down"
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("path", ALIVE)
def test_a_server_that_is_unready_lives(path: str) -> None:
    answer = get(probed("the model does not come back"), path)
    assert (answer.status, answer.body) == (200, b"\n")


def test_each_probe_says_whether_it_may_be_unavailable() -> None:
    told = {route.path: route.tells for route in probes(lambda: None, ABOUT)}
    may = {path for path, tells in told.items() if UNAVAILABLE in tells[path].problems}
    assert may == set(READY)
