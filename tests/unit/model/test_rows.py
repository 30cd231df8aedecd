"""The bodies: what is accepted comes in unchanged, what is refused is refused in full."""

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.dialects.ours import AnswerWriter
from serving.json_text import parse_json
from serving.model.description import Description, Label
from serving.model.domains import Choices, Lengths
from serving.model.features import Boolean, Category, Feature, Number, Row
from serving.model.outputs import Prediction
from serving.model.rows import MAX_NAME_CHARS, MAX_PROBLEMS, Instances, RequestSchema
from serving.problems import FieldError, Problem
from tests.unit.samples import (
    LIMIT,
    MIXED,
    PROBABILITIES,
    SCORES,
    asked,
    boolean,
    category,
    closed_category,
    clustering,
    description,
    integer,
    number,
    outlier_detection,
    regression,
    several_labels,
    text,
)

NAMES = ("length", "a/b ~c", "ünï")
MAX_ROWS = 7
NUMBERS = [number(name, (-LIMIT, LIMIT), (-LIMIT, LIMIT)) for name in NAMES]
SCHEMA = RequestSchema(NUMBERS, MAX_ROWS)
ROW = [1.5, 2.0, -3.25]

numbers = st.floats(-LIMIT, LIMIT) | st.integers(-(10**12), 10**12)
rows = st.lists(numbers, min_size=len(NAMES), max_size=len(NAMES))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
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


def refusal(read: Callable[[bytes], object], sent: bytes) -> Problem:
    """Read a body that is refused."""
    with pytest.raises(Problem) as caught:
        read(sent)
    return caught.value


def mistakes(data: object, schema: RequestSchema = SCHEMA) -> list[tuple[str, str]]:
    """Tell the mistakes in one instance, as pairs of pointer and detail."""
    problem = refusal(schema.instance, body(data))
    assert problem.kind.status == 422
    return [(error.pointer, error.detail) for error in problem.errors]


def taken(feature: Feature, value: object) -> object:
    """Give what a value of a feature becomes, by its name or by its place."""
    schema = RequestSchema([feature], MAX_ROWS)
    by_place, by_name = schema.instance(body([value])), schema.instance(body({feature.name: value}))
    assert repr(by_place.rows) == repr(by_name.rows)
    ((arrived,),) = by_place.rows
    return arrived


def mistake(feature: Feature, value: object) -> str:
    """Tell what is wrong with a value of a feature."""
    ((_, detail),) = mistakes([value], RequestSchema([feature], MAX_ROWS))
    return detail


def warnings(instances: Instances) -> list[tuple[str, str]]:
    """Tell what is unusual, as pairs of pointer and detail."""
    assert instances.unusual is not None
    return [(warning.pointer, warning.detail) for warning in instances.unusual.warnings]


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
    assert SCHEMA.instance(body(ROW)) == Instances([tuple(ROW)])


def test_an_object_by_feature_name_becomes_a_row_in_the_model_s_order() -> None:
    named = dict(reversed(list(zip(NAMES, ROW, strict=True))))
    assert SCHEMA.instance(body(named)) == Instances([tuple(ROW)])


def test_a_batch_may_mix_both_forms() -> None:
    both = [ROW, dict(zip(NAMES, ROW, strict=True))]
    assert SCHEMA.batch(body(both)) == Instances([tuple(ROW)] * 2)


def test_an_empty_batch_is_a_batch() -> None:
    assert SCHEMA.batch(body([])) == Instances([])


def test_a_model_of_one_feature_takes_both_forms() -> None:
    single = RequestSchema([number("x")], MAX_ROWS)
    assert single.instance(body([3])) == Instances([(3.0,)])
    assert single.instance(body({"x": 3})) == Instances([(3.0,)])
    assert single.batch(body([[3], {"x": 4}])) == Instances([(3.0,), (4.0,)])


def test_integers_become_floats_where_any_number_is_taken() -> None:
    (row,) = SCHEMA.instance(body([1, 2, 3])).rows
    assert [type(value) for value in row] == [float] * 3


def test_the_bounds_of_the_domain_belong_to_it() -> None:
    assert SCHEMA.instance(body([LIMIT, -LIMIT, 0])).rows == [(LIMIT, -LIMIT, 0.0)]


@given(rows)
def test_accepted_numbers_arrive_exactly_as_sent(row: list[float]) -> None:
    for sent in (row, dict(zip(NAMES, row, strict=True))):
        (arrived,) = SCHEMA.instance(body(sent)).rows
        assert arrived == tuple(map(float, row))
        assert list(map(repr, arrived)) == [repr(float(value)) for value in row]  # -0.0 as well


@given(st.lists(rows, max_size=MAX_ROWS))
def test_a_batch_arrives_as_its_rows_would_alone(batch: list[list[float]]) -> None:
    alone = [SCHEMA.instance(body(row)).rows[0] for row in batch]
    assert SCHEMA.batch(body(batch)) == Instances(alone)


# Each type of feature


def test_a_row_may_have_values_of_every_type() -> None:
    schema = RequestSchema(MIXED, MAX_ROWS)
    row: list[Any] = [4.5, 7, True, "red", "blue", "a text"]
    named = {feature.name: value for feature, value in zip(MIXED, row, strict=True)}
    assert schema.instance(body(row)) == Instances([tuple(row)])
    assert schema.batch(body([row, named])) == Instances([tuple(row)] * 2)


@pytest.mark.parametrize(
    ("feature", "usual", "unusual"),
    [
        (number("x"), [0, 4.5, 9.0], [-1, 9.5]),
        (integer("x"), [0, 9], [-1, 10]),
        (boolean("x"), [True, False], []),
        (category("x"), ["red", "blue"], ["", "Red", "green", "x" * 20]),
        (closed_category("x"), ["red", "blue"], ["rare"]),
        (text("x"), ["ab", "x" * 10, "\N{GRINNING FACE}" * 10], ["", "a", "x" * 11, "x" * 30]),
    ],
    ids=lambda value: getattr(value, "type", ""),
)
def test_a_value_is_taken_as_it_is_and_told_if_training_saw_none_like_it(
    feature: Feature, usual: list[object], unusual: list[object]
) -> None:
    schema = RequestSchema([feature], MAX_ROWS)
    for value in (*usual, *unusual):
        assert taken(feature, value) == value
        assert (schema.instance(body([value])).unusual is not None) == (value in unusual)


@pytest.mark.parametrize("value", [-3, 0, 7, 10**6])
def test_a_whole_number_may_be_written_with_a_fraction_of_zero(value: int) -> None:
    for written in (value, float(value)):
        arrived = taken(integer("n"), written)
        assert (arrived, type(arrived)) == (value, int)


def test_a_whole_number_may_be_written_with_an_exponent() -> None:
    schema = RequestSchema([integer("n")], MAX_ROWS)
    assert repr(schema.instance(b'{"data": [5e0]}').rows) == "[(5,)]"


def test_a_fraction_is_no_whole_number() -> None:
    assert mistake(integer("n"), 5.5) == "expected a whole number, got a fraction"


@pytest.mark.parametrize("value", [2**53 + 1, -(2**53) - 1])
def test_a_whole_number_outside_the_domain_is_not_rounded_into_it(value: int) -> None:
    limit = 2**53
    detail = mistake(integer("n", domain=(-limit, limit)), value)
    assert detail == f"expected a whole number between {-limit!r} and {limit!r}"


def test_the_bounds_of_a_domain_of_whole_numbers_may_be_fractions() -> None:
    feature = integer("n", trained=(1, 2), domain=(0.5, 3.5))
    assert [taken(feature, value) for value in (1, 3)] == [1, 3]
    assert mistake(feature, 0) == "expected a whole number between 0.5 and 3.5"
    assert mistake(feature, 4) == "expected a whole number between 0.5 and 3.5"


NOT_OF_THE_TYPE: list[tuple[Feature, str, list[object]]] = [
    (number("x"), "a number", [True, "1.5", [1], {"x": 1}]),
    (integer("x"), "a whole number", [True, False, "1", [1], {}]),
    (boolean("x"), "a boolean", [0, 1, 1.0, "true", []]),
    (category("x"), "a string", [1, 1.5, True, ["red"], {}]),
    (closed_category("x"), "a string", [1, True, ["red"]]),
    (text("x"), "a string", [1, False, ["ab"], {}]),
]


@pytest.mark.parametrize(
    ("feature", "wanted", "values"), NOT_OF_THE_TYPE, ids=lambda value: getattr(value, "type", "")
)
def test_a_value_of_another_type_is_refused(
    feature: Feature, wanted: str, values: list[object]
) -> None:
    for value in values:
        assert mistake(feature, value).startswith(f"expected {wanted}, got ")


@pytest.mark.parametrize("feature", MIXED, ids=lambda feature: feature.name)
def test_null_is_taken_only_where_training_saw_missing_values(feature: Feature) -> None:
    assert taken(feature.model_copy(update={"nullable": True}), None) is None
    refused = feature.model_copy(update={"nullable": False})
    assert mistake(refused, None).endswith(", got null")


def test_null_is_not_taken_for_a_category_that_training_named_none_of() -> None:
    feature = category("x", named=())
    assert mistake(feature, None) == "expected a string, got null"
    assert taken(feature, "any") == "any"
    assert warnings(RequestSchema([feature], MAX_ROWS).instance(body(["any"]))) != []


def test_a_missing_value_is_not_unusual() -> None:
    schema = RequestSchema([integer("n", nullable=True), category("c", nullable=True)], MAX_ROWS)
    assert schema.instance(body([None, None])) == Instances([(None, None)])
    assert schema.batch(body([[99, None]])).unusual == schema.batch(body([[99, "red"]])).unusual


@pytest.mark.parametrize(
    ("feature", "value", "detail"),
    [
        (number("x"), 1e13, f"expected a number between {-LIMIT!r} and {LIMIT!r}"),
        (integer("x"), 10**7, "expected a whole number between -1000000 and 1000000"),
        (category("x"), "x" * 21, "expected 0 to 20 characters"),
        (closed_category("x"), "green", "expected a category that training has seen"),
        (text("x"), "x" * 31, "expected 0 to 30 characters"),
        (text("x", domain=(1, 30)), "", "expected 1 to 30 characters"),
    ],
    ids=lambda value: getattr(value, "type", ""),
)
def test_a_value_that_the_model_does_not_compute_with_is_refused(
    feature: Feature, value: object, detail: str
) -> None:
    assert mistake(feature, value) == detail


# What is unlike training: accepted, with a warning


def test_what_is_unusual_is_told_by_its_place() -> None:
    *others, _, text_ = MIXED
    schema = RequestSchema([*others, closed_category("shape"), text_], MAX_ROWS)
    row = [-1, 99, True, "green", "rare", "x"]
    details = [
        "outside of the range seen in training, 0.0 to 9.0",
        "outside of the range seen in training, 0 to 9",
        "a category seen rarely or never in training",
        "a category seen rarely or never in training",
        "a length not seen in training, 2 to 10 characters",
    ]
    instances = schema.instance(body(row))
    assert instances.rows == [tuple(row)]
    places = ("/data/0", "/data/1", "/data/3", "/data/4", "/data/5")
    assert warnings(instances) == list(zip(places, details, strict=True))


def test_what_is_unusual_is_told_by_its_name_where_values_are_sent_by_name() -> None:
    schema = RequestSchema([number("length"), number("a/b ~c")], MAX_ROWS)
    told = warnings(schema.instance(body({"a/b ~c": 99, "length": 1})))
    assert [place for place, _ in told] == ["/data/a~1b ~0c"]


def test_what_is_unusual_in_a_batch_is_told_with_its_row() -> None:
    schema = RequestSchema([number("length"), number("a/b ~c")], MAX_ROWS + 1)
    usual: list[object] = [[1, 1]] * 6
    instances = schema.batch(body([*usual, {"length": 1, "a/b ~c": 99}, [99, 1]]))
    assert [place for place, _ in warnings(instances)] == ["/data/6/a~1b ~0c", "/data/7/0"]
    assert instances.rows[6:] == [(1.0, 99.0), (99.0, 1.0)]


def test_all_that_is_unusual_is_counted_by_feature() -> None:
    schema = RequestSchema([number("a"), category("b"), number("c")], MAX_ROWS)
    unusual = schema.batch(body([[99, "red", 1], [-1, "green", 1], {"a": 1, "b": "red", "c": 2}]))
    assert unusual.unusual is not None
    assert unusual.unusual.by_feature == Counter({"a": 2, "b": 1})


@pytest.mark.parametrize("count", [MAX_PROBLEMS - 1, MAX_PROBLEMS])
def test_warnings_up_to_the_limit_are_all_listed(count: int) -> None:
    instances = RequestSchema([number("x")], 1000).batch(body([[99]] * count))
    assert [place for place, _ in warnings(instances)] == [f"/data/{n}/0" for n in range(count)]


def test_no_more_warnings_are_listed_than_the_limit_but_all_are_counted() -> None:
    instances = RequestSchema([number("x")], 1000).batch(body([[99]] * 1000))
    *listed, closing = warnings(instances)
    assert len(listed) == MAX_PROBLEMS
    assert closing == ("", f"no more than {MAX_PROBLEMS} are listed")
    assert instances.unusual is not None
    assert instances.unusual.by_feature == {"x": 1000}


def test_a_row_that_is_wrong_is_not_told_what_is_unusual_about_it() -> None:
    schema = RequestSchema([number("a"), number("b")], MAX_ROWS)
    assert [place for place, _ in mistakes([99, "x"], schema)] == ["/data/1"]


def test_warnings_do_not_repeat_input_values() -> None:
    schema = RequestSchema([number("x"), category("y"), text("z")], MAX_ROWS)
    instances = schema.instance(body([31415926, "31415926", "31415926 31415926"]))
    assert len(warnings(instances)) == 3
    assert "31415926" not in str(warnings(instances))


# What is not JSON: 400


@pytest.mark.parametrize(
    "sent",
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
    ids=lambda sent: sent[:24],
)
def test_what_is_not_json_is_malformed(sent: bytes) -> None:
    for read in (SCHEMA.instance, SCHEMA.batch):
        problem = refusal(read, sent)
        assert problem.kind.slug == "malformed-body"
        assert problem.detail


def test_a_malformed_body_is_told_where_reading_stopped() -> None:
    assert refusal(parse_json, b'{"data":\n [1, 2, oops]}').detail.endswith("at line 2 column 9")


def test_a_key_given_twice_is_not_echoed() -> None:
    problem = refusal(parse_json, b'{"secret": 1, "secret": 2}')
    assert problem.detail.startswith("a key is given twice at line 1")
    assert "secret" not in problem.detail


@pytest.mark.parametrize("huge", ["1e400", "-1e400", "1" + "0" * 400], ids=len)
def test_a_number_that_overflows_a_double_is_malformed(huge: str) -> None:
    for read, data in (
        (SCHEMA.instance, f"[1, {huge}, 3]"),
        (SCHEMA.instance, f'{{"length": {huge}, "a/b ~c": 2, "ünï": 3}}'),
        (SCHEMA.instance, f'{{"length": 1, "other": [{{"deep": {huge}}}]}}'),
        (SCHEMA.batch, f"[[1, 2, 3], [1, {huge}, 3]]"),
        (SCHEMA.batch, huge),
    ):
        problem = refusal(read, f'{{"data": {data}}}'.encode())
        assert problem.kind.slug == "malformed-body"
        assert problem.detail == "a number overflows a double"


@pytest.mark.parametrize("large", ["1e300", "1e-400", "1" * 309, '"1e400"'])
def test_a_large_number_that_a_double_holds_is_not_malformed(large: str) -> None:
    problem = refusal(SCHEMA.instance, f'{{"data": [1, {large}, 3, 4]}}'.encode())
    assert problem.kind.slug == "invalid-input"


@given(st.binary(max_size=40))
def test_no_bytes_can_break_the_reader(sent: bytes) -> None:
    for read in (SCHEMA.instance, SCHEMA.batch):
        problem = refusal(read, sent)
        assert problem.kind.status in (400, 422)


def test_a_byte_order_mark_before_a_body_is_no_part_of_it() -> None:
    mark = b"\xef\xbb\xbf"
    assert SCHEMA.instance(mark + body(ROW)) == SCHEMA.instance(body(ROW))
    assert SCHEMA.batch(mark + body([ROW])) == SCHEMA.batch(body([ROW]))
    assert refusal(SCHEMA.batch, mark + body([[1]])).kind.slug == "invalid-input"
    assert parse_json(b'"' + mark + b'"') == "\ufeff"
    assert refusal(parse_json, mark + b"[1, oops]").detail.endswith("at line 1 column 5")


@pytest.mark.parametrize("sent", ["\ufeff", "\ufeff\ufeff[]", "[\ufeff]", "[]\ufeff", " \ufeff[]"])
def test_any_other_byte_order_mark_is_malformed(sent: str) -> None:
    assert refusal(parse_json, sent.encode()).kind.slug == "malformed-body"
    assert refusal(parse_json, "[]".encode("utf-16")).kind.slug == "malformed-body"


# Whole rows: with the columns of the table that the model does not use

WHOLE = RequestSchema(NUMBERS, MAX_ROWS, ignored=("kind", "id", "on/off ~"))
NAMED = dict(zip(NAMES, ROW, strict=True))


@pytest.mark.parametrize(
    "more",
    [
        {"kind": "ham"},
        {"id": 7, "kind": None},
        {"on/off ~": [{"deep": [True]}], "id": "x" * 10_000, "kind": -1.5},
        {"id": "NaN", "kind": 10**300},
    ],
)
def test_columns_that_the_model_does_not_use_may_be_sent_and_change_nothing(
    more: dict[str, object],
) -> None:
    for whole in (NAMED | more, more | NAMED):
        assert WHOLE.instance(body(whole)) == Instances([tuple(ROW)])
        assert WHOLE.batch(body([whole, ROW, NAMED])) == Instances([tuple(ROW)] * 3)


def test_in_a_whole_row_values_unlike_training_are_told_as_in_any() -> None:
    schema = RequestSchema([number("a"), category("b")], MAX_ROWS, ignored=("y",))
    instances = schema.batch(body([{"y": 1e9, "a": 1e9, "b": "red"}]))
    assert instances.rows == [(1e9, "red")]
    assert warnings(instances) == [
        ("/data/0/a", "outside of the range seen in training, 0.0 to 9.0")
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (NAMED | {"kind": "ham", "kinds": 1}, [("/data/kinds", "unknown name")]),
        (NAMED | {"Kind": 1}, [("/data/Kind", "unknown name")]),
        (NAMED | {"kind ": 1, "id": 2}, [("/data/kind ", "unknown name")]),
        (NAMED | {"kind": 1, "length": "1"}, [("/data/length", "expected a number, got a string")]),
        ({"kind": 1, "length": 1, "ünï": 2}, [("/data/a~1b ~0c", "missing")]),
        (
            {"kind": 1},
            [(f"/data{pointer}", "missing") for pointer in ("/length", "/a~1b ~0c", "/ünï")],
        ),
        ([*ROW, "ham"], [("/data", "expected 3 values, got 4")]),
    ],
)
def test_of_a_whole_row_only_what_is_wrong_is_told(
    data: object, expected: list[tuple[str, str]]
) -> None:
    assert mistakes(data, WHOLE) == expected


@pytest.mark.parametrize("huge", ["1e400", "-1e400", "1" + "0" * 400, '[{"deep": 1e400}]', "NaN"])
def test_what_is_ignored_has_to_be_json_all_the_same(huge: str) -> None:
    whole = f'{json.dumps(NAMED)[:-1]}, "kind": {huge}}}'
    twice = f'{json.dumps(NAMED)[:-1]}, "kind": 1, "kind": 1}}'
    for data in (whole, twice):
        assert refusal(WHOLE.instance, f'{{"data": {data}}}'.encode()).kind.slug == "malformed-body"
        batch = f'{{"data": [{json.dumps(NAMED)}, {data}]}}'
        assert refusal(WHOLE.batch, batch.encode()).kind.slug == "malformed-body"


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
    many = RequestSchema([number("x")], 1000)
    assert len(refusal(many.batch, body([[None]] * 1000)).errors) == MAX_PROBLEMS
    extra = json.dumps({"data": [], **{f"x{n}": n for n in range(1000)}}).encode()
    assert len(refusal(many.batch, extra).errors) == MAX_PROBLEMS


def test_exactly_as_many_mistakes_as_the_limit_are_all_listed() -> None:
    many = RequestSchema([number("x")], 1000)
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
        assert b"31415926" not in refusal(SCHEMA.instance, body(data)).body("id", "/predict")


def test_too_many_rows_are_refused_before_any_is_looked_at() -> None:
    problem = refusal(SCHEMA.batch, body([["x"]] * (MAX_ROWS + 1)))
    assert problem.kind.slug == "batch-too-large"
    assert problem.detail == f"{MAX_ROWS + 1} rows, but at most {MAX_ROWS} are accepted"


def test_as_many_rows_as_the_limit_are_accepted() -> None:
    assert len(SCHEMA.batch(body([ROW] * MAX_ROWS)).rows) == MAX_ROWS


@given(nearly_bodies | json_values)
def test_any_json_is_either_taken_exactly_or_refused_with_its_mistakes(document: object) -> None:
    sent = json.dumps(document).encode()
    for read in (SCHEMA.instance, SCHEMA.batch):
        try:
            instances = read(sent)
        except Problem as problem:
            assert_tells_all(problem, document)
        else:
            assert isinstance(document, dict)
            data = document["data"]
            assert_same(instances.rows, [data] if read == SCHEMA.instance else data)


def assert_tells_all(problem: Problem, document: object) -> None:
    """Check that a refusal says what is wrong, at places that are there."""
    assert problem.kind.status in (400, 413, 422)
    assert (problem.kind.status == 422) == bool(problem.errors)
    for error in problem.errors:
        assert_points_into(document, error)
    orjson.loads(problem.body("id", "/predict"))


def assert_same(rows: list[Row], sent: list[Any]) -> None:
    """Check that exactly the numbers sent were taken, as floats."""
    in_order = [[item[name] for name in NAMES] if isinstance(item, dict) else item for item in sent]
    assert rows == [tuple(map(float, row)) for row in in_order]
    assert not any(isinstance(value, bool) for row in in_order for value in row)


# For any features, whatever is sent


@dataclass(frozen=True, slots=True)
class Sent:
    """A model's features, and what somebody sends it."""

    features: list[Feature]
    items: list[Any]


def intervals(
    ends: st.SearchStrategy[float],
) -> st.SearchStrategy[tuple[tuple[float, float], tuple[float, float]]]:
    """Draw a range seen in training, within a domain."""

    def nested(four: list[float]) -> tuple[tuple[float, float], tuple[float, float]]:
        low, first, last, high = sorted(four)
        return (first, last), (low, high)

    return st.lists(ends, min_size=4, max_size=4).map(nested)


WORDS = ("", "red", "blue", "a longer word", "ünï")
some_words = st.lists(st.sampled_from(WORDS), unique=True, max_size=3).map(tuple)


@st.composite
def any_feature(draw: st.DrawFn, name: str) -> Feature:
    """Draw a feature of any type."""
    nullable = draw(st.booleans())
    kind = draw(
        st.sampled_from(["number", "integer", "codes", "boolean", "category", "closed", "text"])
    )
    match kind:
        case "number":
            trained, domain = draw(intervals(st.floats(-LIMIT, LIMIT) | st.integers(-9, 9)))
            return number(name, trained, domain, nullable=nullable)
        case "integer":
            wide = st.sampled_from([-(2**53), 2**53])
            trained, domain = draw(intervals(st.integers(-9, 9) | wide))
            return integer(name, trained, domain, nullable=nullable)
        case "codes":
            known = tuple(sorted(draw(st.sets(st.integers(-9, 9), min_size=1))))
            codes = integer(name, (known[0], known[-1]), (-LIMIT, LIMIT), nullable=nullable)
            closed = {"domain": Choices(values=known[:2], rare=len(known[2:]))}
            return codes.model_copy(update={"known": known} | draw(st.sampled_from([{}, closed])))
        case "boolean":
            return boolean(name, nullable=nullable)
        case "category":
            limit = draw(st.integers(0, 15))
            seen = tuple(word for word in draw(some_words) if len(word) <= limit)
            domain_ = Lengths(min_length=0, max_length=limit)
            return category(name, seen, domain_, nullable=nullable)
        case "closed":
            values = draw(some_words.filter(bool))
            return closed_category(name, values, values[: draw(st.integers(0, 3))])
    lengths = sorted(draw(st.lists(st.integers(0, 15), min_size=4, max_size=4)))
    return text(name, (lengths[1], lengths[2]), (lengths[0], lengths[3]), nullable=nullable)


def near(feature: Feature) -> st.SearchStrategy[Any]:
    """Draw values that a feature takes, or nearly takes, or anything."""
    numbers = st.integers(-10, 10) | st.integers(-10, 10).map(float) | st.floats(-LIMIT, LIMIT)
    if isinstance(feature, Number):
        ends = [
            end
            for interval in (feature.trained, feature.bounds)
            for end in (interval.minimum, interval.maximum)
        ]
        beyond = [math.nextafter(end, way) for end in ends for way in (-math.inf, math.inf)]
        whole = [int(end) + step for end in ends for step in (-1, 0, 1)]
        numbers |= st.sampled_from([*ends, *beyond, *whole])
    strings = st.sampled_from(WORDS) | st.text(max_size=16)
    of_the_type = {"number": numbers, "integer": numbers, "boolean": st.booleans()}
    anything = st.none() | st.booleans() | numbers | strings | json_values
    return of_the_type.get(feature.type, strings) | anything


@st.composite
def any_sent(draw: st.DrawFn) -> Sent:
    """Draw features, and instances that are mostly of their form."""
    names = draw(st.lists(st.sampled_from([*NAMES, "", "~1"]), unique=True, min_size=1, max_size=4))
    features = [draw(any_feature(name)) for name in names]
    by_place = st.tuples(*map(near, features)).map(list)
    by_name = st.fixed_dictionaries({feature.name: near(feature) for feature in features})
    items = st.lists(by_place | by_name | nearly_rows, min_size=1, max_size=4)
    return Sent(features, draw(items))


def belongs(value: Any, feature: Feature) -> bool:  # noqa: ANN401 (any JSON)
    """Tell whether a feature takes a value."""
    if value is None:
        return feature.nullable
    match feature:
        case Boolean():
            return isinstance(value, bool)
        case Number(bounds=bounds):
            if isinstance(value, bool) or not isinstance(value, int | float):
                return False
            whole = feature.type == "number" or value == math.floor(value)
            known = value in (feature.known or ()) or not isinstance(feature.domain, Choices)
            return bool(bounds.minimum <= value <= bounds.maximum and whole and known)
    if not isinstance(value, str):
        return False
    match feature.domain:
        case Choices():
            assert isinstance(feature, Category)
            return value in (feature.known or ())
        case Lengths(min_length=shortest, max_length=longest):
            return bool(shortest <= len(value) <= longest)
    raise AssertionError(feature)


def was_seen(value: Any, feature: Feature) -> bool:  # noqa: ANN401 (of the feature's type)
    """Tell whether training has seen the like of a value that belongs to the feature."""
    if value is None or isinstance(feature, Boolean):
        return True
    if isinstance(feature, Number):
        known = feature.known is None or value in feature.known
        return bool(feature.trained.minimum <= value <= feature.trained.maximum and known)
    if isinstance(feature.trained, Lengths):
        return feature.trained.min_length <= len(value) <= feature.trained.max_length
    return value in feature.trained.categories


def values_in_order(item: object, features: list[Feature]) -> list[Any] | None:
    """Give the values of an instance in the features' order, if it has one for each of them."""
    names = [feature.name for feature in features]
    if isinstance(item, dict) and item.keys() == set(names):
        return [item[name] for name in names]
    return item if isinstance(item, list) and len(item) == len(names) else None


@given(any_sent())
def test_whatever_the_features_are_a_row_is_taken_exactly_if_nothing_is_wrong_with_it(
    sent: Sent,
) -> None:
    schema = RequestSchema(sent.features, MAX_ROWS)
    wrong_rows = []
    for index, item in enumerate(sent.items):
        values = values_in_order(item, sent.features)
        good = values is not None and all(map(belongs, values, sent.features))
        try:
            (row,) = schema.instance(body(item)).rows
        except Problem as problem:
            assert not good
            assert_tells_all(problem, {"data": item})
            wrong_rows.append(index)
        else:
            assert good
            assert row == tuple(values or ())
            for value, feature in zip(row, sent.features, strict=True):
                assert value is None or isinstance(value, TYPES[feature.type])
                assert isinstance(value, bool) <= (feature.type == "boolean")
    # All that a refusal lists, it lists of the rows that are refused alone.
    told = refusal(schema.batch, body([*sent.items, None]))
    assert_tells_all(told, {"data": [*sent.items, None]})
    blamed = {int(error.pointer.split("/")[2]) for error in told.errors}
    assert blamed == {*wrong_rows, len(sent.items)}


TYPES: dict[str, type] = {
    "number": float,
    "integer": int,
    "boolean": bool,
    "category": str,
    "text": str,
}


@given(any_sent())
def test_whatever_the_features_are_each_value_unlike_training_is_told(sent: Sent) -> None:
    schema = RequestSchema(sent.features, MAX_ROWS)
    rows = [values_in_order(item, sent.features) for item in sent.items]
    accepted = [
        (item, row)
        for item, row in zip(sent.items, rows, strict=True)
        if row is not None and all(map(belongs, row, sent.features))
    ]
    places, by_feature = [], Counter[str]()
    for index, (item, row) in enumerate(accepted):
        for at, (value, feature) in enumerate(zip(row, sent.features, strict=True)):
            if not was_seen(value, feature):
                part = feature.name if isinstance(item, dict) else str(at)
                places.append(f"/data/{index}/{part.replace('~', '~0').replace('/', '~1')}")
                by_feature[feature.name] += 1
    instances = schema.batch(body([item for item, _ in accepted]))
    if not places:
        assert instances.unusual is None
    else:
        assert [place for place, _ in warnings(instances)] == places
        assert instances.unusual is not None
        assert instances.unusual.by_feature == by_feature


# Answers


def answer(
    described: Description, prediction: Prediction, warnings: list[FieldError] | None = None
) -> dict[str, Any]:
    """Write an answer, and read it."""
    written = AnswerWriter(described, "v7").instance(prediction, "id-1", warnings or ())
    document: dict[str, Any] = json.loads(written)
    return document


def predicted(described: Description, prediction: Prediction) -> dict[str, Any]:
    """Write an answer, and read what it says of the prediction."""
    document = answer(described, prediction)
    assert document.pop("model") == {"name": "mail", "version": "v7"}
    assert document.pop("request_id") == "id-1"
    return document


CLASSIFIER = description(asked=PROBABILITIES)


def test_an_answer_has_the_label_the_probabilities_the_model_and_the_id() -> None:
    document = answer(CLASSIFIER, Prediction("spam", [0.25, 0.75]))
    assert document == {
        "prediction": "spam",
        "probabilities": {"ham": 0.25, "spam": 0.75},
        "model": {"name": "mail", "version": "v7"},
        "request_id": "id-1",
    }
    assert list(document) == ["prediction", "probabilities", "model", "request_id"]


def test_a_batch_answer_has_the_predictions_in_order() -> None:
    predictions = [Prediction("spam", [0.25, 0.75]), Prediction("ham", [1.0, 0.0])]
    assert json.loads(AnswerWriter(CLASSIFIER, "v7").batch(predictions, "id-1")) == {
        "predictions": [
            {"prediction": "spam", "probabilities": {"ham": 0.25, "spam": 0.75}},
            {"prediction": "ham", "probabilities": {"ham": 1.0, "spam": 0.0}},
        ],
        "model": {"name": "mail", "version": "v7"},
        "request_id": "id-1",
    }


WARNING = FieldError("/data/1", "outside of the range seen in training, 0.0 to 9.0")


def test_an_answer_has_warnings_if_there_are_any() -> None:
    told = [{"pointer": WARNING.pointer, "detail": WARNING.detail}]
    document = answer(CLASSIFIER, Prediction("spam", [0.25, 0.75]), [WARNING])
    assert document["warnings"] == told
    batch = AnswerWriter(CLASSIFIER, "v7").batch([], "id-1", [WARNING])
    assert json.loads(batch)["warnings"] == told


def test_an_answer_has_no_warnings_if_there_are_none() -> None:
    assert "warnings" not in answer(CLASSIFIER, Prediction("spam", [0.25, 0.75]))
    assert b"warnings" not in AnswerWriter(CLASSIFIER, "v7").batch([], "id-1")


@pytest.mark.parametrize(
    ("label", "key"),
    [
        (7, "7"),
        (1.5, "1.5"),
        (1.0, "1.0"),
        (True, "true"),
        ("7", "7"),
        (2**53 + 1, "9007199254740993"),
        (-(2**63), "-9223372036854775808"),
    ],
)
def test_a_label_keeps_its_type_and_is_a_string_as_a_key(label: Label, key: str) -> None:
    document = predicted(description((label,), asked=PROBABILITIES), Prediction(label, [1.0]))
    assert document["prediction"] == label
    assert type(document["prediction"]) is type(label)
    assert document["probabilities"] == {key: 1.0}


def test_probabilities_stand_in_the_order_of_the_classes() -> None:
    described = description(("z", "a", "m"), asked=PROBABILITIES)
    document = predicted(described, Prediction("a", [0.1, 0.7, 0.2]))
    assert list(document["probabilities"]) == ["z", "a", "m"]


def test_a_model_without_probabilities_answers_without_them() -> None:
    assert predicted(description(("a",)), Prediction("a")) == {"prediction": "a"}


def test_several_targets_have_a_list_of_labels_and_one_of_probabilities() -> None:
    described = several_labels((0, 1), ("a", "b", "c"), asked=PROBABILITIES)
    prediction = Prediction([1, "a"], [[0.25, 0.75], [0.5, 0.375, 0.125]])
    assert predicted(described, prediction) == {
        "prediction": [1, "a"],
        "probabilities": [{"0": 0.25, "1": 0.75}, {"a": 0.5, "b": 0.375, "c": 0.125}],
    }
    assert predicted(described, Prediction([0, "b"])) == {"prediction": [0, "b"]}


def test_scores_are_given_by_class_where_they_belong_to_classes() -> None:
    document = predicted(description(asked=SCORES), Prediction("ham", scores=[0.5, -0.5]))
    assert document == {"prediction": "ham", "scores": {"ham": 0.5, "spam": -0.5}}


@pytest.mark.parametrize("scores", [1.5, [1.5, -1.0, 2.0]], ids=["one", "several"])
def test_scores_are_given_as_they_are_where_they_do_not(scores: float | list[float]) -> None:
    described = description(asked=asked(scored_by="decision_function"))
    document = predicted(described, Prediction("ham", scores=scores))
    assert document == {"prediction": "ham", "scores": scores}


@pytest.mark.parametrize("value", [1.5, -0.0, 3, 2**53 + 1, 1e300])
def test_a_number_is_given_as_it_is(value: float) -> None:
    assert repr(predicted(regression("price"), Prediction(value))) == repr({"prediction": value})


def test_several_numbers_are_given_in_a_list() -> None:
    document = predicted(regression("price", "weight"), Prediction([1.5, 2.0]))
    assert document == {"prediction": [1.5, 2.0]}


def test_a_cluster_is_given_by_its_number() -> None:
    assert predicted(clustering(), Prediction(3)) == {"prediction": 3}


@pytest.mark.parametrize(("value", "score"), [("inlier", 0.5), ("outlier", -0.5)])
def test_an_outlier_has_its_score(value: str, score: float) -> None:
    document = predicted(outlier_detection(), Prediction(value, scores=score))
    assert document == {"prediction": value, "score": score}


@pytest.mark.parametrize(
    ("described", "prediction"),
    [
        (CLASSIFIER, Prediction("ham", [1.0])),
        (description(asked=SCORES), Prediction("ham", scores=[1.0, 2.0, 3.0])),
        (
            several_labels((0, 1), (0, 1), asked=PROBABILITIES),
            Prediction([0, 1], [[0.5, 0.5], [1.0]]),
        ),
    ],
    ids=["probabilities", "scores", "several"],
)
def test_numbers_that_do_not_match_the_classes_are_never_written(
    described: Description, prediction: Prediction
) -> None:
    with pytest.raises(ValueError, match="zip"):
        answer(described, prediction)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2))
def test_doubles_read_back_the_same(probabilities: list[float]) -> None:
    document = answer(CLASSIFIER, Prediction("ham", probabilities))
    assert list(map(repr, document["probabilities"].values())) == list(map(repr, probabilities))
