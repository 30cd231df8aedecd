"""CSV: cells become what the model's features are, and what is written reads back the same."""

import csv
import io
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from serving.dialects.tables import csv_body, read_csv, write_csv
from serving.model.features import Feature, Row
from serving.model.rows import MAX_PROBLEMS, Question, Rows
from serving.problems import FieldError, Problem
from tests.unit.drawn import features, near
from tests.unit.samples import (
    MIXED,
    boolean,
    category,
    closed_category,
    description,
    integer,
    number,
    text,
)

MAX_ROWS = 4
IGNORED = ("kind", "id/~")
ROWS = Rows(MIXED, MAX_ROWS, IGNORED)
NAMES = b"length,count,is a/b ~c,colour,shape,\xc3\xbcn\xc3\xaf"
LINE = b"4.5,7,true,red,blue,a text"
ROW: Row = (4.5, 7, True, "red", "blue", "a text")
PLAIN = Rows([number("a"), number("b"), number("c")], 1000, ("id",))


def read(sent: bytes, rows: Rows = ROWS) -> list[Row]:
    """Read rows that are like those of training."""
    question = read_csv(sent, rows)
    assert question.warnings == ()
    assert not question.is_one
    return question.rows


def refusal(sent: bytes, rows: Rows = PLAIN) -> Problem:
    """Read what is refused."""
    with pytest.raises(Problem) as caught:
        read_csv(sent, rows)
    return caught.value


def mistakes(sent: bytes, rows: Rows = PLAIN) -> list[tuple[str, str]]:
    """Tell the mistakes, as pairs of pointer and detail."""
    problem = refusal(sent, rows)
    assert problem.kind.slug == "invalid-input"
    return [(error.pointer, error.detail) for error in problem.errors]


# Lines, and the names above them


@pytest.mark.parametrize(
    "sent",
    [
        LINE,
        NAMES + b"\n" + LINE,
        "shape,ünï,colour,is a/b ~c,count,length\nblue,a text,red,true,7,4.5".encode(),
        b"id/~," + NAMES + b",kind\nxyz," + LINE + b",",
        b'"4.5","7","true","red","blue","a text"',
        NAMES.replace(b",", b'","').join([b'"', b'"']) + b"\r\n" + LINE + b"\r\n",
        b"\xef\xbb\xbf" + NAMES + b"\r" + LINE,
        b"\n\r\n" + NAMES + b"\n\n" + LINE + b"\n\n\n",
        NAMES.replace(b",", b", ") + b"\n " + LINE.replace(b",", b",  "),
        b'4.5, 7, "true", "red", blue, "a text"',
    ],
    ids=[
        "none",
        "names",
        "other order",
        "ignored",
        "quotes",
        "CRLF",
        "BOM and CR",
        "blank lines",
        "blanks",
        "blanks before quotes",
    ],
)
def test_lines_are_read_with_names_above_them_in_any_order_or_without(sent: bytes) -> None:
    assert read(sent) == [ROW]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"a,b", ["the header: the column c is missing"]),
        (b"a,b,c,d", ["column 3 of the header: unknown name"]),
        (
            b"a,b,C",
            ["column 2 of the header: unknown name", "the header: the column c is missing"],
        ),
        (b",a,b,c", ["column 0 of the header: unknown name"]),
        (b"a,b,c,b", ["column 3 of the header: given twice"]),
        (b"a,b,c,id,id", ["column 4 of the header: given twice"]),
    ],
)
def test_a_header_that_was_meant_as_one_is_told_what_is_wrong_with_it(
    header: bytes, expected: list[str]
) -> None:
    assert mistakes(header + b"\n1,2,3") == [("", told) for told in expected]


def test_a_line_that_names_but_a_few_features_is_a_row() -> None:
    words = Rows([category("red", ("red", "blue")), text("blue", (0, 9))], MAX_ROWS)
    assert read(b"red,green\nblue,red", words) == [("red", "green"), ("blue", "red")]
    assert read(b"red,blue\nblue,red", words) == [("blue", "red")]


def test_there_has_to_be_a_row() -> None:
    for sent in (b"", b"\n\r\n", b"\xef\xbb\xbf", b"a,b,c", b"c,a,b\n\n"):
        assert mistakes(sent) == [("", "no rows")]


# Cells


@pytest.mark.parametrize(
    ("feature", "cell", "value"),
    [
        (number("x"), b"5", 5.0),
        (number("x"), b" 5.25", 5.25),
        (number("x"), b"1e-3", 0.001),
        (number("x", nullable=True), b"", None),
        (integer("x"), b"5", 5),
        (integer("x"), b"5.0", 5),
        (integer("x"), b"1e0", 1),
        (integer("x", (0, 2**53 + 2), (0, 2**53 + 2)), b"%d" % (2**53 + 1), 2**53 + 1),
        (integer("x", nullable=True), b"", None),
        *((boolean("x"), cell, True) for cell in (b"True", b"true", b"TRUE", b"1", b" true ")),
        *((boolean("x"), cell, False) for cell in (b"False", b"false", b"0")),
        (boolean("x", nullable=True), b"", None),
        (category("x", ("1.0", "true")), b"1.0", "1.0"),
        (category("x", ("", "red")), b"", ""),
        (closed_category("x", nullable=True), b"", None),
        (text("x", (0, 30)), b"", ""),
        (text("x", nullable=True), b"", None),
        (text("x", (0, 30)), b'" a, ""b""\r\nc "', ' a, "b"\r\nc '),
        (text("x", (0, 30)), b'"  "', "  "),
        (text("x", (0, 200_000), (0, 200_000)), b"x" * 200_000, "x" * 200_000),
    ],
    ids=lambda each: getattr(each, "type", str(each)[:16]),
)
def test_a_cell_is_read_as_its_feature_is(feature: Feature, cell: bytes, value: object) -> None:
    assert repr(read(b"1," + cell, Rows([integer("n"), feature], MAX_ROWS))) == repr([(1, value)])


@pytest.mark.parametrize(
    ("feature", "cell", "detail"),
    [
        (number("x"), b"", "expected a number, got null"),
        (number("x"), b"4,5", "expected a number, got a string"),
        (number("x"), b"NA", "expected a number, got a string"),
        (number("x"), b"nan", "expected a number between "),
        (number("x", nullable=True), b"NaN", "expected a number between "),
        (number("x"), b"-inf", "expected a number between "),
        (number("x"), b"1e400", "expected a number between "),
        (integer("x"), b"5.5", "expected a whole number, got a fraction"),
        (integer("x"), b"9" * 5000, "expected a whole number between "),
        (boolean("x"), b"yes", "expected a boolean, got a string"),
        (boolean("x"), b"", "expected a boolean, got null"),
        (closed_category("x"), b"green", "expected a category that training has seen"),
        (closed_category("x"), b"", "expected a category that training has seen"),
        (text("x"), b"x" * 31, "expected 0 to 30 characters"),
    ],
    ids=lambda each: getattr(each, "type", str(each)[:16]),
)
def test_a_cell_that_the_feature_does_not_take_is_told_by_its_row_and_column(
    feature: Feature, cell: bytes, detail: str
) -> None:
    rows = Rows([feature, integer("n")], MAX_ROWS)
    ((place, told),) = mistakes(b'n,x\n\n1,"' + cell + b'"', rows)
    assert (place, told[: len(detail)]) == ("/0/1", detail)


def test_every_mistake_is_told_by_its_row_and_its_column_in_the_table() -> None:
    sent = b"id,c,a,b\n\nx,1,2,3\nx,1,2\n\nx,1,y,z\nx,1,2,3,4\n"
    assert mistakes(sent) == [
        ("/1", "expected 4 values, got 3"),
        ("/3", "expected 4 values, got 5"),
        ("/2/2", "expected a number, got a string"),
        ("/2/3", "expected a number, got a string"),
    ]


def test_what_is_unusual_is_told_by_its_row_and_its_column_too() -> None:
    question = read_csv(b"c,a,b\n1,2,3\n1,99,3\n", PLAIN)
    assert question.rows == [(2.0, 3.0, 1.0), (99.0, 3.0, 1.0)]
    detail = "outside of the range seen in training, 0.0 to 9.0"
    assert question.warnings == [FieldError("/1/1", detail)]
    assert question.unusual == {"a": 1}


def test_input_values_are_never_repeated() -> None:
    for cell in (b"31415926", b'"31415926', b'"3"1415926', b"\x0031415926"):
        for sent in (cell + b",x,y", b"1," + cell, b"a,b,c,d," + cell):
            problem = refusal(sent)
            assert "31415926" not in f"{problem.detail} {problem.errors}"


# What is no CSV, and what is too much


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        (b"1,2,3\n1,\xff,3", "no UTF-8 at byte 8"),
        ("1,2,3".encode("utf-16"), "no UTF-8 at byte 0"),
        (b"1,2,\x003", "a NUL at character 4"),
        (b'1,2,3\n1,2,"3\n4', "unexpected end of data at line 3"),
        (b'1,2,3\n1,2,"3"4', "',' expected after '\"' at line 2"),
    ],
)
def test_what_is_no_csv_is_malformed(sent: bytes, detail: str) -> None:
    problem = refusal(sent)
    assert (problem.kind.slug, problem.detail) == ("malformed-body", detail)


@given(st.binary(max_size=40) | st.text('",\n\r1a', max_size=40).map(str.encode))
def test_no_bytes_can_break_the_reader(sent: bytes) -> None:
    try:
        assert all(len(row) == 3 for row in read_csv(sent, PLAIN).rows)
    except Problem as problem:
        assert problem.kind.status in {400, 422}  # noqa: PT017 (or it is none)


def test_a_million_columns_are_as_wrong_as_four_and_told_up_to_the_limit() -> None:
    assert mistakes(b"," * 1_000_000) == [("/0", "expected 3 values, got 1000001")]
    wide = Rows([number(f"n{index}") for index in range(1000)], MAX_ROWS)
    for header in (b"n0," * 300_000, b"n0," * 600 + b"\n1"):
        problem = refusal(header, wide)
        assert len(problem.errors) == MAX_PROBLEMS
        assert problem.errors[0] == FieldError("", "column 1 of the header: given twice")


def test_too_many_rows_are_refused_before_any_is_looked_at_unless_parts_are_taken() -> None:
    problem = refusal(b"x\n" * (MAX_ROWS + 1), Rows(MIXED, MAX_ROWS))
    assert problem.kind.slug == "batch-too-large"
    assert problem.detail == f"{MAX_ROWS + 1} rows, but at most {MAX_ROWS} are accepted"
    assert read((LINE + b"\n") * MAX_ROWS) == [ROW] * MAX_ROWS
    assert read_csv((LINE + b"\n") * 10, ROWS, in_parts=True).rows == [ROW] * 10


# What others write


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a model, and how somebody writes them."""

    features: list[Feature]
    rows: list[list[Any]]
    order: list[int]
    has_header: bool
    style: dict[str, Any]


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Draw features, rows that a model of them takes, and a way to write these."""
    of = [
        draw(features(name))
        for name in draw(st.sampled_from([["q"], ["q", 'a,"b'], ["q", "ü\n", "z"]]))
    ]
    rows = draw(st.lists(st.tuples(*map(near, of)).map(list), min_size=1, max_size=3))
    for row in rows:
        for at, feature in enumerate(of):
            # CSV has no NUL, in a cell that may be empty no empty string, and, where nobody puts it
            # into quotes, no blank before anything.
            cell = str(row[at])
            if feature.mistake(row[at]) or "\0" in cell or cell[:1] in {"", " "}:
                row[at] = None if feature.nullable else feature.example
            assume(not feature.mistake(row[at]))
            assume(not str(row[at]).startswith(" "))
    has_header = draw(st.booleans())
    style = {
        "lineterminator": "\r\n",  # with LF, Python before 3.13 leaves a CR without quotes
        "quoting": draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])),
    }
    order = draw(st.permutations(range(len(of)))) if has_header else range(len(of))
    return Table(of, rows, list(order), has_header, style)


@settings(max_examples=60)
@given(tables())
def test_a_table_that_python_writes_is_read_as_the_rows_that_it_was_made_of(table: Table) -> None:
    rows = Rows(table.features, MAX_ROWS)
    written = io.StringIO()
    writer = csv.writer(written, **table.style)
    if table.has_header:
        writer.writerow(table.features[column].name for column in table.order)
    writer.writerows([row[column] for column in table.order] for row in table.rows)
    taken = read_csv(written.getvalue().encode(), rows)
    expected: Question = rows.many(table.rows, ())
    assert repr(taken.rows) == repr(expected.rows)
    assert taken.unusual == expected.unusual
    places = [tuple(map(int, warning.pointer.split("/")[1:])) for warning in expected.warnings]
    assert [warning.pointer for warning in taken.warnings] == [
        f"/{row}/{table.order.index(column)}" for row, column in places
    ]


# What is written


def test_a_line_is_ended_by_lf_and_quoted_only_where_that_is_needed() -> None:
    lines: list[list[Any]] = [
        ["a", 1, True, None],
        ["b,c", 0.1, False, 'd"e'],
        ["f\ng", "h\ri", "", " "],
        [""],
    ]
    assert write_csv(lines) == (b'a,1,true,\n"b,c",0.1,false,"d""e"\n"f\ng","h\ri",, \n""\n')
    assert write_csv([]) == b""


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_doubles_read_back_the_same(values: list[float]) -> None:
    (line,) = csv.reader(io.StringIO(write_csv([values]).decode()))
    assert repr([float(cell) for cell in line]) == repr(values)


@given(st.lists(st.lists(st.text(), min_size=1), max_size=3))
def test_texts_read_back_the_same(lines: list[list[str]]) -> None:
    written = io.StringIO(write_csv(lines).decode(), newline="")
    assert list(csv.reader(written, strict=True)) == lines


def test_the_example_is_taken() -> None:
    described = description(features=MIXED)
    example = csv_body(described)["example"].encode()
    assert read_csv(example, ROWS).rows == [described.example]
