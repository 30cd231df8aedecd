"""A table is scored as its rows are one by one; where that fails, the row alone is told of."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from serving.bulk import BadRowsError, Scorer
from serving.files.source import TableError
from serving.model.columns import by_columns
from serving.problems import FieldError
from tests.unit.model.saved import echo, proof_of, stored, stored_compiled
from tests.unit.samples import PROBABILITIES, description
from tests.wire.estimators import EXITS_AT, FAILS_ABOVE, REFUSES, Fragile

ROWS = {"length": [0.25, 0.75, 5.0], "a/b ~c": [0.75, 0.25, 4.0]}


class Thresholds:
    """Tells labels by the first feature; classes are numbers."""

    classes_ = np.array([0, 1])
    n_features_in_ = 2

    def predict(self, rows: Any) -> Any:  # noqa: ANN401 (an array)
        """Give the labels."""
        return (rows[:, 0] > 0).astype(float)

    def predict_proba(self, rows: Any) -> Any:  # noqa: ANN401 (an array)
        """Give the probabilities."""
        second = 1 / (1 + np.exp(-rows[:, 0]))
        return np.column_stack([1 - second, second])


def fragile() -> Scorer:
    """Load a model that fails on some rows."""
    described = description((0, 1), asked=PROBABILITIES)
    return Scorer(str(stored(Fragile(Thresholds()), described).tag))


def test_answers_stand_beside_the_input_or_some_of_it() -> None:
    tag = str(stored_compiled().tag)
    table = pa.table({"id": ["a", "b", "c"], **ROWS})
    scored = Scorer(tag)(table)
    assert scored.schema == Scorer(tag).schema(table.schema)
    assert scored.select(table.schema.names) == table
    assert scored.drop_columns(table.schema.names).to_pydict() == {
        "prediction": ["spam", "ham", "ham"],
        "probability_ham": [0.25, 0.75, 5.0],
        "probability_spam": [0.75, 0.25, 4.0],
        "warnings": [None, None, None],
        "error": [None, None, None],
    }
    some = Scorer(tag, columns=["id"])(table.to_batches()[0])
    assert isinstance(some, pa.RecordBatch)
    assert some.schema.names[:2] == ["id", "prediction"]


def test_a_table_that_does_not_fit_is_refused_with_all_that_is_wrong() -> None:
    table = pa.table({"lenght": [1.0], "a/b ~c": ["x"], "error": [1]})
    with pytest.raises(TableError) as told:
        Scorer(str(stored_compiled().tag))(table)
    for part in ("did you mean 'lenght'", "'a/b ~c' is of type string", "'error'"):
        assert part in str(told.value)


def test_bad_rows_get_no_answer_and_the_service_s_own_words() -> None:
    table = pa.table({"length": [0.25, None, 1e13], "a/b ~c": [0.75, 99.0, 1.0]})
    scorer = Scorer(str(stored_compiled().tag))
    scored = scorer(table).to_pylist()
    told = "length: expected a number between -1000000000000.0 and 1000000000000.0"
    assert [row["prediction"] for row in scored] == ["spam", None, None]
    assert [row["error"] for row in scored] == [None, "length: expected a number, got null", told]
    assert [row["warnings"] for row in scored] == [None, None, None]

    with pytest.raises(BadRowsError, match="2 rows are bad, row 2 of its batch first: length: exp"):
        Scorer(str(stored_compiled().tag), errors="fail")(table)


def test_warnings_are_told_of_each_row_and_counted_by_feature() -> None:
    scorer = Scorer(str(stored_compiled().tag))
    columns = by_columns(scorer.description.features, [(9.5, 1.0), (1.0, 1.0), (9.5, 9.5)])
    scored = scorer.score(columns)
    told = "outside of the range seen in training, 0.0 to 9.0"
    assert scored.batch.column("warnings").to_pylist() == [
        f"length: {told}",
        None,
        f"length: {told}; a/b ~c: {told}",
    ]
    assert scored.unusual == {"length": 2, "a/b ~c": 1}
    assert scored.mistakes == []


def test_rows_on_which_the_model_fails_are_told_and_the_others_answered() -> None:
    scorer = fragile()
    first = [1.0, FAILS_ABOVE + 1, -2.0, REFUSES, 3.0, EXITS_AT, -4.0]
    scored = scorer.score(by_columns(scorer.description.features, [(one, 1.0) for one in first]))
    assert scored.batch.column("prediction").to_pylist() == [1, None, 0, None, 1, None, 0]
    assert scored.values[0].to_pylist() == [1, 0, 1, 0]
    unusual = FieldError("/length", "outside of the range seen in training, 0.0 to 9.0")
    assert scored.mistakes == [
        (1, FieldError("", "the model fails on it: RuntimeError")),
        (3, unusual),
        (3, FieldError("", "the model can't compute with values unlike those of training")),
        (5, FieldError("", "the model fails on it: SystemExit")),
    ]
    assert scored.unusual == {"length": 2}  # of the rows that were answered


def test_broken_rows_are_told_as_they_are_and_no_row_may_be_left() -> None:
    scorer = Scorer(str(stored_compiled().tag))
    broken = {0: FieldError("", "expected 2 values, got 1")}
    columns = by_columns(scorer.description.features, [(1.0, 1.0)])
    scored = scorer.score(columns, broken)
    assert scored.mistakes == [(0, broken[0])]
    assert scored.values == ()
    assert scored.batch.to_pylist()[0]["prediction"] is None
    empty = pa.table({"length": pa.array([], pa.float64()), "a/b ~c": pa.array([], pa.float64())})
    assert scorer(empty).num_rows == 0


class Counting(Thresholds):
    """Answers as a graph that echoes does, and tells that it was asked."""

    asked = 0

    def predict_proba(self, rows: Any) -> Any:  # noqa: ANN401 (an array)
        """Give the probabilities."""
        type(self).asked += 1
        return rows


def test_of_two_that_give_the_same_bits_the_quicker_one_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = echo()
    described = description(asked=PROBABILITIES, compiled=proof_of(graph, exact=True))
    scorer = Scorer(str(stored(Counting(), described, graph).tag))
    monkeypatch.setattr("serving.bulk.TIMED_ROWS", 2)
    times = iter((2.0, 1.0))
    monkeypatch.setattr("serving.bulk.shortest_s", lambda run, _: next(times))
    assert scorer(pa.table(ROWS)).column("prediction").to_pylist() == ["spam", "ham", "ham"]
    before = Counting.asked
    scorer(pa.table(ROWS))
    assert Counting.asked == before + 1
