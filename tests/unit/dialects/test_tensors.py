"""Tensors: what is written as bytes or as JSON is read as the same values, or refused in place."""

import json
import math
import struct
from base64 import b64encode
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.dialects.tensors import DATATYPES, Mistakes, Tensor, read_tensor, to_bytes
from serving.model.rows import MAX_PROBLEMS
from serving.problems import FieldError
from tests.tensors import FORMATS, elements_of, written
from tests.unit.drawn import json_values
from tests.unit.pointers import assert_points_into

PLACE = ("inputs", 3)
MANY = 100_000


def tensor(datatype: str, shape: object, **members: object) -> dict[str, Any]:
    """Give an input."""
    return {"name": "x", "datatype": datatype, "shape": shape, **members}


def binary(datatype: str, shape: object, size: int) -> dict[str, Any]:
    """Give an input whose elements follow."""
    return tensor(datatype, shape, parameters={"binary_data_size": size})


def read(given_: object, raw: bytes = b"", content_type: object = None) -> Tensor:
    """Read an input, and all that follows."""
    left = [raw]

    def take(size: Any) -> bytes | None:  # noqa: ANN401 (any JSON)
        if type(size) is not int or not 0 <= size <= len(left[0]):
            return None
        head, left[0] = left[0][:size], left[0][size:]
        return head

    read_ = read_tensor(given_, PLACE, content_type, take)
    assert not left[0]
    return read_


def mistakes(given_: object, raw: bytes = b"", content_type: object = None) -> dict[str, str]:
    """Tell what is wrong with an input, by the place within it."""
    with pytest.raises(Mistakes) as caught:
        read(given_, raw, content_type)
    document = {"inputs": [{}, {}, {}, given_]}
    for error in caught.value.errors:
        is_binary = type(given_) is dict and "data" not in given_ and error.detail != "missing"
        assert_points_into(document, FieldError("", "") if is_binary else error)
    prefix = "/inputs/3"
    assert all(error.pointer.startswith(prefix) for error in caught.value.errors)
    return {error.pointer.removeprefix(prefix): error.detail for error in caught.value.errors}


# Values


def values(datatype: str) -> st.SearchStrategy[Any]:
    """Draw elements of a datatype."""
    if datatype == "BYTES":
        return st.text(st.characters(codec="utf-8"), max_size=5)
    if datatype == "BOOL":
        return st.booleans()
    if datatype.startswith("FP"):
        return st.floats(width=int(datatype[2:]))  # type: ignore[arg-type]
    info = np.iinfo(datatype.lower())
    return st.integers(int(info.min), int(info.max))


@st.composite
def filled(draw: st.DrawFn, datatype: str) -> tuple[list[int], list[Any]]:
    """Draw a shape, and as many elements."""
    shape = draw(st.lists(st.integers(0, 3), min_size=1, max_size=2))
    count = math.prod(shape)
    return shape, draw(st.lists(values(datatype), min_size=count, max_size=count))


@pytest.mark.parametrize("datatype", DATATYPES)
@settings(max_examples=40)
@given(data=st.data())
def test_bytes_are_read_as_the_values_that_were_written(datatype: str, data: st.DataObject) -> None:
    shape, elements = data.draw(filled(datatype))
    is_text = datatype == "BYTES"
    raw = written(datatype, [each.encode() for each in elements] if is_text else elements)
    told = read(binary(datatype, shape, len(raw)), raw)
    assert (told.shape, told.is_binary) == (tuple(shape), True)
    assert list(map(repr, told.elements)) == list(map(repr, elements))


@pytest.mark.parametrize("datatype", [name for name in DATATYPES if name != "FP16"])
@settings(max_examples=40)
@given(data=st.data())
def test_json_is_read_as_the_same_values_flat_or_nested(datatype: str, data: st.DataObject) -> None:
    shape, elements = data.draw(filled(datatype))
    elements = [
        None if each != each or each in (math.inf, -math.inf) else each for each in elements
    ]
    forms = [elements]
    if len(shape) == 2:
        width = shape[1]
        forms.append([elements[row * width : (row + 1) * width] for row in range(shape[0])])
    for form in forms:
        told = read(json.loads(json.dumps(tensor(datatype, shape, data=form))))
        assert list(map(repr, told.elements)) == list(map(repr, elements))


def test_single_precision_is_widened_exactly_whichever_way_it_comes() -> None:
    exact = struct.unpack("<f", struct.pack("<f", 5.1))[0]
    assert exact == 5.099999904632568
    assert read(tensor("FP32", [3], data=[5.1, None, 5])).elements == [exact, None, 5.0]
    assert read(binary("FP32", [1], 4), struct.pack("<f", 5.1)).elements == [exact]


def test_the_largest_single_may_be_written_shortly_and_no_more_is_one() -> None:
    largest = float(np.finfo("f4").max)
    data = [3.4028235e38, -largest]
    assert read(tensor("FP32", [2], data=data)).elements == [largest, -largest]
    for beyond in (3.4028236e38, -1e39, 10**400):
        assert mistakes(tensor("FP32", [2], data=[1, beyond])) == {"/data/1": "beyond FP32"}


def test_whole_numbers_may_be_written_as_json_likes_and_fractions_are_none() -> None:
    told = read(tensor("INT64", [4], data=[5.0, -0.0, 2**53 + 1, None])).elements
    assert list(map(repr, told)) == ["5", "0", str(2**53 + 1), "None"]
    wrong = tensor("INT8", [3], data=[0.5, 1, -1.25])
    assert mistakes(wrong) == dict.fromkeys(("/data/0", "/data/2"), "expected a whole number")


@pytest.mark.parametrize("datatype", [name for name in FORMATS if "INT" in name])
def test_whole_numbers_are_within_their_datatype(datatype: str) -> None:
    low, high = int(np.iinfo(datatype.lower()).min), int(np.iinfo(datatype.lower()).max)
    assert read(tensor(datatype, [2], data=[low, high])).elements == [low, high]
    for data in ([0, high + 1], [0, low - 1], [None, low - 1], [low, 1e30]):
        told = mistakes(tensor(datatype, [2], data=data))
        assert told == {"/data/1": f"expected {low} to {high}"}


@pytest.mark.parametrize(
    ("datatype", "element", "told"),
    [
        ("FP64", "4", "expected a number, got a string"),
        ("FP32", True, "expected a number, got a boolean"),
        ("INT64", [1], "expected a number, got an array"),
        ("UINT8", {}, "expected a number, got an object"),
        ("BOOL", 1, "expected a boolean, got a number"),
        ("BYTES", 1, "expected a string, got a number"),
        ("BYTES", False, "expected a string, got a boolean"),
    ],
)
def test_an_element_of_json_is_of_its_datatypes_kind(
    datatype: str, element: object, told: str
) -> None:
    good: Any = {"BOOL": True, "BYTES": "a"}.get(datatype, 1)
    flat = tensor(datatype, [2, 2], data=[good, None, element, good])
    assert mistakes(flat) == {"/data/2": told}
    nested = tensor(datatype, [2, 2], data=[[good, None], [element, good]])
    assert mistakes(nested) == {"/data/1/0": told}


def test_half_precision_is_binary_alone() -> None:
    assert mistakes(tensor("FP16", [1], data=[1.0])) == {"/datatype": "FP16 has to be binary"}


# Shapes


@pytest.mark.parametrize(
    "shape",
    [
        None,
        "4",
        4,
        {},
        [],
        [1, 1, 1],
        [1] * MANY,
        [-1],
        [1.0],
        [True],
        ["1"],
        [None],
        [[1]],
        [2**63],
        [1, 10**400],
    ],
    ids=lambda shape: str(shape)[:12],
)
def test_a_shape_has_one_or_two_whole_numbers(shape: object) -> None:
    wrong = tensor("FP64", shape, data=[1])
    assert mistakes(wrong) == {"/shape": "expected an array of one whole number, or 2"}


@pytest.mark.parametrize("shape", [[0], [2], [1, 0], [3, 2], [2**63 - 1], [2**63 - 1, 2**63 - 1]])
def test_there_are_as_many_elements_as_the_shape_says(shape: list[int]) -> None:
    told = mistakes(tensor("FP64", shape, data=[1.0]))
    assert told == {"/data": "expected as many elements as the shape says, got 1"}
    for datatype, size in (("FP64", 8), ("FP16", 2), ("BOOL", 1)):
        (place,) = mistakes(binary(datatype, shape, size), bytes(size))
        assert place == "/parameters/binary_data_size"
    (place,) = mistakes(binary("BYTES", shape, 4), bytes(4))
    assert place == "/parameters/binary_data_size"


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ([2], [[1], [2]]),
        ([2, 2], [[1, 2], [3]]),
        ([2, 2], [[1, 2], 3]),
        ([2, 2], [[1, 2, 3, 4]]),
        ([2, 2], [[1], [2], [3], [4]]),
        ([1, 2], [[[1, 2]]]),
        ([0, 2], [[]]),
        ([3, 2], [[1, 2], [3, 4]]),
    ],
)
def test_nested_elements_are_nested_as_the_shape_says(shape: list[int], data: object) -> None:
    places = mistakes(tensor("FP64", shape, data=data)).keys()
    assert places <= {"/data", "/data/0/0"} | ({"/data/0/1"} if shape == [1, 2] else set())
    assert places


@pytest.mark.parametrize("data", ["1", 1, {}, True])
def test_elements_are_an_array(data: object) -> None:
    (told,) = mistakes(tensor("FP64", [1], data=data)).items()
    assert told[0] == "/data"
    assert told[1].startswith("expected an array, got ")


# Bytes


@pytest.mark.parametrize("size", [-1, True, "8", 8.0, [8], {}, 9, 10**400])
def test_a_size_is_a_number_of_bytes_that_are_there(size: Any) -> None:  # noqa: ANN401
    told = mistakes(binary("FP64", [1], size), bytes(8))
    assert told == {
        "/parameters/binary_data_size": "expected a number of bytes, no more than there are"
    }


@pytest.mark.parametrize(
    "raw",
    [
        b"\1\0\0\0",
        b"\1\0\0\0a\0\0\0",
        b"\1\0\0\0a\2\0\0\0b",
        b"\xff\xff\xff\xffa",
        b"\1\0\0\0a\xff\xff\xff\xff",
    ],
)
def test_a_string_ends_within_its_tensor(raw: bytes) -> None:
    told = mistakes(binary("BYTES", [2], len(raw)), raw)
    assert told == {"/parameters/binary_data_size": "a string ends beyond the tensor"}


@pytest.mark.parametrize("count", [0, 1, 3, 4, MANY])
def test_there_are_as_many_strings_as_the_shape_says(count: int) -> None:
    raw = written("BYTES", [b"ab"] * count)
    told = mistakes(binary("BYTES", [2], len(raw)), raw)
    assert told == {"/parameters/binary_data_size": "expected as many strings as the shape says"}


def test_strings_are_utf_8_and_booleans_zero_or_one() -> None:
    raw = written("BYTES", [b"\xff", "ünï".encode(), "ü".encode()[:1]])
    told = mistakes(binary("BYTES", [3], len(raw)), raw)
    assert told == dict.fromkeys(("/data/0", "/data/2"), "no UTF-8")
    told = mistakes(binary("BOOL", [3, 1], 3), b"\1\2\xff")
    assert told == dict.fromkeys(("/data/1", "/data/2"), "expected a byte 0 or 1")


def test_elements_in_json_go_before_bytes() -> None:
    both = tensor("FP64", [1], data=[1.5], parameters={"binary_data_size": 8})
    told = read(both)
    assert (told.elements, told.is_binary) == ([1.5], False)
    empty = tensor("FP64", [0, 4], data=None, parameters={"binary_data_size": 0})
    assert read(empty).elements == []


# How strings are written, by MLServer's names


def test_strings_may_be_base64_or_json_as_the_input_or_the_request_says() -> None:
    for parameters, of_request in (({}, "base64"), ({"content_type": "base64"}, "np")):
        data = [b64encode("Drëam".encode()).decode(), "", None]
        told = read(tensor("BYTES", [3], data=data, parameters=parameters), b"", of_request)
        assert told.elements == ["Drëam", "", None]
    texts = ['"Dream"', "null", "39.5", "NaN", "true", "[1]", None, ""]
    told = read(tensor("BYTES", [8], data=texts, parameters={"content_type": "pd_json"}))
    assert told.elements == ["Dream", None, 39.5, None, True, [1], None, ""]
    raw = written("BYTES", [b"YQ==", b""])
    assert read(binary("BYTES", [2], len(raw)), raw, "base64").elements == ["a", ""]


@pytest.mark.parametrize(
    "content_type", ["np", "pd", "str", "x", "", 5, True, ["base64"], {"a": 1}]
)
def test_another_way_changes_no_element(content_type: object) -> None:
    data = ["YQ==", "1"]
    parameters = {"content_type": content_type}
    assert read(tensor("BYTES", [2], data=data, parameters=parameters)).elements == data
    assert read(tensor("BYTES", [2], data=data), b"", content_type).elements == data
    for way in ("base64", "pd_json"):
        assert read(tensor("FP64", [1], data=[1.5]), b"", way).elements == [1.5]


@pytest.mark.parametrize(
    ("content_type", "text", "told"),
    [
        ("base64", "YQ=", "no base64"),
        ("base64", "Y\nQ==", "no base64"),
        ("base64", "ü", "no base64"),
        ("base64", "/w==", "no UTF-8"),
        ("pd_json", "Dream", "no JSON"),
        ("pd_json", '{"a": 1, "a": 2}', "no JSON"),
        ("pd_json", "[" * MANY, "no JSON"),
        ("pd_json", "Infinity", "no JSON"),
    ],
)
def test_what_is_not_written_so_is_refused_in_its_place(
    content_type: str, text: str, told: str
) -> None:
    wrong = tensor("BYTES", [4, 1], data=[[None], [text], [""], [text]])
    assert mistakes(wrong, b"", content_type) == dict.fromkeys(("/data/1/0", "/data/3/0"), told)


# What an input is


@pytest.mark.parametrize("given_", [None, 1, "x", [], True])
def test_an_input_is_an_object(given_: object) -> None:
    (told,) = mistakes(given_).values()
    assert told.startswith("expected an object, got ")


def test_members_that_are_not_there_are_missing_all_told() -> None:
    head = dict.fromkeys(("/name", "/datatype", "/shape"), "missing")
    assert mistakes({}) == head
    assert mistakes({"data": [1], "Name": "x"}) == head
    assert mistakes(tensor("FP64", [1])) == {"/data": "missing"}
    nulls = {"name": None, "datatype": None, "shape": None, "data": None}
    assert mistakes(nulls).keys() == head.keys()
    assert mistakes(tensor("FP64", [1], data=None)) == {"/data": "expected an array, got null"}


@pytest.mark.parametrize("datatype", ["", "fp64", "BF16", "STRING", 1, ["FP64"], {}])
def test_a_datatype_is_one_of_those_that_are_taken(datatype: Any) -> None:  # noqa: ANN401
    told = mistakes(tensor(datatype, [1], data=[1]))
    assert told == {"/datatype": f"expected one of {', '.join(DATATYPES)}"}


def test_optional_members_may_be_null_and_unknown_ones_be_there() -> None:
    plain = tensor("FP64", [1], data=[1.5], parameters=None, more={"x": [1]})
    assert read(plain).elements == [1.5]
    nulls = {"content_type": None, "binary_data_size": None, "headers": {"a": "b"}}
    assert read(tensor("FP64", [1], data=[1.5], parameters=nulls)).elements == [1.5]


# However much comes


@pytest.mark.parametrize(
    ("datatype", "element"),
    [("FP64", "x"), ("BYTES", 1), ("INT8", 0.5), ("INT8", 1000), ("FP32", 1e300)],
)
def test_of_many_wrong_elements_no_more_are_told_than_the_limit(
    datatype: str, element: object
) -> None:
    assert len(mistakes(tensor(datatype, [MANY], data=[element] * MANY))) == MAX_PROBLEMS
    assert len(mistakes(binary("BOOL", [MANY], MANY), b"\2" * MANY)) == MAX_PROBLEMS
    for way in ("base64", "pd_json"):
        texts = tensor("BYTES", [MANY], data=["x"] * MANY)
        assert len(mistakes(texts, b"", way)) == MAX_PROBLEMS


MEMBERS = {
    "name": st.text(max_size=3) | json_values,
    "datatype": st.sampled_from(DATATYPES) | json_values,
    "shape": st.lists(st.integers(-1, 3), max_size=3) | json_values,
    "data": st.lists(json_values, max_size=4) | st.lists(st.lists(json_values, max_size=2)),
    "parameters": st.none()
    | json_values
    | st.fixed_dictionaries(
        {},
        optional={
            "binary_data_size": st.integers(0, 20) | json_values,
            "content_type": st.sampled_from(["base64", "pd_json", "np"]) | json_values,
        },
    ),
}


@settings(max_examples=200)
@given(st.fixed_dictionaries({}, optional=MEMBERS) | json_values, st.binary(max_size=40))
def test_anything_is_read_or_refused_in_its_place(given_: Any, raw: bytes) -> None:  # noqa: ANN401
    def take(size: Any) -> bytes | None:  # noqa: ANN401
        return raw[:size] if type(size) is int and 0 <= size <= len(raw) else None

    try:
        told = read_tensor(given_, PLACE, "pd_json", take)
    except Mistakes as wrong:
        document = {"inputs": [None] * 3 + [given_]}
        for error in wrong.errors:
            if "data" in error.pointer and given_.get("data") is None:  # which is binary
                error = FieldError("/inputs/3", error.detail)
            assert_points_into(document, error)
    else:
        assert len(told.elements) == math.prod(told.shape)


# Answers


@pytest.mark.parametrize("datatype", ["BYTES", "BOOL", "INT64", "UINT64", "FP64"])
@settings(max_examples=40)
@given(data=st.data())
def test_what_is_answered_in_bytes_reads_back_the_same(datatype: str, data: st.DataObject) -> None:
    _, elements = data.draw(filled(datatype))
    assert list(map(repr, elements_of(datatype, to_bytes(datatype, elements)))) == list(
        map(repr, elements)
    )
