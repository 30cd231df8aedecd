"""The bodies: what is accepted comes in unchanged, what is refused is refused in full."""

import json
import math
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import FieldError, Problem
from serving.schemas import (
    MAX_NAME_CHARS,
    MAX_PROBLEMS,
    AnswerWriter,
    Prediction,
    RequestSchema,
    Row,
    parse_json,
)
from tests.unit.samples import feature

LIMIT = 1e12
NAMES = ("length", "a/b ~c", "ünï")
MAX_ROWS = 7
SCHEMA = RequestSchema([feature(name, LIMIT) for name in NAMES], MAX_ROWS)
ROW = [1.5, 2.0, -3.25]

numbers = st.floats(-LIMIT, LIMIT) | st.integers(-(10**12), 10**12)
rows = st.lists(numbers, min_size=len(NAMES), max_size=len(NAMES))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.sampled_from([*NAMES, "data", "~", ""]), inner, max_size=4)
    ),
    max_leaves=12,
)
nearly_rows = st.lists(json_values | numbers, min_size=2, max_size=4) | st.dictionaries(
    st.sampled_from([*NAMES, "x"]), json_values | numbers, max_size=4
)
nearly_bodies = st.fixed_dictionaries(
    {"data": nearly_rows | st.lists(nearly_rows, max_size=MAX_ROWS + 1) | json_values},
    optional={"x": json_values},
)


def body(data: object) -> bytes:
    """Write a body; Python's own writer, so that nothing is tested against itself."""
    return json.dumps({"data": data}).encode()


def refusal(read: Callable[[bytes], object], text: bytes) -> Problem:
    """Read a body that is refused."""
    with pytest.raises(Problem) as caught:
        read(text)
    return caught.value


def mistakes(data: object) -> list[tuple[str, str]]:
    """Tell the mistakes in one instance, as pairs of pointer and detail."""
    problem = refusal(SCHEMA.instance, body(data))
    assert problem.kind.status == 422
    return [(error.pointer, error.detail) for error in problem.errors]


def resolve(document: Any, pointer: str) -> Any:  # noqa: ANN401 (any JSON)
    """Follow a JSON Pointer (RFC 6901, section 4)."""
    if not pointer:
        return document
    assert pointer[0] == "/"
    for part in pointer[1:].split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        document = document[int(name)] if isinstance(document, list) else document[name]
    return document


def assert_points_into(document: object, error: FieldError) -> None:
    """Check that an error's place is there; of what is missing, that its parent is."""
    if error.detail == "missing":
        parent, _, name = error.pointer.rpartition("/")
        assert name.replace("~1", "/").replace("~0", "~") not in resolve(document, parent)
    else:
        resolve(document, error.pointer)


# What is accepted


def test_a_list_of_values_becomes_a_row() -> None:
    assert SCHEMA.instance(body(ROW)) == tuple(ROW)


def test_an_object_by_feature_name_becomes_a_row_in_the_model_s_order() -> None:
    named = dict(reversed(list(zip(NAMES, ROW, strict=True))))
    assert SCHEMA.instance(body(named)) == tuple(ROW)


def test_a_batch_may_mix_both_forms() -> None:
    assert SCHEMA.batch(body([ROW, dict(zip(NAMES, ROW, strict=True))])) == [tuple(ROW)] * 2


def test_an_empty_batch_is_a_batch() -> None:
    assert SCHEMA.batch(body([])) == []


def test_a_model_of_one_feature_takes_both_forms() -> None:
    single = RequestSchema([feature("x")], MAX_ROWS)
    assert single.instance(body([3])) == (3.0,)
    assert single.instance(body({"x": 3})) == (3.0,)
    assert single.batch(body([[3], {"x": 4}])) == [(3.0,), (4.0,)]


def test_integers_become_floats() -> None:
    row = SCHEMA.instance(body([1, 2, 3]))
    assert [type(value) for value in row] == [float] * 3


def test_the_bounds_of_the_domain_belong_to_it() -> None:
    assert SCHEMA.instance(body([LIMIT, -LIMIT, 0])) == (LIMIT, -LIMIT, 0.0)


@given(rows)
def test_accepted_numbers_arrive_exactly_as_sent(row: list[float]) -> None:
    for sent in (row, dict(zip(NAMES, row, strict=True))):
        arrived = SCHEMA.instance(body(sent))
        assert arrived == tuple(map(float, row))
        assert [math.copysign(1, a) for a in arrived] == [math.copysign(1, s) for s in row]


@given(st.lists(rows, max_size=MAX_ROWS))
def test_a_batch_arrives_as_its_rows_would_alone(batch: list[list[float]]) -> None:
    assert SCHEMA.batch(body(batch)) == [SCHEMA.instance(body(row)) for row in batch]


# What is not JSON: 400


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"   ",
        b"\xff\xfe",
        b'{"data": [1, 2, 3]',
        b'{"data": [1, 2, 3]} {}',
        b"{'data': [1, 2, 3]}",
        b'{"data": [1, 2, 3,]}',
        b'{"data": [01, 2, 3]}',
        b'{"data": [+1, 2, 3]}',
        b'{"data": [0x1, 2, 3]}',
        b'{"data": [NaN, 2, 3]}',
        b'{"data": [Infinity, 2, 3]}',
        b'{"data": [-Infinity, 2, 3]}',
        b'{"data": [1' + b"0" * 5000 + b", 2, 3]}",
        b'{"data": [1, 2, 3], "data": [1, 2, 3]}',
        b'{"data": {"length": 1, "length": 2}}',
        b'{"data": {"x": {"y": 1, "y": 2}}}',
        b'{"data": "\\ud800"}',
        b'{"data": "\n"}',
        b"[" * 100_000,
        b'{"data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 100_000,
    ],
    ids=lambda text: text[:24],
)
def test_what_is_not_json_is_malformed(text: bytes) -> None:
    for read in (SCHEMA.instance, SCHEMA.batch):
        problem = refusal(read, text)
        assert problem.kind.slug == "malformed-body"
        assert problem.detail


def test_a_malformed_body_is_told_where_reading_stopped() -> None:
    assert refusal(parse_json, b'{"data":\n [1, 2, oops]}').detail.endswith("at line 2 column 9")


def test_a_key_given_twice_is_not_echoed() -> None:
    problem = refusal(parse_json, b'{"secret": 1, "secret": 2}')
    assert problem.detail.startswith("a key is given twice at line 1")
    assert "secret" not in problem.detail


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" + "0" * 400], ids=len)
def test_a_number_that_overflows_a_double_is_malformed(number: str) -> None:
    for read, data in (
        (SCHEMA.instance, f"[1, {number}, 3]"),
        (SCHEMA.instance, f'{{"length": {number}, "a/b ~c": 2, "ünï": 3}}'),
        (SCHEMA.instance, f'{{"length": 1, "other": [{{"deep": {number}}}]}}'),
        (SCHEMA.batch, f"[[1, 2, 3], [1, {number}, 3]]"),
        (SCHEMA.batch, number),
    ):
        problem = refusal(read, f'{{"data": {data}}}'.encode())
        assert problem.kind.slug == "malformed-body"
        assert problem.detail == "a number overflows a double"


@pytest.mark.parametrize("number", ["1e300", "1e-400", "1" * 309, '"1e400"'])
def test_a_large_number_that_a_double_holds_is_not_malformed(number: str) -> None:
    problem = refusal(SCHEMA.instance, f'{{"data": [1, {number}, 3, 4]}}'.encode())
    assert problem.kind.slug == "invalid-input"


@given(st.binary(max_size=40))
def test_no_bytes_can_break_the_reader(text: bytes) -> None:
    for read in (SCHEMA.instance, SCHEMA.batch):
        problem = refusal(read, text)
        assert problem.kind.status in (400, 422)


# What the model does not take: 422


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, "a boolean"),
        (False, "a boolean"),
        (None, "null"),
        ("1.5", "a string"),
        ("NaN", "a string"),
        ([1], "an array"),
        ({"x": 1}, "an object"),
    ],
)
def test_only_a_number_is_a_number(value: object, kind: str) -> None:
    assert mistakes([1, value, 3]) == [("/data/1", f"expected a number, got {kind}")]
    named = {**dict(zip(NAMES, ROW, strict=True)), "a/b ~c": value}
    assert mistakes(named) == [("/data/a~1b ~0c", f"expected a number, got {kind}")]


@pytest.mark.parametrize("value", [1e308, -1e308, math.nextafter(LIMIT, math.inf), -(10**13)])
def test_a_number_outside_the_domain_is_refused_with_the_domain(value: float) -> None:
    expected = f"expected a number between {-LIMIT!r} and {LIMIT!r}"
    assert mistakes([1, 2, value]) == [("/data/2", expected)]


@pytest.mark.parametrize("count", [0, 1, 2, 4, 300])
def test_a_row_has_as_many_values_as_the_model_features(count: int) -> None:
    assert mistakes([1] * count) == [("/data", f"expected 3 values, got {count}")]


@pytest.mark.parametrize(
    ("data", "kind"),
    [(None, "null"), (5, "a number"), ("x", "a string"), (True, "a boolean")],
)
def test_an_instance_is_an_array_or_an_object(data: object, kind: str) -> None:
    wanted = "expected an array of values or an object by feature name"
    assert mistakes(data) == [("/data", f"{wanted}, got {kind}")]


@pytest.mark.parametrize(
    ("data", "kind"),
    [({}, "an object"), (None, "null"), (5, "a number"), ("x", "a string")],
)
def test_a_batch_is_an_array(data: object, kind: str) -> None:
    problem = refusal(SCHEMA.batch, body(data))
    assert problem.errors == [FieldError("/data", f"expected an array of instances, got {kind}")]


@pytest.mark.parametrize(
    ("document", "kind"), [("[]", "an array"), ("null", "null"), ("1", "a number")]
)
def test_a_body_is_an_object(document: str, kind: str) -> None:
    for read in (SCHEMA.instance, SCHEMA.batch):
        problem = refusal(read, document.encode())
        assert problem.errors == [FieldError("", f'expected an object {{"data": …}}, got {kind}')]


def test_every_mistake_is_listed_with_its_place() -> None:
    assert mistakes({"length": "long", "x/y": 1, "ünï": None}) == [
        ("/data/a~1b ~0c", "missing"),
        ("/data/x~1y", "unknown name"),
        ("/data/length", "expected a number, got a string"),
        ("/data/ünï", "expected a number, got null"),
    ]


def test_an_object_with_as_many_names_as_features_may_still_have_the_wrong_ones() -> None:
    assert mistakes({"length": 1, "a/b ~c": 2, "uni": 3}) == [
        ("/data/ünï", "missing"),
        ("/data/uni", "unknown name"),
    ]


def test_a_body_without_data_tells_what_it_has_instead() -> None:
    problem = refusal(SCHEMA.instance, b'{"Data": [1, 2, 3]}')
    assert problem.errors == [FieldError("/data", "missing"), FieldError("/Data", "unknown name")]


def test_unknown_members_beside_good_data_are_refused() -> None:
    for read, data in ((SCHEMA.instance, ROW), (SCHEMA.batch, [ROW])):
        problem = refusal(read, json.dumps({"data": data, "extra": 1}).encode())
        assert problem.errors == [FieldError("/extra", "unknown name")]


def test_unknown_members_beside_bad_data_are_listed_too() -> None:
    problem = refusal(SCHEMA.batch, b'{"data": [[1, 2, 3], [1, 2]], "extra": 1}')
    assert [error.pointer for error in problem.errors] == ["/extra", "/data/1"]


def test_the_place_of_a_mistake_in_a_batch_names_its_row() -> None:
    problem = refusal(SCHEMA.batch, body([ROW, [1, "x", 3], {"length": 1}]))
    assert [error.pointer for error in problem.errors] == [
        "/data/1/1",
        "/data/2/a~1b ~0c",
        "/data/2/ünï",
    ]


def test_the_detail_counts_the_mistakes() -> None:
    assert refusal(SCHEMA.instance, body([1, "x", 3])).detail == "1 problem in the request body"
    assert refusal(SCHEMA.instance, body([1, "", ""])).detail == "2 problems in the request body"


@pytest.mark.parametrize(
    "data",
    [
        {f"x{n}": n for n in range(1000)},
        {"length": 1, "a/b ~c": 2, "ünï": 3} | {f"x{n}": n for n in range(1000)},
    ],
)
def test_no_more_mistakes_are_listed_than_the_limit(data: object) -> None:
    problem = refusal(SCHEMA.instance, body(data))
    assert len(problem.errors) == MAX_PROBLEMS
    assert problem.detail.startswith(f"{MAX_PROBLEMS} or more problems")


def test_no_more_mistakes_are_listed_for_a_batch_or_for_the_body_either() -> None:
    many = RequestSchema([feature("x")], 1000)
    assert len(refusal(many.batch, body([[None]] * 1000)).errors) == MAX_PROBLEMS
    extra = json.dumps({"data": [], **{f"x{n}": n for n in range(1000)}}).encode()
    assert len(refusal(many.batch, extra).errors) == MAX_PROBLEMS


def test_exactly_as_many_mistakes_as_the_limit_are_all_listed() -> None:
    many = RequestSchema([feature("x")], 1000)
    one_less = refusal(many.batch, body([[None]] * (MAX_PROBLEMS - 1)))
    assert one_less.detail == f"{MAX_PROBLEMS - 1} problems in the request body"
    assert len(one_less.errors) == MAX_PROBLEMS - 1


def test_an_over_long_name_is_not_repeated() -> None:
    name = "n" * (MAX_NAME_CHARS + 1)
    assert mistakes({**dict(zip(NAMES, ROW, strict=True)), name: 1}) == [
        ("/data", f"unknown name of {MAX_NAME_CHARS + 1} characters")
    ]


def test_input_values_are_never_repeated() -> None:
    for data in (["31415926", 2, 3], [31415926e10, 2, 3], {"length": "31415926"}, "31415926"):
        assert b"31415926" not in refusal(SCHEMA.instance, body(data)).body("id")


def test_too_many_rows_are_refused_before_any_is_looked_at() -> None:
    problem = refusal(SCHEMA.batch, body([["x"]] * (MAX_ROWS + 1)))
    assert problem.kind.slug == "batch-too-large"
    assert problem.detail == f"{MAX_ROWS + 1} rows, but at most {MAX_ROWS} are accepted"


def test_as_many_rows_as_the_limit_are_accepted() -> None:
    assert len(SCHEMA.batch(body([ROW] * MAX_ROWS))) == MAX_ROWS


@given(nearly_bodies | json_values)
def test_any_json_is_either_taken_exactly_or_refused_with_its_mistakes(document: object) -> None:
    text = json.dumps(document).encode()
    for read in (SCHEMA.instance, SCHEMA.batch):
        try:
            taken = read(text)
        except Problem as problem:
            assert_tells_all(problem, document)
        else:
            assert isinstance(document, dict)
            assert_same(taken, document["data"], one=read == SCHEMA.instance)


def assert_tells_all(problem: Problem, document: object) -> None:
    """Check that a refusal says what is wrong, at places that are there."""
    assert problem.kind.status in (400, 413, 422)
    assert (problem.kind.status == 422) == bool(problem.errors)
    for error in problem.errors:
        assert_points_into(document, error)
    orjson.loads(problem.body("id"))


def assert_same(taken: Row | list[Row], sent: Any, *, one: bool) -> None:  # noqa: ANN401 (any JSON)
    """Check that exactly the numbers sent were taken, as floats."""
    in_order = [
        [item[name] for name in NAMES] if isinstance(item, dict) else item
        for item in ([sent] if one else sent)
    ]
    assert ([taken] if one else taken) == [tuple(map(float, row)) for row in in_order]
    assert not any(isinstance(value, bool) for row in in_order for value in row)


# Answers


def writer(*classes: bool | int | float | str) -> AnswerWriter:
    """Give the writer of a model with these classes."""
    return AnswerWriter(classes, "mail", "v7")


def test_an_answer_has_the_label_the_probabilities_the_model_and_the_id() -> None:
    answer = writer("ham", "spam").instance(Prediction("spam", [0.25, 0.75]), "id-1")
    assert json.loads(answer) == {
        "prediction": "spam",
        "probabilities": {"ham": 0.25, "spam": 0.75},
        "model": {"name": "mail", "version": "v7"},
        "request_id": "id-1",
    }


def test_a_batch_answer_has_the_predictions_in_order() -> None:
    predictions = [Prediction("spam", [0.25, 0.75]), Prediction("ham", [1.0, 0.0])]
    assert json.loads(writer("ham", "spam").batch(predictions, "id-1")) == {
        "predictions": [
            {"prediction": "spam", "probabilities": {"ham": 0.25, "spam": 0.75}},
            {"prediction": "ham", "probabilities": {"ham": 1.0, "spam": 0.0}},
        ],
        "model": {"name": "mail", "version": "v7"},
        "request_id": "id-1",
    }


@pytest.mark.parametrize(("label", "key"), [(7, "7"), (1.5, "1.5"), (True, "true"), ("7", "7")])
def test_a_label_keeps_its_type_and_is_a_string_as_a_key(label: float | str, key: str) -> None:
    document = json.loads(writer(label).instance(Prediction(label, [1.0]), "id-1"))
    assert document["prediction"] == label
    assert type(document["prediction"]) is type(label)
    assert document["probabilities"] == {key: 1.0}


def test_probabilities_stand_in_the_order_of_the_classes() -> None:
    document = json.loads(writer("z", "a", "m").instance(Prediction("a", [0.1, 0.7, 0.2]), "id-1"))
    assert list(document["probabilities"]) == ["z", "a", "m"]


def test_a_model_without_probabilities_answers_without_them() -> None:
    assert "probabilities" not in json.loads(writer("a").instance(Prediction("a", None), "id-1"))


def test_probabilities_that_do_not_match_the_classes_are_never_written() -> None:
    with pytest.raises(ValueError, match="zip"):
        writer("a", "b").instance(Prediction("a", [1.0]), "id-1")


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2))
def test_doubles_read_back_the_same(probabilities: list[float]) -> None:
    answer = json.loads(writer("a", "b").instance(Prediction("a", probabilities), "id-1"))
    assert list(map(repr, answer["probabilities"].values())) == list(map(repr, probabilities))
