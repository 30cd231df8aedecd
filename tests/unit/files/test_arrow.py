"""Arrow's arrays become a model's columns, or are refused before the first row."""

from decimal import Decimal

import pyarrow as pa
import pytest

from serving.files.arrow import DECIMAL, NAN, check_fit, column_of, validate
from serving.files.source import TableError
from serving.model.features import Feature
from tests.unit.samples import boolean, category, integer, number, text

NUMBER, WORD = number("x", nullable=True), category("x", nullable=True)
ANSWERS = ("prediction", "warnings", "error")


@pytest.mark.parametrize(
    ("feature", "array", "values"),
    [
        (NUMBER, pa.array([1, None, 3], pa.uint8()), [1, None, 3]),
        (NUMBER, pa.array([2**63 + 1, 1], pa.uint64()), [float(2**63 + 1), 1.0]),
        (NUMBER, pa.array([0.1, None, -0.0], pa.float32()), [0.10000000149011612, None, -0.0]),
        (NUMBER, pa.array([1.5], pa.float16()), [1.5]),
        (NUMBER, pa.array([1.5, 1.5, None]).dictionary_encode(), [1.5, 1.5, None]),
        (NUMBER, pa.array([Decimal(5), None], pa.decimal128(9, 0)), [5, None]),
        (NUMBER, pa.nulls(2), [None, None]),
        (NUMBER, pa.array([], pa.int8()), []),
        (boolean("x"), pa.array([True, False, None]), [True, False, None]),
        (boolean("x"), pa.nulls(1), [None]),
        (WORD, pa.array(["a", None, "é", "a"], pa.string_view()), ["a", None, "é", "a"]),
        (WORD, pa.array(["", "b"], pa.large_string()), ["", "b"]),
        (WORD, pa.nulls(2), [None, None]),
        (WORD, pa.nulls(2).dictionary_encode(), [None, None]),
        (text("x"), pa.array([None, None], pa.string()), [None, None]),
        (WORD, pa.DictionaryArray.from_arrays(pa.array([1, 0, None]), pa.array(["a", None])), None),
        (WORD, pa.DictionaryArray.from_arrays(pa.array([2]), pa.array(["a", "b", "c"])), ["c"]),
        (
            WORD,
            pa.DictionaryArray.from_arrays(
                pa.array([1, 1, None], pa.uint64()), pa.array(["a", "b"], pa.string_view())
            ).slice(1),
            ["b", None],
        ),
    ],
    ids=str,
)
def test_values_are_those_that_the_array_has(
    feature: Feature, array: pa.Array, values: list[object] | None
) -> None:
    column, taken = column_of(feature, array)
    assert column.objects() == (array.to_pylist() if values is None else values)
    assert len(column) == len(array)
    assert not taken


def test_nan_is_missing_and_counted() -> None:
    column, taken = column_of(NUMBER, pa.array([1.0, float("nan"), None, float("inf")]))
    assert column.objects() == [1.0, None, None, float("inf")]
    assert taken == {("x", NAN): 1}


def test_decimals_are_the_doubles_that_their_text_is_read_as() -> None:
    texts = [
        f"{whole}.{part:017d}" for whole in (0, 7, 123456) for part in range(1, 10**17, 10**15 + 7)
    ]
    column, taken = column_of(NUMBER, pa.array(map(Decimal, texts), pa.decimal128(38, 17)))
    assert column.values.tolist() == list(map(float, texts))
    assert taken == {("x", DECIMAL): len(texts)}


def test_columns_that_never_fit_are_all_told_at_once() -> None:
    features = (number("a"), integer("b"), boolean("c"), category("d"), text("e"), number("f g"))
    schema = pa.schema(
        [
            ("a", pa.string()),
            ("b", pa.timestamp("us")),
            ("c", pa.int8()),
            ("d", pa.dictionary(pa.int8(), pa.int64())),
            ("e", pa.null()),
            ("F_G", pa.float64()),
            ("a", pa.int8()),
            ("prediction", pa.int8()),
        ]
    )
    with pytest.raises(TableError) as told:
        check_fit(schema, features, None, ANSWERS)
    lines = str(told.value).splitlines()
    assert lines[0] == "the model's column 'f g' is missing: did you mean 'F_G'?"
    assert lines[1] == "columns have the same name, rename them: 'a'"
    assert lines[2].startswith("column 'prediction' is named as an answer is")
    assert lines[3].startswith("column 'a' is of type string, where the model takes numbers")
    assert lines[4].startswith("column 'b' is of type timestamp[us]")
    assert lines[5].startswith("column 'c' is of type int8, where the model takes booleans")
    assert lines[6].startswith("column 'd' is of type dictionary<values=int64, indices=int8")
    assert lines[7].startswith("column 'e' has no values")
    assert len(lines) == 9  # the last has the columns that there are


def test_the_column_of_another_feature_is_not_what_was_meant() -> None:
    features = (number("sepal width"), number("petal width"))
    with pytest.raises(TableError) as told:
        check_fit(pa.schema([("Petal width", pa.float64())]), features)
    assert str(told.value).splitlines()[:2] == [
        "the model's column 'sepal width' is missing",
        "the model's column 'petal width' is missing: did you mean 'Petal width'?",
    ]


@pytest.mark.parametrize("kind", [pa.list_(pa.int8()), pa.struct([("a", pa.int8())]), pa.binary()])
def test_nested_and_binary_columns_never_fit(kind: pa.DataType) -> None:
    with pytest.raises(TableError, match="where the model takes"):
        check_fit(pa.schema([("x", kind)]), [WORD])


def test_columns_are_found_by_name_and_kept_in_the_order_asked_for() -> None:
    schema = pa.schema([("id", pa.list_(pa.int8())), ("y", pa.bool_()), ("x", pa.int8())])
    features = (NUMBER, boolean("y"))
    fit = check_fit(schema, features, None, ANSWERS)
    assert (fit.features, fit.kept) == ((2, 1), (0, 1, 2))
    assert fit.notes == ("column 'id' is nothing that the model looks at",)
    assert check_fit(schema, features, ["x", "id"]).kept == (2, 0)
    assert check_fit(schema, features, []).kept == ()
    with pytest.raises(TableError, match="the column 'Idd' is missing: did you mean 'id'"):
        check_fit(schema, features, ["Idd"])


def test_what_is_damaged_is_told() -> None:
    places = pa.DictionaryArray.from_arrays(pa.array([0, 9]), pa.array(["a"]), safe=False)
    for array in (places, pa.array([b"\xff"]).view(pa.string())):
        with pytest.raises(TableError, match="column 'x' is damaged"):
            validate(pa.RecordBatch.from_arrays([array], ["x"]), [0])
