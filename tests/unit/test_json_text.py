"""JSON as the RFC has it: what is something else is 400, before anything is made of it."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.json_text import BYTE_ORDER_MARK, overflows, parse_json, parse_lenient_json, read_json
from serving.problems import INVALID_INPUT, MALFORMED_BODY, NOT_FOUND, Problem, ProblemType


def malformed(sent: bytes) -> str:
    """Tell why a text is no JSON."""
    with pytest.raises(Problem) as caught:
        parse_json(sent)
    assert caught.value.kind is MALFORMED_BODY
    return caught.value.detail


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"   ",
        b"\xff\xfe",
        b"[1, 2, 3",
        b"[1] {}",
        b"{'data': 1}",
        b"[1,]",
        b"[01]",
        b"[+1]",
        b"[0x1]",
        b"[NaN]",
        b"[Infinity]",
        b"[-Infinity]",
        b"[1" + b"0" * 5000 + b"]",
        b'{"data": 1, "data": 1}',
        b'[{"x": {"y": 1, "y": 2}}]',
        b'"\\ud800"',
        b'"\n"',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000,
        "[]".encode("utf-16"),
    ],
    ids=lambda sent: sent[:24],
)
def test_what_is_not_json_is_malformed(sent: bytes) -> None:
    assert malformed(sent)


@given(st.binary(max_size=40))
def test_no_bytes_can_break_the_reader(sent: bytes) -> None:
    with suppress(Problem):  # and nothing else
        parse_json(sent)


def test_a_malformed_body_is_told_where_reading_stopped() -> None:
    assert malformed(b'{"data":\n [1, 2, oops]}').endswith("at line 2 column 9")


def test_a_key_given_twice_is_not_echoed() -> None:
    detail = malformed(b'{"secret": 1, "secret": 2}')
    assert detail.startswith("a key is given twice at line 1")
    assert "secret" not in detail


def test_a_byte_order_mark_before_a_text_is_no_part_of_it() -> None:
    assert parse_json(BYTE_ORDER_MARK + b"[1]") == [1]
    assert parse_json(b'"' + BYTE_ORDER_MARK + b'"') == "\ufeff"
    assert malformed(BYTE_ORDER_MARK + b"[1, oops]").endswith("at line 1 column 5")


@pytest.mark.parametrize("sent", ["\ufeff", "\ufeff\ufeff[]", "[\ufeff]", "[]\ufeff", " \ufeff[]"])
def test_any_other_byte_order_mark_is_malformed(sent: str) -> None:
    assert malformed(sent.encode())


# The bare word NaN, where others write it


@pytest.mark.parametrize(
    ("sent", "document"),
    [
        (b"NaN", None),
        (b"[1, NaN, 2.5]", [1, None, 2.5]),
        (b'{"a": [{"b": NaN}], "NaN": "NaN"}', {"a": [{"b": None}], "NaN": "NaN"}),
        (BYTE_ORDER_MARK + b"[NaN]", [None]),
        (b'["NaN", 1e308]', ["NaN", 1e308]),  # as without it: who reads that refuses it
    ],
)
def test_nan_may_stand_for_null(sent: bytes, document: object) -> None:
    assert parse_lenient_json(sent) == document


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        (b"[Infinity]", "expected value"),
        (b"[NaN, Infinity]", "a number overflows a double"),
        (b'{"NaN": [-Infinity]}', "a number overflows a double"),
        (b'{"unused": 1e400}', "a number overflows a double"),
        (b"[NaN, 1e400]", "a number overflows a double"),
        (b'{"a": NaN, "a": 1}', "a key is given twice"),
        (b'["NaN", oops]', "expected value"),
        (b"[nan]", "expected ident"),
        (b"[-NaN]", "invalid number"),
        (b"[NaN" + b"[" * 100_000, "expected `,` or `]`"),
        (b"[" * 1000 + b"NaN", "recursion limit exceeded"),
    ],
    ids=lambda each: each[:16],
)
def test_beside_nan_all_is_as_strict_as_ever(sent: bytes, detail: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_lenient_json(sent)
    assert caught.value.kind is MALFORMED_BODY
    assert caught.value.detail.partition(" at ")[0] == detail


# Numbers that a double can't hold


HUGE = (
    *("1e400", "-1e400", "1E+400", "1.5e0309", "9" * 309, "9" * 300 + ".5e9"),
    *("1" + "0" * 400, "2" + "0" * 308, "2" + "0" * 299 + "e9"),
)
LARGE = ("1e300", "1e-400", "1" * 309, '"1e400"', '{"1e400": 1}', "0.1e99", "true", "null", "[]")


@pytest.mark.parametrize("around", ["{}", "[{}]", '{{"x": [1, {{"y": {}}}]}}'])
def test_what_overflows_a_double_is_found_wherever_it_stands(around: str) -> None:
    assert all(overflows(parse_json(around.format(huge).encode())) for huge in HUGE)
    assert not any(overflows(parse_json(around.format(large).encode())) for large in LARGE)


def refusing(kind: ProblemType, body: str) -> Problem:
    """Tell what becomes of a refusal of a body."""

    def read(_: Any) -> None:  # noqa: ANN401 (any JSON)
        raise Problem(kind, "refused")

    with pytest.raises(Problem) as caught:
        read_json(body.encode(), read)
    return caught.value


@pytest.mark.parametrize("huge", HUGE, ids=len)
def test_what_is_refused_is_malformed_if_a_number_in_it_overflows(huge: str) -> None:
    problem = refusing(INVALID_INPUT, f'{{"data": 1, "other": [{huge}]}}')
    assert (problem.kind, problem.detail) == (MALFORMED_BODY, "a number overflows a double")
    assert refusing(NOT_FOUND, f"[{huge}]").kind is NOT_FOUND


@pytest.mark.parametrize("large", LARGE)
def test_what_is_refused_is_refused_as_it_was_if_none_does(large: str) -> None:
    assert refusing(INVALID_INPUT, f"[{large}]").detail == "refused"


def test_what_is_read_is_what_a_body_says() -> None:
    assert read_json(b'{"data": [1, 2.5, null]}', lambda document: document["data"]) == [
        1,
        2.5,
        None,
    ]
    assert read_json(b"[NaN]", lambda document: document, parse_lenient_json) == [None]
