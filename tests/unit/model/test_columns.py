"""Many rows by columns are judged as each of them is by itself, in the same words."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.model.columns import Column, by_columns, judge
from serving.model.features import Feature, Number
from serving.model.rows import Rows
from serving.problems import FieldError, Problem
from tests.unit.samples import (
    boolean,
    category,
    closed_category,
    integer,
    number,
    text,
    unknown,
)

known = number("known").model_copy(update={"known": (1.0, 2.5)})
FEATURES: list[Feature] = [
    number("n"),
    number("n", nullable=True),
    unknown(number("n")),
    known,
    integer("i"),
    integer("i", (-3, 2**53), (-(2**53), 2**53), nullable=True),
    boolean("b"),
    boolean("b", nullable=True),
    category("c"),
    closed_category("c", nullable=True),
    text("t", nullable=True),
]
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
NUMBERS = st.one_of(
    DOUBLES, st.floats(-3, 12), st.integers(-3, 12), st.sampled_from([1.0, 2.5, 5e11])
)
STRINGS = st.one_of(st.sampled_from(["red", "blue", "rare", ""]), st.text(max_size=40))
WHOLE = st.one_of(st.integers(-12, 12), st.integers(-(2**63), 2**63 - 1))


def values_of(feature: Feature) -> st.SearchStrategy[list[Any]]:
    """Give what a file may have in a column of a feature."""
    if isinstance(feature, Number):
        return st.one_of(st.lists(NUMBERS.map(float), min_size=1), st.lists(WHOLE, min_size=1))
    return st.lists(st.booleans() if feature.type == "boolean" else STRINGS, min_size=1)


@pytest.mark.parametrize("feature", FEATURES, ids=lambda one: f"{one.type} {one.nullable}")
@given(data=st.data())
def test_rows_are_judged_as_they_are_one_by_one(feature: Feature, data: st.DataObject) -> None:
    values = data.draw(values_of(feature))
    gone = data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    others = data.draw(st.dictionaries(st.integers(0, len(values) - 1), st.sampled_from(["x", 7])))
    others = {at: other for at, other in others.items() if feature.mistake(other)}
    column = column_of(values, gone, others)
    items = [None if gone[at] else value for at, value in enumerate(values)]
    for at, other in others.items():
        items[at] = other

    judged = judge([feature], [column], {})

    taken = judged.columns[0].objects()
    for at, item in enumerate(items):
        mistakes = [told.detail for told, rows in judged.mistakes if at in rows]
        warnings = [told.detail for told, rows in judged.warnings if at in rows]
        value = [] if mistakes else [repr(taken.pop(0))]
        assert (value, mistakes, warnings) == one_by_one(feature, item)
        assert judged.good[at] == (not mistakes)
    assert taken == []


def one_by_one(feature: Feature, item: object) -> tuple[list[str], list[str], list[str]]:
    """Give the value as the service takes it, or what it finds wrong; and unusual."""
    try:
        question = Rows([feature], max_rows=1).one([item], ())
    except Problem as problem:
        return [], [one.detail for one in problem.errors], []
    return [repr(question.rows[0][0])], [], [one.detail for one in question.warnings]


def column_of(values: list[Any], gone: list[bool], others: dict[int, Any]) -> Column:
    """Give a column as a reader does."""
    for at in others:
        gone[at] = False
    missing = np.array(gone) if any(gone) else None
    if isinstance(values[0], str):
        words = list(dict.fromkeys(values))
        return Column(np.array([words.index(each) for each in values]), missing, words, others)
    return Column(np.array(values), missing, None, others)


def test_of_broken_rows_nothing_else_is_told() -> None:
    broken = {1: FieldError("", "expected 5 values, got 4")}
    column = Column(np.array([99.0, 99.0, 99.0]), None, None, {0: "x", 1: "x"})

    judged = judge([number("n")], [column], broken)

    assert [(told.detail, rows.tolist()) for told, rows in judged.mistakes] == [
        ("expected 5 values, got 4", [1]),
        ("expected a number, got a string", [0]),
    ]
    assert [rows.tolist() for _, rows in judged.warnings] == [[2]]
    assert judged.good.tolist() == [False, False, True]


def test_validated_rows_are_given_by_columns() -> None:
    features = (number("n", nullable=True), integer("i"), boolean("b"), text("t", nullable=True))
    rows = [(1.5, 2, True, "x"), (None, 3, False, None), (0.0, -4, True, "x")]
    columns = by_columns(features, rows)
    assert list(zip(*(column.objects() for column in columns), strict=True)) == rows
