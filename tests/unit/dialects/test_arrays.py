"""Arrays in NumPy's format: what is written reads back, what is read is in the body as it is."""

import io
import pickle
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as drawn_arrays

from serving.dialects.arrays import read_npy, write_npy
from serving.model.rows import Rows
from serving.problems import Problem
from tests.unit.dialects.foreign import MAX_ROWS
from tests.unit.samples import boolean, category, integer, number

NUMBERS = Rows([number("x"), number("y", nullable=True)], MAX_ROWS)
NUMERIC = [f"{order}{kind}" for order in "<>" for kind in ("i2", "i4", "i8", "u2", "u4", "u8")]
FLOATS = ["<f2", "<f4", "<f8", ">f4", ">f8"]


def npy(array: Any, *, pickles: bool = False) -> bytes:  # noqa: ANN401 (what NumPy makes an array of)
    """Write an array as NumPy does."""
    file = io.BytesIO()
    np.save(file, np.asarray(array), allow_pickle=pickles)
    return file.getvalue()


def with_header(header: str, elements: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    """Write what says of itself what may not be so."""
    length = struct.pack("<H" if version[0] == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + length + header.encode("latin-1") + elements


def header(descr: str = "'<f8'", shape: str = "(2, 2)", fortran_order: str = "False") -> str:
    """Write a header."""
    return f"{{'descr': {descr}, 'fortran_order': {fortran_order}, 'shape': {shape}, }}"


def refused(body: bytes, rows: Rows = NUMBERS) -> Problem:
    """Read what is refused with 400."""
    with pytest.raises(Problem) as caught:
        read_npy(body, rows)
    assert caught.value.kind.status in {400, 422}
    return caught.value


# Reading


@pytest.mark.parametrize("dtype", [*NUMERIC, *FLOATS, "|i1", "|u1"])
def test_numbers_of_each_type_and_order_are_taken(dtype: str) -> None:
    array = np.array([[1, 2], [3, 4], [5, 6]], dtype)
    for laid_out in (array, np.asfortranarray(array)):
        rows = read_npy(npy(laid_out), NUMBERS).rows
        assert rows == [(1, 2), (3, 4), (5, 6)]
        assert {type(value) for row in rows for value in row} == {float}


def test_a_float_of_less_width_is_the_double_that_it_is() -> None:
    assert read_npy(npy(np.array([[5.1, 0.1]], "f4")), NUMBERS).rows == [
        (5.099999904632568, 0.10000000149011612)
    ]


def test_an_array_of_one_dimension_is_one_row() -> None:
    assert read_npy(npy([1.5, 2.0]), NUMBERS).rows == [(1.5, 2.0)]
    (error,) = refused(npy([np.nan, 2.0])).errors
    assert (error.pointer, error.detail) == ("/0", "expected a number, got null")


def test_rows_may_be_none_or_more_than_fit_into_a_batch() -> None:
    assert read_npy(npy(np.empty((0, 2))), NUMBERS).rows == []
    assert len(read_npy(npy(np.ones((1000, 2))), NUMBERS).rows) > MAX_ROWS


def test_what_is_no_number_is_missing_and_infinity_is_refused_at_its_place() -> None:
    assert read_npy(npy([[1, np.nan]]), NUMBERS).rows == [(1.0, None)]
    told = refused(npy([[1, 2], [np.inf, np.nan], [np.nan, 3]])).errors
    assert [error.pointer for error in told] == ["/1/0", "/2/0"]


def test_each_feature_takes_what_an_array_can_have_for_it() -> None:
    mixed = Rows([integer("count", nullable=True), boolean("is"), number("x")], MAX_ROWS)
    assert repr(read_npy(npy([[5.0, 1.0, 0.5], [np.nan, 0.0, 1.0]]), mixed).rows) == (
        "[(5, True, 0.5), (None, False, 1.0)]"
    )
    assert read_npy(npy([[True]]), Rows([boolean("is")], MAX_ROWS)).rows == [(True,)]
    told = refused(npy([[5.5, 2.0, 1.0]]), mixed).errors
    assert [error.pointer for error in told] == ["/0/0", "/0/1"]
    (error,) = refused(npy([[1.0]]), Rows([category("colour")], MAX_ROWS)).errors
    assert error.detail == "expected a string, got a number"


@pytest.mark.parametrize(
    "text",
    [
        header(),
        '{"shape": (2,2),"fortran_order":False,"descr":"<f8"}',
        "{'fortran_order': False, 'descr': '<f8', 'shape': ( 2 , 2 , ) }   \n",
    ],
)
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_a_header_is_read_however_it_is_written(text: str, version: tuple[int, int]) -> None:
    body = with_header(text, struct.pack("<4d", 1, 2, 3, 4), version)
    assert read_npy(body, NUMBERS).rows == [(1, 2), (3, 4)]


# What is refused


class Bomb:
    """Goes off when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Tell pickle to call what ends the process."""
        return exec, ("raise SystemExit('unpickled')",)


@pytest.mark.parametrize(
    "body",
    [
        npy(np.array([[Bomb(), Bomb()]], object), pickles=True),
        pickle.dumps(Bomb()),
        npy(np.array([["a", "b"]])),
        npy(np.array([[b"a", b"b"]])),
        npy(np.array([[1, 2]], "M8[s]")),
        npy(np.array([[1, 2]], "c16")),
        npy(np.array([(1, 2)], [("x", "<f8"), ("y", "<f8")])),
        npy(np.array([[1, 2]], np.longdouble)),
        with_header(header("'|V8'"), bytes(32)),
        with_header(header("'<f3'"), bytes(12)),
        with_header(header("'|b8'"), bytes(32)),
        with_header(header("('<f8', 2)"), bytes(32)),
        with_header(header("__import__('os').abort()"), bytes(32)),
    ],
)
def test_what_has_no_numbers_is_refused_and_nothing_of_it_is_run(body: bytes) -> None:
    assert refused(body).kind.slug == "malformed-body"


@pytest.mark.parametrize(
    "shape",
    [
        "(2, 2)",
        "(1, 2)",
        "(1000000000000000000, 2)",
        "(9999999999999999999, 2)",
        "(99999999999999999999999, 2)",
        "(4611686018427387905, 2)",  # its bytes are 32 to who counts with 64 bits
        "(-1, 2)",
        "(-2, -2)",
        "(0, 2)",
        "(2.0, 2)",
        "(, 2)",
        "2, 2",
        "None",
    ],
)
def test_a_shape_that_is_not_that_of_the_bytes_is_refused(shape: str) -> None:
    assert refused(with_header(header(shape=shape), bytes(24))).kind.slug == "malformed-body"


@pytest.mark.parametrize(
    "shape", ["()", "(4,)", "(2, 1)", "(1, 4)", "(1, 2, 2)", "(99, 0)", "(0,)", "(1,)"]
)
def test_a_shape_that_does_not_suit_the_features_is_refused(shape: str) -> None:
    (error,) = refused(with_header(header(shape=shape), bytes(32))).errors
    assert error.detail == "expected an array of the shape [n, 2], or [2] for one row"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x01",
        b"\x93NUMPY\x01\x00",
        b"\x93NUMPY\x01\x00\xff\xff{}",
        b"\x93NUMPY\x04\x00\x02\x00{}",
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + header().encode() + bytes(32),
        b"[[1, 2]]",
        with_header("", bytes(32)),
        with_header("{}", bytes(32)),
        with_header("{'descr': '<f8', 'shape': (2, 2)}", bytes(32)),
        with_header(header() + "0", bytes(32)),
        with_header(header()[1:], bytes(32)),
        with_header("{" * 60_000, bytes(32)),
        with_header(" " * 60_000, bytes(32)),
        with_header(header(fortran_order="1"), bytes(32)),
        npy([[1.0, 2.0]])[:-1],
        npy([[1.0, 2.0]]) + b"\0",
    ],
)
def test_what_is_no_such_file_is_malformed(body: bytes) -> None:
    assert refused(body).kind.slug == "malformed-body"


@given(st.binary(max_size=200), st.sampled_from([(1, 0), (2, 0), (3, 9)]), st.data())
def test_whatever_follows_the_magic_is_taken_or_refused(
    rest: bytes, version: tuple[int, int], data: st.DataObject
) -> None:
    good = with_header(header(), bytes(32), version)
    at = data.draw(st.integers(0, len(good)))
    for body in (b"\x93NUMPY" + bytes(version) + rest, good[:at] + rest + good[at + 1 :]):
        try:
            rows = read_npy(body, NUMBERS).rows
        except Problem:
            continue
        assert all(len(row) == len(NUMBERS.features) for row in rows)


# Writing


def read_back(values: list[Any]) -> np.ndarray:
    """Read what is written as NumPy does, without pickles."""
    array: np.ndarray = np.load(io.BytesIO(write_npy(values)), allow_pickle=False)
    return array


@pytest.mark.parametrize(
    ("values", "dtype", "shape"),
    [
        (["setosa", "ünï"], "<U6", (2,)),
        ([0, -7], "<i8", (2,)),
        ([0.1 + 0.2, 5e-324], "<f8", (2,)),
        ([1.5, -3], "<f8", (2,)),
        ([True, False], "|b1", (2,)),
        ([[0.25, 0.75], [0.5, 0.5]], "<f8", (2, 2)),
        ([[1, 2], [3, 4]], "<i8", (2, 2)),
        ([], "<f8", (0,)),
    ],
)
def test_values_are_written_as_the_type_that_they_have(
    values: list[Any], dtype: str, shape: tuple[int, ...]
) -> None:
    array = read_back(values)
    assert (array.dtype.str, array.shape) == (dtype, shape)
    assert array.tolist() == values


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([[1, "a"], [0, "b"]], [["1", "a"], ["0", "b"]]),
        ([True, "a", 1.5], ["true", "a", "1.5"]),
        ([True, 0], ["true", "0"]),
        ([2**64, 1], [str(2**64), "1"]),
    ],
)
def test_values_of_several_types_are_written_as_texts(values: list[Any], texts: list[Any]) -> None:
    array = read_back(values)
    assert array.dtype.kind == "U"
    assert array.tolist() == texts


def test_probabilities_of_several_targets_stand_in_one_row() -> None:
    rows = [[[0.25, 0.75], [0.5, 0.25, 0.25]]]
    assert read_back(rows).tolist() == [[0.25, 0.75, 0.5, 0.25, 0.25]]


@given(drawn_arrays("<f8", (3, 2), elements=st.floats(0, 9)))
def test_doubles_read_back_the_same(array: np.ndarray) -> None:
    values = array.tolist()
    rows = read_npy(write_npy(values), NUMBERS).rows
    assert repr(rows) == repr(list(map(tuple, values)))
