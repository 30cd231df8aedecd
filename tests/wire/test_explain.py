"""Explanations over the wire: they add up to what is answered, or are refused with the reason."""

import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_schema_validator import OAS31Validator

from tests.server import BATCH, Server, run_python, serving
from tests.trained import copy_of
from tests.wire.explained_models import MODELS
from tests.wire.problems import assert_problem

EXPLAIN, ALL = "?explain=true", "?explain=all"
MAX_ROWS = 4
CSV, NDJSON = "text/csv", "application/x-ndjson"
BIRDS: list[list[Any]] = [
    ["north", 41.5, 2003, True],
    ["south", None, 2020, False],  # which is not known
    ["elsewhere", 60.25, 1990, True],  # which training has not seen
]
SIZES = [[1.5, -2.25, 0.125], [0.0, 0.0, 0.0], [-9.5, 40.0, 3.0]]
IRIS = [[5.125, 3.5, 1.5, 0.25], [9.0, 1.0, 1.0, 0.0], [6.75, 3.0, 5.0, 2.25]]
# By name: the way, what contributions add up to, and rows.
HOW: dict[str, tuple[str, str, list[list[Any]]]] = {
    "forest": ("trees", "probability", BIRDS),
    "boosting": ("trees", "log-odds", BIRDS),
    "mass": ("linear", "value", SIZES),
    "iris": ("enumeration", "probability", IRIS),
}


def fit(home: Path) -> None:
    """Train all."""
    run_python(home, "-m", "tests.wire.explained_models", str(home))


@pytest.fixture(scope="module")
def store(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the model store, with the default model too."""
    store = copy_of(fit, "explained", tmp_path_factory.mktemp("explained"))
    shutil.copytree(home / "models" / "iris", store / "models" / "iris", symlinks=True)
    return store


@pytest.fixture(scope="module")
def explained(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve all."""
    output = tmp_path_factory.mktemp("served") / "output"
    names = ",".join([*MODELS, "iris"])
    settings = {"SERVING_MODELS": names, "SERVING_EXPLAIN_MAX_ROWS": str(MAX_ROWS)}
    with serving(store, output, **settings) as server:
        yield server


def path_of(name: str, query: str = EXPLAIN, batch: str = "") -> str:
    """Give the path of a model."""
    return f"/models/{name}{batch or '/predict'}{query}"


def total(told: dict[str, Any]) -> float:
    """Add an explanation up to what is answered."""
    summed = told["base"] + math.fsum(told["contributions"].values())
    return 1 / (1 + math.exp(-summed)) if told["output"] == "log-odds" else summed


def answered(prediction: dict[str, Any], of: str) -> float:
    """Give the number that is explained."""
    return float(prediction.get("probabilities", {}).get(of, prediction["prediction"]))


@pytest.mark.parametrize("name", HOW)
def test_contributions_add_up_to_what_is_answered_alone_as_in_a_batch(
    explained: Server, name: str
) -> None:
    method, output, rows = HOW[name]
    info = explained.http.get(f"/models/{name}/info").json()
    features = [feature["name"] for feature in info["features"]]
    before = explained.metric("serving_explanations_total", model_name=name, method=method)
    batch = explained.ask(rows, path_of(name, batch=BATCH)).raise_for_status().json()
    for row, together in zip(rows, batch["predictions"], strict=True):
        alone = explained.ask(row, path_of(name)).raise_for_status().json()
        for prediction in (alone, together):
            told = prediction["explanation"]
            assert list(told) == ["of", "output", "base", "contributions", "exact"]
            assert (told["output"], told["exact"]) == (output, True)
            assert list(told["contributions"]) == features
            assert told["of"] == (prediction["prediction"] if info["classes"] else "mass")
            assert total(told) == pytest.approx(answered(prediction, told["of"]), abs=1e-9)
        assert alone["explanation"]["contributions"] == pytest.approx(
            together["explanation"]["contributions"], abs=1e-9
        )
    after = explained.metric("serving_explanations_total", model_name=name, method=method)
    assert after - before == 2 * len(rows)
    count = explained.metric("serving_explanation_duration_seconds_count", model_name=name)
    assert count == after


@pytest.mark.parametrize(
    ("name", "labels"), [("forest", ["A", "B", "C"]), ("boosting", ["f", "m"])]
)
def test_all_classes_are_explained_in_their_order(
    explained: Server, name: str, labels: list[str]
) -> None:
    answer = explained.ask(BIRDS[0], path_of(name, ALL)).raise_for_status().json()
    assert [told["of"] for told in answer["explanation"]] == labels
    for told in answer["explanation"]:
        assert total(told) == pytest.approx(answered(answer, told["of"]), abs=1e-9)


@pytest.mark.parametrize("query", [EXPLAIN, ALL])
def test_each_of_several_targets_is_explained(explained: Server, query: str) -> None:
    answer = explained.ask(SIZES[0], path_of("sizes", query)).raise_for_status().json()
    told = answer["explanation"]
    assert [each["target"] for each in told] == ["mass", "height"]
    assert list(map(total, told)) == pytest.approx(answer["prediction"], abs=1e-9)


def test_what_was_explained_is_kept_and_logged_as_such(explained: Server) -> None:
    row = ["west", 39.75, 2011, False]

    def ask(query: str) -> httpx.Response:
        return explained.ask(row, path_of("forest", query)).raise_for_status()

    first, again, plain, of_all = ask(EXPLAIN), ask(EXPLAIN), ask(""), ask(ALL)
    told = [answer.headers["cache-status"] for answer in (first, again, plain, of_all)]
    assert told == ["model-api; fwd=miss; stored", *["model-api; hit"] * 3]
    assert again.json()["explanation"] == first.json()["explanation"]
    assert first.json()["explanation"] in of_all.json()["explanation"]
    assert "explanation" not in plain.json()
    lines = [explained.log_of(answer.headers["x-request-id"]) for answer in (first, plain)]
    assert [line.get("explained") for line in lines] == [1, None]
    assert "39.75" not in str(lines)


def test_it_is_as_the_document_says(explained: Server) -> None:
    document = explained.http.get("/docs.json").json()
    for name, told in {"forest": True, "sizes": True, "clusters": False}.items():
        operation = document["paths"][f"/models/{name}/predict"]["post"]
        assert ("explain" in [p["name"] for p in operation.get("parameters", ())]) is told
    content = document["paths"]["/predict"]["post"]["responses"]["200"]["content"]
    schema = {**content["application/json"]["schema"], "components": document["components"]}
    for query in ("", EXPLAIN, ALL):
        OAS31Validator(schema).validate(explained.ask(BIRDS[0], f"/predict{query}").json())


def test_what_is_not_explained_is_refused(explained: Server) -> None:
    answer = explained.ask(SIZES[0] + SIZES[1][:2], path_of("clusters"))
    problem = assert_problem(explained, answer, 422, "not-explained")
    assert problem["detail"] == "predictions are not explained: a cluster is no number"
    info = explained.http.get("/models/clusters/info").json()
    assert info["explained"] == {"why_not": "a cluster is no number"}
    rows = [SIZES[0]] * (MAX_ROWS + 1)
    assert_problem(
        explained, explained.ask(rows, path_of("mass", batch=BATCH)), 413, "batch-too-large"
    )
    for query in ("?explain=yes", "?explain=true&explain=true"):
        answer = explained.ask(SIZES[0], path_of("mass", query))
        assert (answer.status_code, answer.json()["title"]) == (422, "Invalid input")


def test_rows_of_any_format_are_explained_in_json(explained: Server) -> None:
    lines = "".join(f"[{', '.join(map(str, row))}]\n" for row in SIZES)
    path = path_of("mass", batch=BATCH)

    def post(body: str, media_type: str, accept: str) -> httpx.Response:
        headers = {"content-type": media_type, "accept": accept}
        return explained.http.post(path, content=body, headers=headers)

    answers = [
        post(lines, NDJSON, "*/*"),
        post(lines.translate(str.maketrans("", "", "[] ")), CSV, "application/json"),
    ]
    told = [[each["explanation"] for each in answer.json()["predictions"]] for answer in answers]
    assert told[0] == told[1]
    assert len(told[0]) == len(SIZES)
    for body, media_type in ((lines, NDJSON), (lines, CSV)):
        refused = post(body, media_type, media_type)
        assert_problem(explained, refused, 406, "not-acceptable")
