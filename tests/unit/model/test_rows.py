"""Rows of a request: what is accepted comes in unchanged, what is refused is refused in full."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.model.features import Feature
from serving.model.rows import (
    MAX_NAME_CHARS,
    MAX_PROBLEMS,
    ROWS_AT_ONCE,
    Question,
    Rows,
    below,
)
from serving.problems import PROBLEM_JSON, FieldError, Problem
from tests.unit.drawn import NAMES, features, instances
from tests.unit.pointers import assert_points_into
from tests.unit.samples import MIXED, category, integer, number

MAX_ROWS = 7
ROWS = Rows([number(name) for name in NAMES], MAX_ROWS)
ROW = [1.5, 2.0, 3.25]
NAMED = dict(zip(NAMES, ROW, strict=True))
PLACE = ("data",)


def one(item: object, rows: Rows = ROWS) -> Question:
    """Read one instance."""
    return rows.one(item, PLACE)


def many(items: object, rows: Rows = ROWS) -> Question:
    """Read instances."""
    return rows.many(items, PLACE)


def refusal(read: Callable[..., Question], *arguments: object) -> Problem:
    """Tell what is refused."""
    with pytest.raises(Problem) as caught:
        read(*arguments)
    return caught.value


def mistakes(item: object, rows: Rows = ROWS) -> list[tuple[str, str]]:
    """Tell the mistakes in one instance, as pairs of pointer and detail."""
    problem = refusal(one, item, rows)
    assert problem.kind.slug == "invalid-input"
    return [(error.pointer, error.detail) for error in problem.errors]


def warnings(question: Question) -> list[tuple[str, str]]:
    """Tell what is unusual, as pairs of pointer and detail."""
    return [(warning.pointer, warning.detail) for warning in question.warnings]


# What is accepted


def test_both_forms_of_an_instance_become_a_row_in_the_model_s_order() -> None:
    expected = Question([tuple(ROW)], is_one=True)
    assert one(ROW) == one(NAMED) == one(dict(reversed(NAMED.items()))) == expected


def test_instances_in_any_form_become_rows_in_their_order() -> None:
    assert many([ROW, NAMED, [1, 2, 3]]) == Question(
        [tuple(ROW), tuple(ROW), (1.0, 2.0, 3.0)], is_one=False
    )
    assert many([]) == Question([], is_one=False)


def test_a_model_of_one_feature_takes_both_forms() -> None:
    single = Rows([number("x")], MAX_ROWS)
    assert many([[3], {"x": 4}], single).rows == [(3.0,), (4.0,)]


def test_a_row_may_have_values_of_every_type() -> None:
    rows = Rows(MIXED, MAX_ROWS)
    row = [4.5, 7, True, "red", "blue", "a text"]
    named = {feature.name: value for feature, value in zip(MIXED, row, strict=True)}
    assert many([row, named], rows).rows == [tuple(row)] * 2


@dataclass(frozen=True, slots=True)
class Sent:
    """A model's features, and what somebody sends it."""

    features: list[Feature]
    items: list[Any]


@st.composite
def any_sent(draw: st.DrawFn) -> Sent:
    """Draw features, and instances that are mostly of their form."""
    names = draw(st.lists(st.sampled_from([*NAMES, ""]), unique=True, min_size=1, max_size=3))
    of = [draw(features(name)) for name in names]
    return Sent(of, draw(st.lists(instances(of), min_size=1, max_size=3)))


def values_of(item: object, of: list[Feature]) -> list[Any] | None:
    """Give the values of an instance in the features' order, if it has one for each of them."""
    names = [feature.name for feature in of]
    if isinstance(item, dict) and item.keys() == set(names):
        return [item[name] for name in names]
    return item if isinstance(item, list) and len(item) == len(names) else None


@settings(max_examples=60)
@given(any_sent())
def test_rows_are_taken_exactly_and_what_is_wrong_or_unusual_is_told_by_its_place(
    sent: Sent,
) -> None:
    rows = Rows(sent.features, MAX_ROWS)
    wrong: list[int] = []
    good: list[Any] = []
    unusual: list[str] = []
    for index, item in enumerate(sent.items):
        values = values_of(item, sent.features)
        if values is None or any(
            feature.mistake(value) for feature, value in zip(sent.features, values, strict=True)
        ):
            wrong.append(index)
            continue
        for at, (feature, value) in enumerate(zip(sent.features, values, strict=True)):
            if feature.unlike(value):
                part = feature.name if isinstance(item, dict) else str(at)
                escaped = part.replace("~", "~0").replace("/", "~1")
                unusual.append(f"/data/{len(good)}/{escaped}")
        good.append(item)
    taken = many(good, rows)
    assert taken.rows == [tuple(values_of(item, sent.features) or ()) for item in good]
    assert taken.rows == [row for item in good for row in one(item, rows).rows]
    assert [place for place, _ in warnings(taken)] == unusual
    assert sum(taken.unusual.values()) == len(unusual)
    if wrong:
        told = refusal(many, sent.items, rows)
        assert {int(error.pointer.split("/")[2]) for error in told.errors} == set(wrong)
        for error in told.errors:
            assert_points_into({"data": sent.items}, error)


# What is unlike training: accepted, with a warning


def test_what_is_unusual_is_told_as_it_was_sent_and_counted_by_feature() -> None:
    rows = Rows([number("a/b ~c"), category("b"), number("c")], MAX_ROWS)
    question = many([[99, "red", 1], [1, "red", 1], {"a/b ~c": -1, "b": "green", "c": 2}], rows)
    range_ = "outside of the range seen in training, 0.0 to 9.0"
    assert warnings(question) == [
        ("/data/0/0", range_),
        ("/data/2/a~1b ~0c", range_),
        ("/data/2/b", "a category seen rarely or never in training"),
    ]
    assert question.unusual == {"a/b ~c": 2, "b": 1}
    assert warnings(one([1, "green", 1], rows)) == [
        ("/data/1", "a category seen rarely or never in training")
    ]


def test_a_missing_value_is_not_unusual() -> None:
    rows = Rows([integer("n", nullable=True), category("c", nullable=True)], MAX_ROWS)
    assert one([None, None], rows) == Question([(None, None)], is_one=True)
    assert warnings(many([[99, None]], rows)) == warnings(many([[99, "red"]], rows))


@pytest.mark.parametrize("count", [MAX_PROBLEMS, MAX_PROBLEMS + 1, 1000])
def test_no_more_warnings_are_listed_than_the_limit_but_all_are_counted(count: int) -> None:
    question = many([[99]] * count, Rows([number("x")], 1000))
    listed = [f"/data/{n}/0" for n in range(MAX_PROBLEMS)]
    closing = [("", f"no more than {MAX_PROBLEMS} are listed")] * (count > MAX_PROBLEMS)
    assert [place for place, _ in warnings(question)[:MAX_PROBLEMS]] == listed
    assert warnings(question)[MAX_PROBLEMS:] == closing
    assert question.unusual == {"x": count}


# Whole rows: with the columns of the table that the model does not use

WHOLE = Rows([number(name) for name in NAMES], MAX_ROWS, ignored=("kind", "id", "on/off ~"))


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
        assert many([whole, ROW, NAMED], WHOLE).rows == [tuple(ROW)] * 3
        assert warnings(one(whole | {"length": 99}, WHOLE)) == [
            ("/data/length", "outside of the range seen in training, 0.0 to 9.0")
        ]


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (NAMED | {"kind": "ham", "kinds": 1}, [("/data/kinds", "unknown name")]),
        (NAMED | {"Kind": 1}, [("/data/Kind", "unknown name")]),
        (NAMED | {"kind ": 1, "id": 2}, [("/data/kind ", "unknown name")]),
        (NAMED | {"kind": 1, "length": "1"}, [("/data/length", "expected a number, got a string")]),
        ({"kind": 1, "length": 1, "ünï": 2}, [("/data/a~1b ~0c", "missing")]),
        ({"kind": 1}, [(f"/data{place}", "missing") for place in ("/length", "/a~1b ~0c", "/ünï")]),
        ([*ROW, "ham"], [("/data", "expected 3 values, got 4")]),
        (NAMED | {"on/off ~": [1e400]}, [("/data/on~1off ~0", "a number overflows a double")]),
        (NAMED | {"id": -(10**400)}, [("/data/id", "a number overflows a double")]),
    ],
)
def test_of_a_whole_row_only_what_is_wrong_is_told(
    item: object, expected: list[tuple[str, str]]
) -> None:
    assert mistakes(item, WHOLE) == expected


# What the model does not take


@pytest.mark.parametrize("count", [0, 1, 2, 4, 300])
def test_a_row_has_as_many_values_as_the_model_features(count: int) -> None:
    assert mistakes([1] * count) == [("/data", f"expected 3 values, got {count}")]


@pytest.mark.parametrize(
    ("item", "kind"), [(None, "null"), (5, "a number"), ("x", "a string"), (True, "a boolean")]
)
def test_an_instance_is_an_array_or_an_object_and_a_batch_an_array(item: object, kind: str) -> None:
    wanted = "expected an array of values or an object by feature name"
    assert mistakes(item) == [("/data", f"{wanted}, got {kind}")]
    (error,) = refusal(many, item).errors
    assert error == FieldError("/data", f"expected an array of instances, got {kind}")


def test_every_mistake_is_listed_with_its_place() -> None:
    assert mistakes({"length": "long", "x/y": 1, "ünï": None}) == [
        ("/data/a~1b ~0c", "missing"),
        ("/data/x~1y", "unknown name"),
        ("/data/length", "expected a number, got a string"),
        ("/data/ünï", "expected a number, got null"),
    ]
    problem = refusal(many, [ROW, [1, "x", 3], {"length": 1}])
    assert [error.pointer for error in problem.errors] == [
        "/data/1/1",
        "/data/2/a~1b ~0c",
        "/data/2/ünï",
    ]


def test_an_object_with_as_many_names_as_features_may_still_have_the_wrong_ones() -> None:
    assert mistakes({"length": 1, "a/b ~c": 2, "uni": 3}) == [
        ("/data/ünï", "missing"),
        ("/data/uni", "unknown name"),
    ]


def test_a_place_is_where_the_reader_of_a_body_says() -> None:
    problem = refusal(ROWS.many, [[1, "x", 3]], ("inputs", 0, "a/b"))
    assert problem.errors[0].pointer == "/inputs/0/a~1b/0/1"
    assert refusal(ROWS.one, None, ()).errors[0].pointer == ""


def test_values_may_stand_anywhere_in_a_body() -> None:
    columns = {"length": 4, "a/b ~c": 0, "ünï": 2}

    def places(row: int, *value: str | int) -> tuple[str | int, ...]:
        names = [NAMES[each] if isinstance(each, int) else each for each in value]
        return ("columns", *(columns[name] for name in names), row)

    def pointers(items: list[Any], *known: FieldError) -> list[str]:
        return [error.pointer for error in refusal(ROWS.each, items, places, known).errors]

    assert pointers([ROW, [1, "x", None]]) == ["/columns/0/1", "/columns/2/1"]
    assert pointers([ROW, {"length": "x", "a/b ~c": 1}]) == ["/columns/2/1", "/columns/4/1"]
    assert pointers([ROW, [1, 2], None]) == ["/columns/1", "/columns/2"]
    assert pointers([ROW, [1, 2]], FieldError("/order", "unknown")) == ["/order", "/columns/1"]
    unusual = ROWS.each([ROW, [1, 2, 99], {**NAMED, "length": -1}], places)
    assert [place for place, _ in warnings(unusual)] == ["/columns/2/1", "/columns/4/2"]
    assert not unusual.is_one


def test_mistakes_that_are_known_already_refuse_what_is_good_and_stand_first() -> None:
    known = [FieldError("/extra", "unknown name")]
    assert refusal(ROWS.one, ROW, PLACE, known).errors == known
    for items, place in (([ROW, [1, 2]], "/data/1"), (None, "/data")):
        told = refusal(ROWS.many, items, PLACE, known)
        assert [error.pointer for error in told.errors] == ["/extra", place]


def test_a_row_that_is_wrong_is_not_told_what_is_unusual_about_it() -> None:
    rows = Rows([number("a"), number("b")], MAX_ROWS)
    assert [place for place, _ in mistakes([99, "x"], rows)] == ["/data/1"]


def test_the_detail_counts_the_mistakes() -> None:
    assert refusal(one, [1, "x", 3]).detail == "1 problem in the request body"
    assert refusal(one, [1, "", ""]).detail == "2 problems in the request body"


@pytest.mark.parametrize("count", [MAX_PROBLEMS - 1, MAX_PROBLEMS, 1000])
def test_no_more_mistakes_are_listed_than_the_limit(count: int) -> None:
    names = {f"x{n}": n for n in range(count)}
    single = Rows([number("x")], 1000)
    for problem in (
        refusal(one, NAMED | names),
        refusal(many, [[None]] * count, single),
    ):
        assert len(problem.errors) == min(count, MAX_PROBLEMS)
        wording = f"{MAX_PROBLEMS} or more problems" if count >= MAX_PROBLEMS else f"{count} prob"
        assert problem.detail.startswith(wording)


def test_an_over_long_name_is_not_repeated() -> None:
    length = MAX_NAME_CHARS + 1
    assert mistakes({**NAMED, "n" * length: 1}) == [
        ("/data", f"unknown name of {length} characters")
    ]


def test_input_values_are_never_repeated() -> None:
    for item in (["31415926", 2, 3], [31415926e10, 2, 3], {"length": "31415926"}, "31415926"):
        assert b"31415926" not in PROBLEM_JSON.body(refusal(one, item), "id", "/")


def test_too_many_rows_are_refused_before_any_is_looked_at() -> None:
    problem = refusal(many, [["x"]] * (MAX_ROWS + 1))
    assert problem.kind.slug == "batch-too-large"
    assert problem.detail == f"{MAX_ROWS + 1} rows, but at most {MAX_ROWS} are accepted"
    assert len(many([ROW] * MAX_ROWS).rows) == MAX_ROWS


def test_where_they_are_predicted_in_parts_there_may_be_any_number_of_rows() -> None:
    rows = [ROW] * (3 * MAX_ROWS)
    assert len(ROWS.each(rows, below(PLACE), in_parts=True).rows) == 3 * MAX_ROWS
    assert refusal(ROWS.each, rows, below(PLACE)).kind.slug == "batch-too-large"


def test_rows_that_are_checked_in_several_calls_are_read_like_all_others() -> None:
    count = 2 * ROWS_AT_ONCE + 1
    rows = [[1 + number / count, 2, 3] for number in range(count)]
    assert ROWS.each(rows, below(PLACE), in_parts=True).rows == list(map(tuple, rows))
    unusual = ROWS.each([*rows, [99, 2, 3]], below(PLACE), in_parts=True)
    assert [place for place, _ in warnings(unusual)] == [f"/data/{count}/0"]
    for last in ([99, 2, "x"], {**NAMED, "ünï": "x"}):
        with pytest.raises(Problem) as caught:
            ROWS.each([*rows, last], below(PLACE), in_parts=True)
        (error,) = caught.value.errors
        assert error.pointer.startswith(f"/data/{count}/")


def test_rows_that_are_all_wrong_take_no_longer_to_refuse_than_good_ones_to_read() -> None:
    wide = Rows([number(f"n{index}") for index in range(200)], 1000)

    def least_s(value: object) -> float:
        times_s = []
        for _ in range(3):
            started_s = time.thread_time()
            with suppress(Problem):
                many([[value] * 200] * 1000, wide)
            times_s.append(time.thread_time() - started_s)
        return min(times_s)

    assert least_s("x") < least_s(1)
