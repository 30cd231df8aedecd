"""Types of features, and the dtypes that estimators take."""

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.unit.training.table.tables import ROWS, read, table_of
from training.table.table import Table, to_table


@pytest.mark.parametrize(
    ("values", "kind", "dtype"),
    [
        ([1.5, 2.0, 2.5, -1.0], "number", "float64"),
        ([1.5, None, 2.5, -1.0], "number", "float64"),
        (np.array([1.5, 2, 2.5, -1], "float32"), "number", "float64"),
        ([Decimal("1.5"), None, Decimal(2), Decimal(3)], "number", "float64"),
        (np.array([1, 2.5, 2, 3], object), "number", "float64"),
        ([3, 1, 2, 2], "integer", "int64"),
        (np.array([3, 1, 2, 2], "uint8"), "integer", "int64"),
        (pd.array([3, None, 2, 2], "Int64"), "integer", "float64"),
        (pd.array([3, 1, 2, 2], "int64[pyarrow]"), "integer", "int64"),
        (pd.Categorical([3, 1, 2, 2]), "integer", "int64"),
        ([True, False, False, False], "boolean", "bool"),
        (np.array([True, None, False, False], object), "boolean", "float64"),
        (["True", "FALSE", "true", "true"], "category", "object"),
        (["a", "b", "b", "c"], "category", "object"),
        (["a", "b", None, "c"], "category", "object"),
        (pd.Categorical(["a", "b", None, "c"]), "category", "object"),
        (pd.array(["a", "b", None, "c"], "string"), "category", "object"),
    ],
)
def test_each_column_has_a_type_and_the_dtype_that_estimators_take(
    values: Any,  # noqa: ANN401
    kind: str,
    dtype: str,
) -> None:
    feature = pd.Series(values).take([0, 1, 2, 3] * (ROWS // 4)).reset_index(drop=True)

    table = table_of(feature, keep=["x"])

    assert table.types == {"size": "number", "x": kind}
    assert table.frame.dtypes.astype(str).to_dict() == {"size": "float64", "x": dtype}
    assert table.frame["x"].isna().equals(feature.isna())
    assert table.frame.index.equals(pd.RangeIndex(ROWS))


def test_missing_booleans_become_numbers_with_gaps() -> None:
    table = table_of([True, None, False, True] * 10)

    np.testing.assert_array_equal(table.frame["x"][:4], [1.0, np.nan, 0.0, 1.0])


def test_strings_are_pythons_own_and_missing_ones_are_nan() -> None:
    values = pd.Series(["a", None, "b", "b"] * 10, dtype="string")

    found = table_of(values).frame["x"].tolist()

    assert found[0] == "a"
    assert type(found[0]) is str
    assert type(found[1]) is float


def texts(distinct: int, repeats: int, length: int) -> Table:
    """A table with a column of different texts, each in several rows."""
    values = [f"{index} {'z' * (length - 5)}".ljust(length) for index in range(distinct)] * repeats
    return to_table(pd.DataFrame({"x": values}), task="clustering")


@pytest.mark.parametrize(
    ("distinct", "repeats", "length", "kind"),
    [
        (50, 2, 9, "category"),
        (51, 2, 9, "text"),
        (50, 1, 9, "text"),
        (50, 2, 100, "category"),
        (50, 2, 101, "text"),
        (1000, 20, 9, "category"),
        (1000, 19, 9, "text"),
        (1001, 20, 9, "text"),
    ],
)
def test_strings_are_categories_if_they_repeat_and_are_short(
    distinct: int, repeats: int, length: int, kind: str
) -> None:
    assert texts(distinct, repeats, length).types == {"x": kind}


@given(
    st.lists(
        st.floats(allow_infinity=False, width=64).map(lambda value: value + 0.0),
        min_size=10,
        max_size=30,
    )
)
def test_any_floats_come_through_unchanged(values: list[float]) -> None:
    assume(not all(value != value for value in values))

    table = to_table(pd.DataFrame({"x": values}), task="clustering", keep=["x"])

    np.testing.assert_array_equal(table.frame["x"], values)
    assert table.types == {"x": "number"}


@given(
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20),
    mark=st.sampled_from([".", ","]),
)
def test_any_floats_are_read_from_text_unchanged(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], mark: str
) -> None:
    path = tmp_path_factory.mktemp("any") / "table.csv"
    lines = [f"{value!r};x".replace(".", mark) for value in values]
    path.write_text("\n".join(["a;b", *lines]))

    assert read(path)["a"].tolist() == values
