"""Routes: found by their paths alone, and known by their templates."""

import pytest

from serving.door.routes import Route, Routes, overridden
from serving.problems import PROBLEM_JSON, Wording
from tests.unit.door.doors import fine
from tests.unit.fakes import RecordingLog

LOUD = Wording("Loud")
GET_PLACE = Route("GET", "/place", fine)
PUT_PLACE = Route("PUT", "/place", fine, is_open=True)
PREDICT = Route("POST", "/predict", fine)
ERROR = Route("GET", "/errors/{slug}", fine)
FILE = Route("GET", "/static/{path:path}", fine)
SAID = Route("GET", "/errors/said", fine)
MODEL = Route("GET", "/models/{model}", fine)
ASK = Route("POST", "/models/{model}:ask", fine)
ROUTES = Routes([PUT_PLACE, ERROR, PREDICT, FILE, GET_PLACE, SAID, MODEL, ASK])


@pytest.mark.parametrize(
    ("path", "template", "parts"),
    [
        ("/place", "/place", {}),
        ("/predict", "/predict", {}),
        ("/errors/anything", "/errors/{slug}", {"slug": "anything"}),
        ("/errors/{slug}", "/errors/{slug}", {"slug": "{slug}"}),
        ("/errors/said", "/errors/said", {}),  # what is exact goes before what is not
        ("/models/iris", "/models/{model}", {"model": "iris"}),
        # Of two that match, the one that says more of the path.
        ("/models/iris:ask", "/models/{model}:ask", {"model": "iris"}),
        ("/static/a/b.js", "/static/{path}", {"path": "a/b.js"}),
        ("/static/", "/static/{path}", {"path": ""}),
        ("/static//etc/passwd", "/static/{path}", {"path": "/etc/passwd"}),
    ],
)
def test_a_path_has_a_template_and_its_parts(
    path: str, template: str, parts: dict[str, str]
) -> None:
    found = ROUTES.find(path)
    assert found is not None
    assert (found.template, found.parts) == (template, parts)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/place/",
        "/PLACE",
        "place",
        "//place",
        "/place\n",
        "/place/more",
        "/errors",
        "/errors/",
        "/errors/a/b",
        "/static",
        "/nowhere",
    ],
)
def test_at_any_other_path_there_is_nothing(path: str) -> None:
    assert ROUTES.find(path) is None


def test_a_path_has_a_route_for_each_of_its_methods_and_head_where_it_has_get() -> None:
    found = ROUTES.find("/place")
    assert found is not None
    assert found.routes == {"GET": GET_PLACE, "HEAD": GET_PLACE, "PUT": PUT_PLACE}
    predict = ROUTES.find("/predict")
    assert predict is not None
    assert predict.routes == {"POST": PREDICT}


def test_the_first_route_of_a_path_speaks_for_methods_that_it_has_not() -> None:
    found = ROUTES.find("/place")
    assert found is not None
    assert found.any is PUT_PLACE


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/place", "GET, HEAD, PUT"), ("/predict", "POST"), ("/errors/x", "GET, HEAD")],
)
def test_another_method_is_refused_with_the_right_ones(path: str, allowed: str) -> None:
    found = ROUTES.find(path)
    assert found is not None
    problem = found.not_allowed()
    assert problem.kind.status == 405
    assert problem.headers == {"Allow": allowed}


@pytest.mark.parametrize(
    ("path", "wording"),
    [
        ("/v1/models", LOUD),
        ("/v1/models/iris:explain", LOUD),
        ("/v1/", LOUD),
        ("/v1", LOUD),
        ("/v12/models", PROBLEM_JSON),
        ("//v1/models", PROBLEM_JSON),
        ("/place/more", PROBLEM_JSON),
        ("/", PROBLEM_JSON),
        ("", PROBLEM_JSON),
        ("v1/models", PROBLEM_JSON),
        ("*", PROBLEM_JSON),
    ],
)
def test_what_is_not_there_is_refused_as_all_is_below_the_same_first_segment(
    path: str, wording: Wording
) -> None:
    routes = Routes([*ROUTES, Route("GET", "/v1/models/{model}", fine, wording=LOUD)])
    assert routes.wording_at(path) is wording


def test_routes_are_given_in_their_order_each_once() -> None:
    assert list(ROUTES) == [PUT_PLACE, ERROR, PREDICT, FILE, GET_PLACE, SAID, MODEL, ASK]


def test_two_routes_for_one_method_of_a_path_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="two routes answer GET /place"):
        Routes([GET_PLACE, PUT_PLACE, GET_PLACE])


def test_a_route_is_closed_and_counts_not_unless_it_says_so() -> None:
    assert not GET_PLACE.is_open
    assert not GET_PLACE.counts
    assert GET_PLACE.tells == {}
    assert GET_PLACE.model({}) is None
    assert GET_PLACE.wording is PROBLEM_JSON


def test_what_is_given_later_goes_before_what_has_its_path_and_method_and_that_is_logged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = RecordingLog()
    monkeypatch.setattr("serving.door.routes.log", log)
    other_place = Route("GET", "/place", fine, is_open=True)
    own_error = Route("GET", "/errors/own", fine)
    routes = overridden([GET_PLACE, PUT_PLACE, ERROR], [own_error], [other_place])
    assert routes == [PUT_PLACE, ERROR, own_error, other_place]
    told = {"level": "warning", "event": "route.replaced", "method": "GET", "path": "/place"}
    assert log.lines == [told]
    found = Routes(routes).find("/place")
    assert found is not None
    assert found.routes == {"PUT": PUT_PLACE, "GET": other_place, "HEAD": other_place}


def test_two_that_are_given_together_at_one_path_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="two routes answer GET /place"):
        Routes(overridden([PREDICT], [GET_PLACE, GET_PLACE]))
