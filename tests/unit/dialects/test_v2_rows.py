"""Inference requests of the Open Inference Protocol: tensors to rows, or refused in place."""

import json
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.dialects.dialect import Conversation, Sent
from serving.dialects.tensors import DATATYPES, NUMBERS
from serving.dialects.v2 import dialect
from serving.dialects.v2_rows import TAKEN_BY
from serving.model.features import Feature
from serving.model.rows import MAX_PROBLEMS, Rows
from serving.problems import BATCH_TOO_LARGE, INVALID_INPUT, FieldError, Problem
from serving.settings import Settings
from tests.tensors import LENGTH_HEADER, with_buffers, written
from tests.unit.dialects.foreign import (
    ABOUT,
    MAX_ROWS,
    MIXED_ABOUT,
    MIXED_ROWS,
    NAMES,
    ROW,
    ROWS,
    asked,
    assert_taken_or_refused,
    places,
    refusal,
    sent,
)
from tests.unit.drawn import json_values
from tests.unit.pointers import assert_points_into
from tests.unit.samples import MIXED, boolean, category, integer, number, text

INFER: Conversation = dialect(Settings()).conversations["/v2/models/{model}/infer"]
MATRIX = {"name": "input-0", "shape": [1, 2], "datatype": "FP64", "data": ROW}
KINDS = {
    "number": ("FP64", 1.5),
    "integer": ("INT64", 3),
    "boolean": ("BOOL", True),
    "category": ("BYTES", "red"),
    "text": ("BYTES", "four"),
}
MANY = 100_000


def tensor(name: str, datatype: str, data: Sequence[object], **members: object) -> dict[str, Any]:
    """Give an input of a column of elements."""
    return {"name": name, "shape": [len(data)], "datatype": datatype, "data": data, **members}


def best(feature: Feature) -> str:
    """Give a datatype that holds a feature's values, and no null unless it is JSON's."""
    return KINDS[feature.type][0]


def by_feature(
    rows: Sequence[Sequence[object]], features: Sequence[Feature] = MIXED
) -> list[dict[str, Any]]:
    """Give an input for each feature."""
    columns = zip(*rows, strict=True) if rows else [()] * len(features)
    return [
        tensor(feature.name, best(feature), column)
        for feature, column in zip(features, columns, strict=True)
    ]


def of(*inputs: object, **members: object) -> Sent:
    """Send inputs as JSON."""
    return sent({"inputs": list(inputs), **members})


def with_bytes(inputs: Sequence[object], *buffers: bytes, length: object = None) -> Sent:
    """Send inputs, and the bytes of those that have a size."""
    body, headers = with_buffers({"inputs": inputs}, *buffers)
    told = headers[LENGTH_HEADER] if length is None else str(length)
    return sent(body, "application/octet-stream", headers={LENGTH_HEADER.lower(): told})


def binary(name: str, datatype: str, shape: Sequence[int], size: int) -> dict[str, Any]:
    """Give an input whose bytes follow."""
    parameters = {"binary_data_size": size}
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": parameters}


def one_feature(feature: Feature) -> Rows:
    """Read rows of a feature alone."""
    return Rows((feature,), MAX_ROWS)


# One matrix


@pytest.mark.parametrize("datatype", [name for name in NUMBERS if name != "FP16"])
def test_a_matrix_has_all_features_in_their_order_whatever_its_name(datatype: str) -> None:
    rows = [(1, 2), (3, 4)]
    matrix = {"shape": [2, 2], "datatype": datatype}
    for name in ("input-0", "x", NAMES[1], ""):
        for data in ([1, 2, 3, 4], [[1, 2], [3, 4]]):
            assert asked(INFER, of({**matrix, "name": name, "data": data})) == rows
        raw = written(datatype, [1, 2, 3, 4])
        told = with_bytes([binary(name, datatype, [2, 2], len(raw))], raw)
        assert asked(INFER, told) == rows


@pytest.mark.parametrize("shape", [[2], [2, 1]])
def test_a_matrix_of_one_feature_may_be_a_vector(shape: list[int]) -> None:
    matrix = {"name": "any", "shape": shape, "datatype": "FP64", "data": [1.5, 2.5]}
    rows = one_feature(number("length"))
    assert asked(INFER, of(matrix), rows=rows) == [(1.5,), (2.5,)]
    assert places(refusal(INFER, of({**matrix, "shape": [1, 2]}), rows=rows)) == ["/inputs/0/shape"]


@pytest.mark.parametrize("shape", [[2], [2, 1], [1, 3], [4]])
def test_an_input_that_is_neither_a_matrix_nor_a_feature_is_told_what_it_may_be(
    shape: list[int],
) -> None:
    count = shape[0] * (shape[1] if len(shape) > 1 else 1)
    for name in ("input-0", "kind"):
        wrong = {"name": name, "shape": shape, "datatype": "FP64", "data": [1] * count}
        (error,) = refusal(INFER, of(wrong)).errors
        assert error.pointer == "/inputs/0/shape"
        assert error.detail.startswith("expected [n, 2], ")


def test_a_matrix_of_numbers_may_have_booleans_and_whole_numbers_among_its_features() -> None:
    features = (number("x"), integer("n", nullable=True), boolean("b"), boolean("c", nullable=True))
    rows = Rows(features, MAX_ROWS)
    data = [0.5, None, 1, None, 1.5, 3.0, 0.0, 1]
    expected = [(0.5, None, True, None), (1.5, 3, False, True)]
    matrix = {"name": "x", "shape": [2, 4], "datatype": "FP64"}
    assert asked(INFER, of({**matrix, "data": data}), rows=rows) == expected
    nan = [float("nan") if each is None else each for each in data]
    raw = written("FP64", nan)
    told = with_bytes([binary("x", "FP64", [2, 4], len(raw))], raw)
    assert repr(asked(INFER, told, rows=rows)) == repr(expected)
    wrong = {**matrix, "data": [0.5, 1.5, 2, None, 1.5, 3, 0.5, 1]}
    assert places(refusal(INFER, of(wrong), rows=rows)) == [
        f"/inputs/0/data/{at}" for at in (1, 2, 6)
    ]


def test_a_matrix_of_strings_has_categories_and_texts() -> None:
    rows = Rows((category("c"), text("t", nullable=True)), MAX_ROWS)
    matrix = {"name": "x", "shape": [2, 2], "datatype": "BYTES"}
    data = ["red", None, "blue", ""]
    assert asked(INFER, of({**matrix, "data": data}), rows=rows) == [("red", None), ("blue", "")]
    raw = written("BYTES", [b"red", b"", b"", b"four"])
    told = with_bytes([binary("x", "BYTES", [2, 2], len(raw))], raw)
    assert asked(INFER, told, rows=rows) == [("red", None), ("", "four")]
    assert places(refusal(INFER, of({**matrix, "data": data}))) == ["/inputs/0/datatype"] * 2


def test_a_mistake_in_a_matrix_is_told_in_its_place_and_alone() -> None:
    wrong = {**MATRIX, "shape": [2, 2], "data": [1.5, 2, 3, "4"]}
    problem = refusal(INFER, of(wrong))
    assert json.loads(INFER.wording.body(problem, "id-1", "/v2/models/mail/infer")) == {
        "type": "../../../errors/invalid-input",
        "title": "Invalid input",
        "status": 400,
        "detail": "1 problem in the request body",
        "errors": [{"pointer": "/inputs/0/data/3", "detail": "expected a number, got a string"}],
        "error": "1 problem in the request body; /inputs/0/data/3: expected a number, got a string",
        "request_id": "id-1",
    }
    nested = {**MATRIX, "shape": [2, 2], "data": [[1.5, None], [1e13, 2]]}
    assert places(refusal(INFER, of(nested))) == ["/inputs/0/data/0/1", "/inputs/0/data/1/0"]


# A tensor for each feature


ROWS_OF_MIXED: list[list[Any]] = [
    [1.5, 3, True, "red", "red", "four"],
    [2, None, False, "other", None, ""],
]


@pytest.mark.parametrize("order", [range(6), (5, 3, 1, 0, 2, 4)])
def test_features_have_a_tensor_each_in_any_order(order: Sequence[int]) -> None:
    inputs = by_feature(ROWS_OF_MIXED)
    expected = [tuple(row) for row in ROWS_OF_MIXED]
    for shape in ([2], [2, 1]):
        shaped = [{**inputs[at], "shape": shape} for at in order]
        assert asked(INFER, of(*shaped), MIXED_ABOUT, MIXED_ROWS) == expected
    nested = [
        {**inputs[at], "shape": [2, 1], "data": [[each] for each in inputs[at]["data"]]}
        for at in order
    ]
    assert asked(INFER, of(*nested), MIXED_ABOUT, MIXED_ROWS) == expected


@pytest.mark.parametrize(
    "feature", [number("x"), integer("x"), boolean("x"), category("x"), text("x")]
)
def test_a_feature_takes_the_datatypes_that_can_hold_it(feature: Feature) -> None:
    rows = Rows((feature, number("other")), MAX_ROWS)
    other = tensor("other", "FP64", [1.5])
    taken = {
        "number": set(NUMBERS),
        "integer": set(NUMBERS),
        "boolean": {*NUMBERS, "BOOL"},
        "category": {"BYTES"},
        "text": {"BYTES"},
    }[feature.type]
    for datatype in DATATYPES:
        value: Any = {"BYTES": b"four", "BOOL": True}.get(datatype, 1)
        raw = written(datatype, [value])
        told = with_bytes([binary("x", datatype, [1, 1], len(raw)), other], raw)
        if datatype in taken:
            value = {"boolean": True, "category": "four", "text": "four"}.get(feature.type, 1)
            assert asked(INFER, told, rows=rows) == [(value, 1.5)]
        else:
            (error,) = refusal(INFER, told, rows=rows).errors
            assert error == FieldError(
                "/inputs/0/datatype", f"x takes {', '.join(TAKEN_BY[feature.type])}"
            )


def test_all_that_is_missing_unknown_or_twice_is_told() -> None:
    inputs = by_feature(ROWS_OF_MIXED)
    wrong = [inputs[0], {**inputs[1], "name": "other"}, inputs[0], inputs[3], {"name": "ünï"}]
    problem = refusal(INFER, of(*wrong), MIXED_ABOUT, MIXED_ROWS)
    told = {(error.pointer, error.detail) for error in problem.errors}
    assert told == {
        ("/inputs/1/name", "no feature's name"),
        ("/inputs/2/name", "given twice"),
        ("/inputs/4/datatype", "missing"),
        ("/inputs/4/shape", "missing"),
        ("/inputs", "the input count is missing"),
        ("/inputs", "the input is a/b ~c is missing"),
        ("/inputs", "the input shape is missing"),
    }
    alone = refusal(INFER, of(inputs[0]), MIXED_ABOUT, MIXED_ROWS)
    assert places(alone) == ["/inputs"] * 5


def test_columns_of_the_training_table_that_the_model_does_not_use_are_ignored() -> None:
    inputs = by_feature([ROW], [number(name) for name in NAMES])
    more = [tensor("kind", "BYTES", ["any"] * 3), tensor("id/~", "FP64", [None])]
    assert asked(INFER, of(*more, *inputs)) == [tuple(ROW)]
    unlike = refusal(INFER, of(tensor("Kind", "BYTES", ["x"]), *inputs))
    assert [(e.pointer, e.detail) for e in unlike.errors] == [
        ("/inputs/0/name", "no feature's name")
    ]


def test_tensors_of_features_are_of_one_length_and_one_wide() -> None:
    first, second = by_feature([ROW, ROW], [number(name) for name in NAMES])
    for short in ({**first, "shape": [1], "data": [1]}, {**first, "shape": [0], "data": []}):
        assert places(refusal(INFER, of(short, second))) == ["/inputs/0/shape", "/inputs/1/shape"]
    wide = {**first, "shape": [1, 2]}
    assert places(refusal(INFER, of(wide, second))) == ["/inputs/0/shape"]


def test_mistakes_of_tensors_are_told_in_their_places_all_of_them() -> None:
    inputs = by_feature([[1e13, 0.5, 2, "x" * 21, "green", None]])
    inputs[1]["datatype"], inputs[2]["datatype"] = "FP64", "INT8"
    inputs[3] |= {"shape": [1, 1], "data": [["x" * 21]]}
    wrong = refusal(INFER, of(*inputs), MIXED_ABOUT, MIXED_ROWS)
    assert places(wrong) == [
        "/inputs/0/data/0",
        "/inputs/1/data/0",
        "/inputs/2/data/0",
        "/inputs/3/data/0/0",
        "/inputs/4/data/0",
        "/inputs/5/data/0",
    ]


def test_what_is_unlike_training_is_known_by_its_place() -> None:
    inputs = by_feature(
        [[1.5, 3, True, "red", "red", "four"], [99, 3, True, "green", "red", "four"]]
    )
    question = INFER.read(of(*inputs), MIXED_ABOUT, MIXED_ROWS).question
    assert [told.pointer for told in question.warnings] == ["/inputs/0/data/1", "/inputs/3/data/1"]
    nested = {**MATRIX, "shape": [2, 2], "data": [ROW, [1.5, 99]]}
    (warning,) = INFER.read(of(nested), ABOUT, ROWS).question.warnings
    assert warning.pointer == "/inputs/0/data/1/1"


# What is missing


def test_null_and_the_word_nan_are_missing_and_an_empty_string_of_json_is_a_string() -> None:
    feature = category("c", nullable=True)
    rows = Rows((number("x", nullable=True), feature), MAX_ROWS)
    body = json.dumps(
        {
            "inputs": [
                tensor("x", "FP32", [None, None, 1]),
                tensor("c", "BYTES", ["", None, None]),
            ],
            "parameters": {"why": [float("nan")]},
        }
    ).replace("null, 1", "NaN, 1")
    assert asked(INFER, sent(body.encode()), rows=rows) == [(None, ""), (None, None), (1.0, None)]
    for word in (b"Infinity", b"-Infinity", b"1e400"):
        wrong = json.dumps({"inputs": [MATRIX]}).replace("1.5", word.decode()).encode()
        assert refusal(INFER, sent(wrong)).kind.slug == "malformed-body"


@pytest.mark.parametrize("nullable", [True, False])
def test_in_bytes_nan_and_the_empty_string_are_missing_where_there_may_be_a_gap(
    nullable: bool,
) -> None:
    features = (
        number("x", nullable=nullable),
        boolean("b", nullable=nullable),
        category("c", nullable=nullable),
        text("t", nullable=nullable),
    )
    raw = [
        *(written(datatype, [float("nan")]) for datatype in ("FP16", "FP32")),
        *[written("BYTES", [b""])] * 2,
    ]
    inputs = [
        binary(feature.name, datatype, [1], len(each))
        for feature, datatype, each in zip(
            features, ("FP16", "FP32", "BYTES", "BYTES"), raw, strict=True
        )
    ]
    told, rows = with_bytes(inputs, *raw), Rows(features, MAX_ROWS)
    if nullable:
        assert asked(INFER, told, rows=rows) == [(None,) * 4]
    else:
        wrong = refusal(INFER, told, rows=rows)
        assert places(wrong) == ["/inputs/0/data/0", "/inputs/1/data/0"]
        assert wrong.errors[0].detail == "expected a number, got null"


def test_null_for_what_is_always_there_is_refused_in_its_place() -> None:
    inputs = by_feature([[None] * 6])
    wrong = refusal(INFER, of(*inputs), MIXED_ABOUT, MIXED_ROWS)
    nullable = {index for index, feature in enumerate(MIXED) if feature.nullable}
    assert places(wrong) == [f"/inputs/{at}/data/0" for at in range(6) if at not in nullable]


# How MLServer's codecs write


def test_what_mlservers_codecs_say_of_strings_is_heeded_for_every_feature() -> None:
    inputs = by_feature(ROWS_OF_MIXED)
    pandas = [
        tensor(each["name"], "BYTES", list(map(json.dumps, each["data"])))
        | {"parameters": {"content_type": "pd_json"}}
        for each in inputs
    ]
    told = of(*pandas, parameters={"content_type": "pd"})
    assert asked(INFER, told, MIXED_ABOUT, MIXED_ROWS) == [tuple(row) for row in ROWS_OF_MIXED]
    wrong = of({**pandas[0], "data": ["1.5", '"2"']}, *pandas[1:])
    assert places(refusal(INFER, wrong, MIXED_ABOUT, MIXED_ROWS)) == ["/inputs/0/data/1"]
    for at in (3, 4, 5):
        inputs[at]["data"] = [
            None if each is None else b64encode(each.encode()).decode()
            for each in inputs[at]["data"]
        ]
    told = of(*inputs, parameters={"content_type": "base64"})
    assert asked(INFER, told, MIXED_ABOUT, MIXED_ROWS) == [tuple(row) for row in ROWS_OF_MIXED]


# What is ignored


def test_unknown_members_are_ignored_at_every_level_and_null_is_as_good_as_absent() -> None:
    more: dict[str, Any] = {"model_name": "x", "headers": {"a": [None]}}
    noisy = {
        **MATRIX,
        **more,
        "parameters": {"content_type": None, "binary_data_size": None, **more},
    }
    outputs = [{"name": "predict", **more, "parameters": {"binary_data": None, **more}}]
    parameters = {
        "content_type": None,
        "binary_data_output": None,
        "predict_method": None,
        "priority": 3,
        **more,
    }
    told = of(noisy, id="42", parameters=parameters, outputs=outputs, **more)
    assert asked(INFER, told) == [tuple(ROW)]
    nulls = of({**MATRIX, "parameters": None}, id=None, parameters=None, outputs=None)
    assert asked(INFER, nulls) == [tuple(ROW)]
    told = of(MATRIX, outputs=[{"name": "predict", "parameters": None}])
    assert asked(INFER, told) == [tuple(ROW)]
    assert INFER.reads == ()  # whatever a body is declared to be


@pytest.mark.parametrize(
    "place",
    [
        lambda deep: of(MATRIX, x=deep),
        lambda deep: of(MATRIX, parameters={"x": deep}),
        lambda deep: of({**MATRIX, "x": deep}),
        lambda deep: of({**MATRIX, "parameters": {"x": deep}}),
        lambda deep: of(MATRIX, outputs=[{"name": "predict", "x": deep}]),
        lambda deep: of(*by_feature([ROW], ROWS.features), tensor("kind", "FP64", [deep])),
    ],
)
def test_a_number_that_no_double_holds_is_refused_wherever_it_stands(place: Any) -> None:  # noqa: ANN401
    told = place(123456789)
    wrong = sent(told.body.replace(b"123456789", b"1e400"))
    assert asked(INFER, told)
    assert refusal(INFER, wrong).kind.slug == "malformed-body"


# What is no request


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ([], ""),
        (None, ""),
        ({}, "/inputs"),
        ({"inputs": None}, "/inputs"),
        ({"inputs": []}, "/inputs"),
        ({"inputs": {}}, "/inputs"),
        ({"inputs": [7]}, "/inputs/0"),
        ({"inputs": [MATRIX], "id": 42}, "/id"),
        ({"inputs": [MATRIX], "parameters": [1]}, "/parameters"),
        ({"inputs": [MATRIX], "outputs": {}}, "/outputs"),
        (
            {"inputs": [MATRIX], "outputs": [{"name": "predict", "parameters": 1}]},
            "/outputs/0/parameters",
        ),
        ({"inputs": [{**MATRIX, "parameters": []}]}, "/inputs/0/parameters"),
        ({"inputs": [MATRIX], "outputs": ["predict"]}, "/outputs/0"),
        ({"inputs": [MATRIX], "outputs": [{"name": "other"}]}, "/outputs/0/name"),
        ({"inputs": [MATRIX], "outputs": [{"name": ["predict"]}]}, "/outputs/0/name"),
    ],
    ids=str,
)
def test_what_is_no_request_is_refused_at_its_one_place(document: object, place: str) -> None:
    assert places(refusal(INFER, sent(document))) == [place]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"inputs": [], "inputs": []}',
        b'{"inputs": [{"name": "a", "name": "b"}]}',
        b"[" * MANY,
        b'{"inputs": ' + b"[" * MANY,
        b'{"id": NaN',
        b'{"id": nan}',
        b"\xff\xfe",
    ],
    ids=lambda body: str(body)[:20],
)
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    assert refusal(INFER, sent(body)).kind.slug == "malformed-body"


def test_no_rows_are_rows_and_more_than_a_batch_takes_are_too_many() -> None:
    data: list[float] | None
    for data in ([], None):  # the latter with a size and without a header: KServe's client
        parameters = {"binary_data_size": 0} if data is None else {}
        none = {**MATRIX, "shape": [0, 2], "data": data, "parameters": parameters}
        assert asked(INFER, of(none)) == []
    assert asked(INFER, of(*by_feature([])), MIXED_ABOUT, MIXED_ROWS) == []
    for count in (MAX_ROWS, MAX_ROWS + 1):
        told = of({**MATRIX, "shape": [count, 2], "data": ROW * count})
        if count > MAX_ROWS:
            with pytest.raises(Problem) as caught:
                INFER.read(told, ABOUT, ROWS)
            assert INFER.wording.status(caught.value.kind) == BATCH_TOO_LARGE.status == 413
        else:
            assert len(asked(INFER, told)) == count


# Bytes behind the JSON


@pytest.mark.parametrize(
    "length", ["", "0", "-1", "+100", "1.0", "1e2", "one", "9" * 5000, "²", "100, 100", "999"]
)
def test_a_header_that_is_no_length_within_the_body_is_refused(length: str) -> None:
    raw = written("FP64", ROW)
    told = with_bytes([binary("x", "FP64", [1, 2], 16)], raw, length=length)
    problem = refusal(INFER, told)
    assert problem.kind.slug == "malformed-body"
    assert problem.detail == f"{LENGTH_HEADER.lower()} is no length within the body"


def test_without_the_header_the_whole_body_is_json_whatever_it_is_said_to_be() -> None:
    plain = of(MATRIX)
    for media_type in ("", "application/octet-stream", "text/plain"):
        assert asked(INFER, Sent(plain.body, media_type)) == [tuple(ROW)]
    told = with_bytes([binary("x", "FP64", [1, 2], 16)], written("FP64", ROW))
    assert refusal(INFER, Sent(told.body)).kind.slug == "malformed-body"
    whole = with_bytes([MATRIX])  # with the header, and nothing behind the JSON
    assert asked(INFER, whole) == [tuple(ROW)]


def test_sizes_are_exactly_what_is_left_and_suit_shape_and_datatype() -> None:
    raw = written("FP64", ROW)

    def told(first: int, second: int, *more: bytes) -> Problem:
        inputs = [binary(n, "FP64", [1], s) for n, s in zip(NAMES, (first, second), strict=True)]
        return refusal(INFER, with_bytes(inputs, raw, *more))

    less = told(8, 8, b"1234567")
    assert (less.kind.slug, less.detail) == (
        "malformed-body",
        "7 bytes of binary data belong to no input",
    )
    assert places(told(8, 9)) == ["/inputs/1/parameters/binary_data_size"]
    assert places(told(16, 0)) == [f"/inputs/{at}/parameters/binary_data_size" for at in (0, 1)]
    assert places(told(4, 12)) == [f"/inputs/{at}/parameters/binary_data_size" for at in (0, 1)]
    assert told(8, 10**400).kind.slug == "malformed-body"  # no double holds that


def test_bytes_belong_to_their_input_whatever_is_wrong_with_that() -> None:
    raw = b"".join([written("FP32", [1]), written("BYTES", [b"red"])])
    for wrong in ({"datatype": "BF16"}, {"shape": None}, {"name": 7}):
        inputs = [{**binary("x", "FP32", [1], 4), **wrong}, binary("kind", "BYTES", [1], 7)]
        told = refusal(INFER, with_bytes(inputs, raw))
        assert set(places(told)) == {f"/inputs/0/{name}" for name in wrong} | {"/inputs"}


def test_where_a_size_is_wrong_no_more_is_told_of_what_follows() -> None:
    raw = written("FP64", ROW)
    for size in (17, -1, "8", True):
        first = {**binary(NAMES[0], "FP64", [1], 8), "parameters": {"binary_data_size": size}}
        inputs = [first, binary(NAMES[1], "FP64", [1], 8)]
        told = refusal(INFER, with_bytes(inputs, raw))
        assert places(told) == ["/inputs/0/parameters/binary_data_size"]


@settings(max_examples=60)
@given(st.data())
def test_inputs_of_both_kinds_may_be_mixed(data: st.DataObject) -> None:
    rows = data.draw(
        st.lists(
            st.tuples(
                st.floats(-9, 9, width=32),
                st.none() | st.integers(-100, 100),
                st.booleans(),
                st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
                st.sampled_from(["red", "blue", None]),
                st.text(st.characters(codec="utf-8"), max_size=30),
            ),
            max_size=MAX_ROWS,
        )
    )
    inputs, buffers = [], []
    for feature, each in zip(MIXED, by_feature(rows), strict=True):
        numbers = data.draw(st.sampled_from(["FP32", "FP64"]))
        datatype = each["datatype"] if each["datatype"] == "BYTES" else numbers
        if not data.draw(st.booleans()):
            inputs.append(each)
            continue
        elements = each["data"]
        if datatype == "BYTES":
            elements = [b"" if value is None else value.encode() for value in elements]
        else:
            elements = [float("nan") if value is None else float(value) for value in elements]
        raw = written(datatype, elements)
        buffers.append(raw)
        inputs.append(binary(feature.name, datatype, [len(elements)], len(raw)))
    told = with_bytes(inputs, *buffers)
    assert asked(INFER, told, MIXED_ABOUT, MIXED_ROWS) == rows


# Whatever comes

MEMBERS: dict[str, st.SearchStrategy[Any]] = {
    "name": st.sampled_from([*(feature.name for feature in MIXED), "kind", "x"]) | json_values,
    "datatype": st.sampled_from([*DATATYPES, "BF16"]) | json_values,
    "shape": st.sampled_from([[1], [1, 1], [2], [1, 6], [0], [0, 6]]) | json_values,
    "data": st.lists(st.sampled_from([1, 1.5, True, "red", None, "1"]), max_size=6) | json_values,
    "parameters": st.fixed_dictionaries(
        {},
        optional={
            "content_type": st.sampled_from(["pd_json", "base64"]) | json_values,
            "binary_data_size": st.integers(0, 8) | json_values,
        },
    )
    | json_values,
}
any_input = st.fixed_dictionaries({}, optional=MEMBERS) | json_values
good_inputs = st.lists(st.sampled_from(by_feature(ROWS_OF_MIXED)), max_size=7)
requests = json_values | st.fixed_dictionaries(
    {"inputs": good_inputs | st.lists(any_input, max_size=3) | json_values},
    optional={
        "id": json_values,
        "parameters": json_values,
        "outputs": json_values | st.lists(st.fixed_dictionaries({"name": json_values})),
        "x": json_values,
    },
)


@settings(max_examples=200)
@given(requests)
def test_any_json_is_taken_or_refused_at_its_places(document: Any) -> None:  # noqa: ANN401
    assert_taken_or_refused(INFER, document, MIXED_ABOUT, MIXED_ROWS)


@settings(max_examples=200)
@given(requests, st.binary(max_size=30), st.integers(-2, 2))
def test_any_bytes_behind_it_are_taken_or_refused(document: object, more: bytes, off: int) -> None:
    body, headers = with_buffers(document, more)
    length = str(int(headers[LENGTH_HEADER]) + (off if abs(off) > 1 else 0))
    told = sent(body, headers={LENGTH_HEADER.lower(): length})
    try:
        INFER.read(told, MIXED_ABOUT, MIXED_ROWS)
    except Problem as problem:
        assert bool(problem.errors) == (problem.kind is INVALID_INPUT)  # noqa: PT017 (or it is none)
        for error in problem.errors:  # an element of a binary tensor is where it would be
            place = error.pointer.split("/data")[0] if "/data" in error.pointer else error.pointer
            assert_points_into(document, FieldError(place, error.detail))


@given(st.binary())
def test_any_bytes_at_all_are_refused(body: bytes) -> None:
    with pytest.raises(Problem):
        INFER.read(sent(body), ABOUT, ROWS)


@pytest.mark.parametrize(
    "inputs",
    [
        [{**MATRIX, "shape": [MANY, 1], "data": ["x"] * MANY}],
        [{**MATRIX, "shape": [MANY // 2, 2], "data": [None] * MANY}],
        [1] * MANY,
        [{}] * MANY,
        [MATRIX] * (MANY // 20),
        [{**MATRIX, "name": "length", "shape": [1], "data": [1]}] * (MANY // 20),
    ],
    ids=["elements", "nulls", "numbers", "empty", "matrices", "the same"],
)
def test_of_many_mistakes_no_more_are_told_than_the_limit(inputs: list[object]) -> None:
    unbounded = Rows(ROWS.features, MANY)
    assert len(refusal(INFER, of(*inputs), rows=unbounded).errors) == MAX_PROBLEMS
    outputs = [{"name": "x"}, 1] * MANY
    assert len(refusal(INFER, of(MATRIX, outputs=outputs)).errors) == MAX_PROBLEMS
