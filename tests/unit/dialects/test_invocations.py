"""What MLflow, SageMaker and vetiver post to ``/invocations``, and how it is answered."""

import csv
import io
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.dialects.dialect import Conversation, Sent, Telling
from serving.dialects.invocations import CUSTOM_ATTRIBUTES, WORDING, dialect
from serving.dialects.manners import cells_of
from serving.model.about import About
from serving.model.rows import MAX_PROBLEMS, Rows
from serving.problems import PROBLEM_TYPES, Problem
from serving.settings import Settings
from tests.unit.dialects.foreign import (
    ABOUT,
    GIVEN,
    IGNORED,
    MAX_ROWS,
    METHODS,
    MIXED_ABOUT,
    MIXED_ROW,
    MIXED_ROWS,
    NAMED,
    NAMES,
    PREDICTIONS,
    ROW,
    ROWS,
    answered,
    asked,
    assert_taken_or_refused,
    places,
    refusal,
    sent,
    validator,
)
from tests.unit.dialects.test_arrays import npy
from tests.unit.drawn import instances, json_values
from tests.unit.samples import EACH_TASK, MIXED

JSON, CSV, NPY = "application/json", "text/csv", "application/x-npy"
ROOT = Path(__file__).parents[3]
SPOKEN = dialect(Settings())
INVOCATIONS: Conversation = SPOKEN.conversations["/invocations"]
MIXED_NAMES = [feature.name for feature in MIXED]
MIXED_NAMED = dict(zip(MIXED_NAMES, MIXED_ROW, strict=True))


def split(columns: Any, *lines: Any, **others: object) -> dict[str, Any]:  # noqa: ANN401 (any JSON)
    """Write a table as pandas does."""
    return {"dataframe_split": {"columns": columns, "data": lines, **others}}


def mixed_asked(document: object) -> list[Any]:
    """Ask a model with features of each type."""
    return asked(INVOCATIONS, sent(document), MIXED_ABOUT, MIXED_ROWS)


# JSON

FORMS: dict[str, Any] = {
    "split": split(MIXED_NAMES, MIXED_ROW),
    "split without columns": {"dataframe_split": {"data": [MIXED_ROW]}},
    "split of a frame without names": split(list(range(len(MIXED))), MIXED_ROW),
    "records": {"dataframe_records": [MIXED_NAMED]},
    "instances": {"instances": [MIXED_ROW]},
    "instances by name": {"instances": [MIXED_NAMED]},
    "inputs": {"inputs": [MIXED_ROW]},
    "inputs by name": {"inputs": [MIXED_NAMED]},
    "inputs by column": {"inputs": {name: [v] for name, v in MIXED_NAMED.items()}},
    "inputs by column of one": {"inputs": {name: [[v]] for name, v in MIXED_NAMED.items()}},
    "list": [MIXED_ROW],
    "list by name": [MIXED_NAMED],
    "list of values": MIXED_ROW,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_table_may_have_any_form(form: str) -> None:
    assert mixed_asked(FORMS[form]) == [tuple(MIXED_ROW)]
    if type(FORMS[form]) is dict:
        assert mixed_asked(FORMS[form] | {"params": {}, "whatever": 1}) == [tuple(MIXED_ROW)]


@pytest.mark.parametrize("form", FORMS)
def test_a_gap_is_null_or_the_word_that_pandas_writes(form: str) -> None:
    body = json.dumps(FORMS[form]).replace(json.dumps(MIXED[1].example), "NaN")
    (row,) = asked(INVOCATIONS, sent(body.encode()), MIXED_ABOUT, MIXED_ROWS)
    assert row == (MIXED_ROW[0], None, *MIXED_ROW[2:])


def test_a_bare_list_is_answered_bare_and_an_object_with_an_object() -> None:
    for document, written in (
        ([ROW, ROW], ["ham", "spam"]),
        ([NAMED, NAMED], ["ham", "spam"]),
        ({"instances": [ROW, ROW]}, {"predictions": ["ham", "spam"]}),
    ):
        request = INVOCATIONS.read(sent(document), ABOUT, ROWS)
        assert json.loads(answered(request, "one label").body) == written
    empty: Any
    for empty in ([], {"inputs": []}, split(list(NAMES)), {"inputs": {n: [] for n in NAMES}}):
        assert asked(INVOCATIONS, sent(empty)) == []


def test_an_object_has_one_form_alone() -> None:
    wrong: Any
    for wrong in ({}, {"data": [ROW]}, {"instances": [ROW], "inputs": [ROW]}):
        (error,) = refusal(INVOCATIONS, sent(wrong)).errors
        assert error.detail == (
            "expected one of dataframe_split, dataframe_records, instances, inputs"
        )
    for nothing in (None, 1, "x"):
        (error,) = refusal(INVOCATIONS, sent(nothing)).errors
        assert error.detail.startswith("expected an object or an array of instances, got")


def test_columns_stand_in_any_order_among_others_that_are_ignored() -> None:
    columns = ["kind", *reversed(MIXED_NAMES), "id/~"]
    line = [{"any": "thing"}, *reversed(MIXED_ROW), None]
    index = ["Dream", None]
    assert mixed_asked(split(columns, line, line, index=index, names=[1])) == [tuple(MIXED_ROW)] * 2
    by_column = {name: [value] * 2 for name, value in reversed(MIXED_NAMED.items())}
    assert mixed_asked({"inputs": by_column | {"kind": 7}}) == [tuple(MIXED_ROW)] * 2


def test_an_index_may_have_gaps() -> None:
    body = b'{"dataframe_split": {"index": [NaN, "x"], "columns": ["a/b ~c", "length"], '
    assert asked(INVOCATIONS, sent(body + b'"data": [[2, 1.5], [2, 1.5]]}}')) == [tuple(ROW)] * 2


def test_all_that_is_wrong_with_columns_is_told() -> None:
    columns = ["a/b ~c", "other", "a/b ~c", 7, "kind", "kind"]
    told = refusal(INVOCATIONS, sent(split(columns, ROW))).errors
    assert [(error.pointer, error.detail) for error in told] == [
        ("/dataframe_split/columns/1", "unknown name"),
        ("/dataframe_split/columns/2", "given twice"),
        ("/dataframe_split/columns/3", "expected a string, got a number"),
        ("/dataframe_split/columns/5", "given twice"),
        ("/dataframe_split/columns", "the column length is missing"),
    ]
    wrong: Any
    for wrong in (None, {}, "length"):
        assert places(refusal(INVOCATIONS, sent(split(wrong, ROW)))) == ["/dataframe_split/columns"]
    many = refusal(INVOCATIONS, sent(split([f"x{n}" for n in range(1000)], ROW))).errors
    assert len(many) == MAX_PROBLEMS


def test_all_that_is_wrong_with_lines_is_told_at_its_place() -> None:
    lines = [["x", 1.5], [1], ROW, {"a": 1}, [2.0, None, 3]]
    place = "/dataframe_split/data"
    backwards = refusal(INVOCATIONS, sent(split([*reversed(NAMES)], *lines)))
    assert places(backwards) == [f"{place}/1", f"{place}/3", f"{place}/4", f"{place}/0/0"]
    forwards = refusal(INVOCATIONS, sent(split([*NAMES], ["x", None], [1])))
    assert places(forwards) == [f"{place}/0/0", f"{place}/0/1", f"{place}/1"]
    wrong: Any
    for wrong in (None, 1, {}):
        body = sent({"dataframe_split": {"columns": [*reversed(NAMES)], "data": wrong}})
        assert places(refusal(INVOCATIONS, body)) == [place]
    assert places(refusal(INVOCATIONS, sent({"dataframe_split": {}}))) == [place]
    assert places(refusal(INVOCATIONS, sent({"dataframe_split": [ROW]}))) == ["/dataframe_split"]


def test_what_is_unusual_is_told_at_its_place_too() -> None:
    for document, place in (
        (split([*reversed(NAMES)], [99, 1]), "/dataframe_split/data/0/0"),
        ({"inputs": {"length": [[1]], "a/b ~c": [[99]]}}, "/inputs/a~1b ~0c/0/0"),
        ([1, 99], "/1"),
    ):
        (warning,) = INVOCATIONS.read(sent(document), ABOUT, ROWS).question.warnings
        assert warning.pointer == place


def test_all_that_is_wrong_with_columns_of_values_is_told_at_its_place() -> None:
    for columns, told in (
        ({"length": [1], "x": [1]}, ["/inputs/a~1b ~0c", "/inputs/x"]),
        ({"length": 1, "a/b ~c": None}, ["/inputs/length", "/inputs/a~1b ~0c"]),
        ({"length": [1], "a/b ~c": [1, 2]}, ["/inputs/length", "/inputs/a~1b ~0c"]),
        ({"length": ["x"], "a/b ~c": [[None]]}, ["/inputs/length/0", "/inputs/a~1b ~0c/0/0"]),
        ({"length": [[1], 2], "a/b ~c": [1, [1, 2]]}, ["/inputs/length/0", "/inputs/a~1b ~0c/1"]),
    ):
        assert places(refusal(INVOCATIONS, sent({"inputs": columns}))) == told


def test_in_a_bare_list_places_begin_with_the_row_if_there_are_rows() -> None:
    assert places(refusal(INVOCATIONS, sent([ROW, ["x", 2], NAMED | {"x": 1}, [1], 1]))) == [
        "/1/0",
        "/2/x",
        "/3",
        "/4",
    ]
    assert places(refusal(INVOCATIONS, sent(["x", 2]))) == ["/0"]
    assert places(refusal(INVOCATIONS, sent([1, 2, 3]))) == [""]


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs": [[1, 1e400]]}',
        b'{"inputs": [[1, 2]], "whatever": [1e400]}',
        b'{"inputs": [[1, 2]], "params": {"x": 1e400}}',
        b'{"inputs": {"length": [1], "a/b ~c": [2], "kind": {"x": 1e400}}}',
        b'{"dataframe_split": {"data": [[1, 2]], "index": [1e400]}}',
        b'{"dataframe_split": {"columns": ["kind", "length", "a/b ~c"], "data": [[1e400, 1, 2]]}}',
        b"[[1, Infinity]]",
        b'{"inputs": [], "inputs": []}',
    ],
)
def test_json_is_as_strict_as_ever(body: bytes) -> None:
    assert refusal(INVOCATIONS, sent(body)).kind.slug == "malformed-body"


# Methods


@pytest.mark.parametrize("task", EACH_TASK)
@pytest.mark.parametrize("method", METHODS)
def test_a_model_says_what_the_method_gives_that_it_has(task: str, method: str) -> None:
    about = About(EACH_TASK[task], "v7")
    in_body = sent({"inputs": [ROW], "params": {"predict_method": method, "x": 1}})
    in_header = sent([ROW], headers={CUSTOM_ATTRIBUTES: f"trace=1,, predict_method = {method} ,y"})
    if method in GIVEN[task]:
        given = GIVEN[task][method]
        request = INVOCATIONS.read(in_body, about, ROWS)
        assert json.loads(answered(request, task).body) == {"predictions": given}
        request = INVOCATIONS.read(in_header, about, ROWS)
        assert json.loads(answered(request, task).body) == given
    else:
        assert places(refusal(INVOCATIONS, in_body, about)) == ["/params/predict_method"]
        (error,) = refusal(INVOCATIONS, in_header, about).errors
        assert error.detail.endswith(f"to be one of {', '.join(GIVEN[task])}")


def test_what_the_body_asks_for_goes_before_what_a_header_does() -> None:
    headers = {CUSTOM_ATTRIBUTES: "predict_method=predict_proba"}
    for params, first in (
        ({"predict_method": "predict"}, "ham"),
        (None, PREDICTIONS["one label"][0].probabilities),
    ):
        body = sent({"inputs": [ROW], "params": params}, headers=headers)
        request = INVOCATIONS.read(body, ABOUT, ROWS)
        assert json.loads(answered(request, "one label").body)["predictions"][0] == first


# Media types

TABLES = {
    JSON: sent([ROW, ROW]),
    "": sent(json.dumps([ROW, ROW]).encode(), ""),
    CSV: sent(b"1.5,2\n1.5,2\n", CSV),
    NPY: sent(npy([ROW, ROW]), NPY),
}


def test_bodies_are_read_as_what_they_are_declared_to_be() -> None:
    assert set(INVOCATIONS.reads) == set(TABLES)
    for body in TABLES.values():
        assert asked(INVOCATIONS, body) == [tuple(ROW)] * 2


def test_a_table_may_have_more_rows_than_a_batch() -> None:
    count = 3 * MAX_ROWS + 1
    for body in (
        sent([ROW] * count),
        sent({"dataframe_records": [NAMED] * count}),
        sent(split([*reversed(NAMES)], *([ROW] * count))),
        sent({"inputs": {name: [1] * count for name in NAMES}}),
        sent(b"1.5,2\n" * count, CSV),
        sent(npy([ROW] * count), NPY),
    ):
        assert len(asked(INVOCATIONS, body)) == count


@pytest.mark.parametrize("media_type", TABLES)
@pytest.mark.parametrize("task", EACH_TASK)
def test_an_answer_of_any_form_reads_back_the_same(task: str, media_type: str) -> None:
    about = About(EACH_TASK[task], "v7")
    for method, given_values in GIVEN[task].items():
        headers = {CUSTOM_ATTRIBUTES: f"predict_method={method}"}
        body = TABLES[media_type]._replace(headers=headers)
        told = INVOCATIONS.read(body, about, ROWS).write(PREDICTIONS[task], "id-1")
        predictions = json.loads(told.body)
        assert predictions == (
            given_values if media_type in {JSON, ""} else {"predictions": given_values}
        )

        lines = [cells_of(value) for value in given_values]
        told = answered(INVOCATIONS.read(body._replace(wanted=CSV), about, ROWS), task)
        assert (told.media_type, told.body[-1:]) == ("text/csv; charset=utf-8", b"\n")
        texts = csv.reader(io.StringIO(told.body.decode(), newline=""), strict=True)
        assert [
            list(map(_typed_as, line, text)) for line, text in zip(lines, texts, strict=True)
        ] == lines

        told = answered(INVOCATIONS.read(body._replace(wanted=NPY), about, ROWS), task)
        array = np.load(io.BytesIO(told.body), allow_pickle=False)
        assert told.media_type == NPY
        expected = lines if type(given_values[0]) is list else given_values
        if array.dtype.kind == "U":
            expected = np.array(expected).astype(str).tolist()
        assert array.tolist() == expected


def _typed_as(cell: Any, text: str) -> Any:  # noqa: ANN401 (a label or a number)
    return type(cell)(text)


def test_csv_is_quoted_only_where_needed() -> None:
    about = About(EACH_TASK["one label"], "v7")
    request = INVOCATIONS.read(TABLES[CSV]._replace(wanted=CSV), about, ROWS)
    assert answered(request, "one label").body == b"ham\nspam\n"


# Whatever comes

_columns = st.lists(st.sampled_from([*MIXED_NAMES, *IGNORED, "x"]), max_size=8) | json_values
_lines = st.lists(instances(MIXED, IGNORED), max_size=3)
_split = st.fixed_dictionaries(
    {},
    optional={
        "columns": st.permutations(MIXED_NAMES) | _columns,
        "data": _lines | st.lists(st.permutations(MIXED_ROW), max_size=2) | json_values,
        "index": json_values,
    },
)
_by_column = st.fixed_dictionaries(
    {name: st.lists(json_values, max_size=2) | json_values for name in MIXED_NAMES[:-1]},
    optional={name: st.lists(json_values, max_size=2) for name in (MIXED_NAMES[-1], "x", "kind")},
)
BODIES = (
    json_values
    | _lines
    | st.permutations(MIXED_ROW)
    | st.fixed_dictionaries(
        {},
        optional={
            "dataframe_split": _split | json_values,
            "dataframe_records": _lines | json_values,
            "params": json_values | st.fixed_dictionaries({"predict_method": json_values}),
        },
    )
    | st.fixed_dictionaries({"dataframe_split": _split})
    | st.fixed_dictionaries({"inputs": _by_column | _lines})
    | st.fixed_dictionaries({"instances": _lines}, optional={"x": json_values})
)


@settings(max_examples=200)
@given(BODIES)
def test_any_json_is_taken_or_refused_at_its_places(document: object) -> None:
    assert_taken_or_refused(INVOCATIONS, document, MIXED_ABOUT, MIXED_ROWS)


@settings(max_examples=100)
@given(BODIES)
def test_what_is_described_is_taken(document: object) -> None:
    told = INVOCATIONS.describe(MIXED_ABOUT, PREDICTIONS["one label"][0], MAX_ROWS)
    body = validator(told.bodies[JSON]["schema"], told.schemas)
    if body.is_valid(document):
        INVOCATIONS.read(sent(document), MIXED_ABOUT, MIXED_ROWS)


@given(st.binary(), st.sampled_from(list(TABLES)), st.text(max_size=40))
def test_any_bytes_are_taken_or_refused(body: bytes, media_type: str, attributes: str) -> None:
    headers = {CUSTOM_ATTRIBUTES: attributes}
    try:
        INVOCATIONS.read(Sent(body, media_type, JSON, headers), ABOUT, ROWS)
    except Problem as problem:
        assert WORDING.status(problem.kind) == 400  # noqa: PT017 (or it is none)


# What is told


@pytest.mark.parametrize("task", EACH_TASK)
def test_what_is_asked_and_answered_is_described(task: str) -> None:
    about, example = About(EACH_TASK[task], "v7"), PREDICTIONS[task][0]
    rows = Rows(about.description.features, MAX_ROWS)
    told = INVOCATIONS.describe(about, example, MAX_ROWS)
    body, answer = (
        validator(content[JSON]["schema"], told.schemas) for content in (told.bodies, told.answers)
    )
    for shown in told.bodies[JSON]["examples"].values():
        assert body.is_valid(shown["value"])
        request = INVOCATIONS.read(sent(shown["value"]), about, rows)
        assert answer.is_valid(json.loads(request.write([example], "id-1").body))
    for shown in told.answers[JSON]["examples"].values():
        assert answer.is_valid(shown["value"])
    table = told.bodies[CSV]["example"].encode()
    request = INVOCATIONS.read(Sent(table, CSV, CSV), about, rows)
    assert request.write([example], "id-1").body.decode() == told.answers[CSV]["example"]
    assert set(told.bodies) == set(INVOCATIONS.reads) - {""}
    assert set(told.answers) == set(INVOCATIONS.writes)


@pytest.mark.parametrize("kind", PROBLEM_TYPES.values(), ids=lambda kind: kind.slug)
def test_what_is_refused_has_mlflow_s_name_for_it(kind: Any) -> None:  # noqa: ANN401
    told = json.loads(WORDING.body(Problem(kind, "why"), "id-1", "/invocations"))
    assert WORDING.media_type == "application/problem+json"
    assert told["message"] == told["error"] == told["detail"] == "why"
    codes = {401: "UNAUTHENTICATED", 404: "ENDPOINT_NOT_FOUND", 429: "REQUEST_LIMIT_EXCEEDED"}
    codes |= {503: "TEMPORARILY_UNAVAILABLE", 504: "DEADLINE_EXCEEDED", 500: "INTERNAL_ERROR"}
    assert told["error_code"] == codes.get(told["status"], "BAD_REQUEST")
    assert told["status"] == (400 if kind.status == 422 else kind.status)


def telling(path: str, **variables: Any) -> Telling:  # noqa: ANN401 (any setting)
    """Give what is told at a path, by settings."""
    (told,) = [each for each in dialect(Settings(**variables)).tells if each.path == path]
    return told


def test_a_ping_is_open_and_tells_whether_the_service_is_ready() -> None:
    ping = telling("/ping")
    assert (ping.is_open, ping.ready, ping.media_type) == (True, True, "text/plain")
    assert ping.tell([ABOUT]) == "\n"


def test_the_version_is_the_product_s() -> None:
    version = telling("/version")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert (version.media_type, version.tell([ABOUT])) == ("text/plain", project["version"])
    assert not version.is_open


@pytest.mark.parametrize(
    ("variables", "at_once", "megabytes"),
    [
        ({}, 4, 1),
        ({"max_queue_rows": 2500}, 2, 1),
        ({"max_queue_rows": 1, "max_body_bytes": 1}, 1, 1),
        ({"max_batch_rows": 10_000, "max_body_bytes": 6 * 2**20 + 1}, 1, 6),
        ({"max_body_bytes": 2**30}, 4, 25),  # SageMaker refuses more than 100 MB at once
    ],
)
def test_batch_transform_is_told_what_the_settings_allow(
    variables: dict[str, Any], at_once: int, megabytes: int
) -> None:
    parameters = telling("/execution-parameters", **variables)
    told = {
        "MaxConcurrentTransforms": at_once,
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": megabytes,
    }
    assert parameters.tell([ABOUT]) == told
    assert validator(parameters.schema, {}).is_valid(told)
