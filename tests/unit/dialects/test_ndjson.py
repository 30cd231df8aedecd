"""NDJSON: a line out for each line in, with what is wrong in its place."""

import json
from typing import Any

import pytest

from serving.dialects.dialect import Asked, Sent
from serving.dialects.ndjson import NDJSON_MEDIA_TYPE, read_in_parts
from serving.dialects.ours import many
from serving.model.about import About
from serving.model.outputs import Prediction
from serving.model.rows import Rows
from serving.problems import Problem
from tests.unit.samples import PROBABILITIES, description, number

ABOUT = About(description(asked=PROBABILITIES), "v7")
ROWS = Rows([number("length"), number("a/b ~c")], 3)
HAM = Prediction("ham", [0.75, 0.25])


def parts_of(body: bytes) -> list[Asked]:
    """Read a body part by part."""
    return list(read_in_parts(Sent(body, NDJSON_MEDIA_TYPE), ABOUT, ROWS))


def answered(asked: Asked) -> list[Any]:
    """Answer a part, with ham for each row."""
    written = asked.write([HAM] * len(asked.question.rows), "id-1")
    assert written.media_type == NDJSON_MEDIA_TYPE
    assert written.body.endswith(b"\n")
    return list(map(json.loads, written.body.splitlines()))


def test_lines_are_read_as_many_at_a_time_as_a_batch_may_have_and_blank_ones_are_none() -> None:
    one, two = parts_of(b'\xef\xbb\xbf[1, 2]\r\n\n{"a/b ~c": 4, "length": 3}\n \t\n[5,6]\n[7, 8]')
    assert one.question.rows == [(1, 2), (3, 4), (5, 6)]
    assert (two.question.rows, two.question.numbers) == ([(7, 8)], range(3, 4))
    told = {"prediction": "ham", "probabilities": {"ham": 0.75, "spam": 0.25}}
    assert (answered(one), answered(two)) == ([told] * 3, [told])
    assert parts_of(b"\n \n") == parts_of(b"") == []


def test_what_is_wrong_or_unusual_is_told_in_the_place_of_its_line() -> None:
    good, bad = parts_of(b'[1, 2]\n{"length": "1", "colour": 2}\n[99, 3]\n{"a": \n[1e400, 2]\n[3]')
    assert (good.question.rows, good.question.numbers) == ([(1, 2), (99, 3)], [0, 2])
    assert good.question.unusual == {"length": 1}
    first, second, third = answered(good)
    assert list(first) == ["prediction", "probabilities"]
    assert [each["pointer"] for each in second.pop("errors")] == [
        "/a~1b ~0c",
        "/colour",
        "/length",
    ]
    assert second == {}
    assert [each["pointer"] for each in third["warnings"]] == ["/0"]
    assert third["prediction"] == "ham"
    assert (bad.question.rows, bad.question.numbers) == ([], [])
    details = [each["errors"][0]["detail"] for each in answered(bad)]
    assert details[0].startswith("EOF while parsing")
    assert details[1:] == ["a number overflows a double", "expected 2 values, got 1"]


def test_a_row_that_the_model_fails_on_is_told_in_its_place() -> None:
    (asked,) = parts_of(b"[1, 2]\n[1]\n[99, 4]")
    lines = asked.write([HAM, None], "id-1").body.splitlines()
    first, _, last = map(json.loads, lines)
    assert first["prediction"] == "ham"
    assert last["errors"] == [{"pointer": "", "detail": "the model fails on this row"}]
    assert list(last) == ["errors", "warnings"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"[1, 2]\n\n[1, x]\n", (400, "expected value at line 3 column 5", [])),
        (b"[1, 2]\n\n[1, 1e999]\n", (400, "a number overflows a double", [])),
        (b"[1, 2]\n\n[1, true]\n", (422, "1 problem in the request body", ["/1/1"])),
    ],
)
def test_where_the_answer_has_no_lines_one_that_is_wrong_refuses_all(
    body: bytes, told: tuple[int, str, list[str]]
) -> None:
    with pytest.raises(Problem) as caught:
        many.read(Sent(body, NDJSON_MEDIA_TYPE), ABOUT, ROWS)
    problem = caught.value
    pointers = [each.pointer for each in problem.errors]
    assert (problem.kind.status, problem.detail, pointers) == told


def test_more_lines_than_a_batch_may_have_are_read_for_any_answer_and_others_get_lines() -> None:
    question = many.read(Sent(b"[1, 2]\n" * 7, NDJSON_MEDIA_TYPE), ABOUT, ROWS).question
    assert len(question.rows) == 7
    asked = many.read(Sent(b'{"data": [[1, 2]]}', wanted=NDJSON_MEDIA_TYPE), ABOUT, ROWS)
    assert [line["prediction"] for line in answered(asked)] == ["ham"]
