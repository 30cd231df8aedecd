"""What has drifted is told to programs as JSON, and to people as a page that can't be broken."""

import re
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest
from openapi_schema_validator import OAS31Validator

from serving.door.drift import PATTERN, drift_routes
from serving.door.edge import Edge
from serving.door.openapi import openapi_document
from serving.door.pages import CONTENT_SECURITY_POLICY
from serving.door.routes import Route
from serving.drift.report import schemas
from serving.drift.watch import OLD_MODEL, TURNED_OFF, Kind
from serving.model.about import About
from serving.prediction.drift import Drift
from serving.prediction.shelf import Shelf
from serving.prediction.tally import Tally
from tests.unit.door.doors import INPUT, FakeLoaded, api_key, assert_problem, door, get
from tests.unit.door.test_pages import ANYWHERE, read
from tests.unit.drifted import compared, predicted, report
from tests.unit.fakes import Answer, Headers
from tests.unit.samples import category, description, number

ABOUT = About(description(), "v1")
OTHERS = [About(description(name="post"), "v2")]
HALVES = {"0": 500, "1": 500}
SLY = ("</td><script>alert(1)</script>", "a & <b>", "x" * 200, "\u202eevil")
REPORT = report(
    compared(number("length"), HALVES, {"0": 150, "1": 150}, edges=(4.5,)),
    compared(number("width <img src=x>"), HALVES, {"0": 100, "above": 300}, edges=(4.5,)),
    compared(category('"colour"', SLY), dict.fromkeys(SLY, 100), {"unseen": 300, SLY[1]: 100}),
    predicted({"ham": 900, "spam": 100}, {"ham": 200, "spam": 200}),
    predicted(HALVES, {"0": 200, "1": 200}, edges=(0.75,), kind=Kind.CONFIDENCE),
)
EMPTY = report(predicted({"0": 60, "1": 40}, {}, target=""))
HTML: Headers = [(b"Accept", b"text/html")]
CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


class FakeTally:
    """Gives a report, and keeps what it was asked for, and where."""

    def __init__(self, told: dict[str, Any]) -> None:
        """Take the report."""
        self.told = told
        self.asked_s: list[int] = []
        self.threads: list[threading.Thread] = []

    def report(self, window_s: int) -> dict[str, Any]:
        """Give the report."""
        self.asked_s.append(window_s)
        self.threads.append(threading.current_thread())
        return self.told


def routes(tally: FakeTally, *others: FakeTally) -> list[Route]:
    """Give the routes of models that are watched."""
    loaded = [FakeLoaded(about) for about in (ABOUT, *OTHERS[: len(others)])]
    tallies = dict(zip([each.about for each in loaded], (tally, *others), strict=True))
    watched = SimpleNamespace(of=lambda about: cast(Tally, tallies[about]))
    shelf = Shelf([each.as_loaded for each in loaded])
    return list(drift_routes(cast(Drift, watched), shelf))


@pytest.fixture
def tally() -> FakeTally:
    """Give what has counted."""
    return FakeTally(REPORT)


@pytest.fixture
def edge(tally: FakeTally) -> Edge:
    """Serve what has been counted."""
    return door(*routes(tally))


def page_of(told: dict[str, Any], query: str = "") -> Answer:
    """Get a report as a page."""
    return get(door(*routes(FakeTally(told))), f"/model/drift{query}", HTML)


# JSON


def test_programs_get_the_report_as_it_is_described(edge: Edge) -> None:
    answer = get(edge, "/model/drift")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {"window": "1h", **REPORT}
    assert answer.headers["cache-control"] == "no-store"
    for told in (answer.json(), {"window": "1h", **EMPTY}):
        parts = {"$ref": "#/components/schemas/DriftReport", "components": {"schemas": schemas()}}
        assert OAS31Validator(parts).is_valid(told)


@pytest.mark.parametrize(
    ("accepted", "is_page"),
    [
        (None, False),
        ("*/*", False),
        ("application/json", False),
        ("text/html;q=0.5, application/json", False),
        ("text/html", True),
        ("application/json;q=0.5, text/html", True),
        (CHROME, True),
    ],
)
def test_who_prefers_a_page_gets_one(edge: Edge, accepted: str | None, *, is_page: bool) -> None:
    headers = [] if accepted is None else [(b"Accept", accepted.encode())]
    answer = get(edge, "/model/drift", headers)
    assert answer.headers["content-type"].startswith("text/html") is is_page
    assert "Accept" in answer.headers["vary"].split(", ")
    assert answer.headers["cache-control"] == "no-store"
    assert get(edge, "/model/drift", headers, "HEAD").status == 200


def test_who_takes_neither_is_told_so(edge: Edge) -> None:
    answer = get(edge, "/model/drift", [(b"Accept", b"text/csv")])
    assert_problem(answer, 406, "not-acceptable")


def test_files_are_read_in_another_thread(edge: Edge, tally: FakeTally) -> None:
    get(edge, "/model/drift")
    assert tally.threads != [threading.main_thread()]


def test_each_model_is_told_of_below_its_name(edge: Edge, tally: FakeTally) -> None:
    other = FakeTally(EMPTY)
    both = door(*routes(tally, other))
    for path, told in (("mail", REPORT), ("post", EMPTY)):
        assert get(both, f"/models/{path}/drift").json() == {"window": "1h", **told}
    assert (tally.asked_s, other.asked_s) == ([3600], [3600])
    assert_problem(get(both, "/models/fax/drift"), 404, "not-found")
    document = openapi_document(
        routes(tally, other), [ABOUT, *OTHERS], asks_for_keys=False, has_quotas=False
    )
    operation = document["paths"]["/models/post/drift"]["get"]
    assert "[a page](models/post/drift)" in operation["description"]


# The window


@pytest.mark.parametrize(
    ("window", "asked_s"), [("1m", 60), ("90m", 5400), ("1440m", 86400), ("24h", 86400)]
)
def test_a_window_is_so_many_minutes_or_hours(
    edge: Edge, tally: FakeTally, window: str, asked_s: int
) -> None:
    answer = get(edge, f"/model/drift?window={window}")
    assert answer.json()["window"] == window
    assert tally.asked_s == [asked_s]


def test_a_window_is_at_most_a_day() -> None:
    units = {
        unit: [at for at in range(2000) if re.fullmatch(PATTERN, f"{at}{unit}")] for unit in "mhs"
    }
    assert units == {"m": list(range(1, 1441)), "h": list(range(1, 25)), "s": []}


@pytest.mark.parametrize(
    "query",
    [
        *("window=", "window=1", "window=0m", "window=1.5h", "window=25h", "window=01h"),
        *("window=1h%0A", "window=%D9%A1h", f"window={INPUT}", "window=1h&window=1h"),
        *(f"window=1h&{INPUT}=1", "Window=1h"),
    ],
)
def test_anything_else_in_the_query_is_refused(edge: Edge, tally: FakeTally, query: str) -> None:
    answer = get(edge, f"/model/drift?{query}")
    assert_problem(answer, 422, "invalid-input")
    assert "window" in answer.json()["detail"]
    assert INPUT.encode() not in answer.body
    assert tally.asked_s == []


# Who may ask, and where nothing is watched


def test_it_needs_a_key_where_others_do_and_counts_against_no_quota(tally: FakeTally) -> None:
    told = routes(tally)
    assert not any(route.counts for route in told)
    guarded = door(*told, keys=[api_key("alice", "secret")])
    assert get(guarded, "/model/drift").status == 401
    assert get(guarded, "/model/drift", [(b"X-API-Key", b"secret")]).status == 200


@pytest.mark.parametrize(("features", "reason"), [(0, TURNED_OFF), (30, OLD_MODEL)])
def test_where_nothing_is_watched_that_is_told_with_its_reason(features: int, reason: str) -> None:
    drift = Drift(features)
    drift.watch(ABOUT)
    unwatched = list(drift_routes(drift, Shelf([FakeLoaded(ABOUT).as_loaded])))
    answer = get(door(*unwatched), "/model/drift?window=never")
    assert_problem(answer, 404, "not-found")
    assert answer.json()["detail"].endswith(reason)
    document = openapi_document(unwatched, [ABOUT], asks_for_keys=False, has_quotas=False)
    operation = document["paths"]["/model/drift"]["get"]
    assert set(operation["responses"]) == {"404", "405", "500", "504"}
    assert reason in operation["description"]
    assert "parameters" not in operation


def test_where_it_is_watched_the_document_tells_of_both_forms_and_of_the_window() -> None:
    told = routes(FakeTally(REPORT))
    document = openapi_document(told, [ABOUT], asks_for_keys=False, has_quotas=False)
    operation = document["paths"]["/model/drift"]["get"]
    assert operation["responses"].keys() == {"200", "405", "406", "422", "500", "504"}
    assert operation["responses"]["200"]["content"].keys() == {"application/json", "text/html"}
    (parameter,) = operation["parameters"]
    assert (parameter["name"], parameter["in"]) == ("window", "query")
    assert parameter["schema"] == {"type": "string", "pattern": PATTERN, "default": "1h"}


# The page


def test_the_page_is_whole_and_loads_nothing(edge: Edge) -> None:
    answer = get(edge, "/model/drift", HTML)
    page = answer.body.decode()
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert read(page)
    assert "<script" not in page
    assert not ANYWHERE.search(page)
    references = re.findall(r"""(?:src|href)=["']([^"']+)""", page)
    assert {reference[0] for reference in references} == {"d", "?", "#"}  # d: its empty icon


def test_the_page_says_first_what_has_drifted() -> None:
    text = read(page_of(REPORT, "?window=15m").body.decode())
    before, _, after = " ".join(text.split()).partition("Features")
    for told in (
        "Drift, last 15 minutes",
        "2 of 3 features and the predictions have drifted.",
        "width <img src=x>: three quarters of the rows lie above all that training saw",
        "2024-05-06 06:08:09 UTC",
    ):
        assert told in before.replace("\N{NO-BREAK SPACE}", " ")
    assert "As in training." in after


def test_nothing_that_a_name_holds_becomes_part_of_the_page() -> None:
    page = page_of(REPORT).body.decode()
    assert "<img" not in page
    assert "<b>" not in page
    text = read(page)
    for name in ("width <img src=x>", '"colour"', SLY[0], SLY[1], SLY[3]):
        assert name in text
    assert SLY[2] not in text  # it is cut short
    assert f"{'x' * 59}…" in text
    assert (
        f"<bdi>{SLY[3]}</bdi>" in page
    )  # what turns the direction of writing turns it there alone


def test_bars_are_as_long_as_the_shares_beside_the_longest() -> None:
    (told,) = report(compared(number("n"), HALVES, {"0": 100, "above": 300}, edges=(4.5,)))[
        "features"
    ]
    page = page_of(
        {**REPORT, "features": [told], "predictions": [], "confidence": []}
    ).body.decode()
    lengths = re.findall(r'<div class="(then|now)" style="width:(.*?)">', page)
    assert lengths == [
        *[("then", "0"), ("now", "0")],  # below
        *[("then", "max(1px, 66.67%)"), ("now", "max(1px, 33.33%)")],
        *[("then", "max(1px, 66.67%)"), ("now", "0")],
        *[("then", "0"), ("now", "max(1px, 100.00%)")],  # above
    ]


def test_without_rows_the_page_shows_training_alone() -> None:
    text = " ".join(read(page_of(EMPTY).body.decode()).split())
    assert "No rows came." in text
    assert "The predictions" in text  # of no target
    assert "60 %\N{EN DASH}" in text
    assert "index" not in text.partition("How to read it")[0]


def test_a_young_server_and_features_that_are_left_out_are_told() -> None:
    young = {**REPORT, "since": "2024-05-06T06:58:09Z", "features_left_out": 2}
    text = " ".join(read(page_of(young).body.decode()).split())
    assert "the server has counted for no longer" in text
    assert "2 features less important than these are not watched" in text
    old = read(page_of(REPORT).body.decode())
    assert "for no longer" not in old
    assert "not watched" not in old


@pytest.mark.parametrize("window", ["1h", "6h", "90m"])
def test_the_page_leads_to_other_windows(window: str) -> None:
    page = page_of(REPORT, f"?window={window}").body.decode()
    links = re.findall(r'<a href="\?window=(\w+)"( aria-current="page")?>', page)
    assert [link for link, _ in links] == ["15m", "1h", "6h", "24h"]
    assert [link for link, is_here in links if is_here] == [window] * (window != "90m")
