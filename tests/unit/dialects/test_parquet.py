"""Parquet: read as an Arrow stream is, where pyarrow is installed; test_arrow has damaged files."""

import io

import pyarrow as pa
import pytest
from pyarrow import parquet

from serving.dialects import parquet as room
from serving.dialects.dialect import Sent
from serving.dialects.formats import IN_PARTS
from serving.dialects.ours import many
from serving.dialects.parquet import PARQUET_MEDIA_TYPE
from serving.model.about import About
from serving.model.outputs import Prediction
from serving.model.rows import Question, Rows
from serving.problems import Problem
from tests.unit.samples import PROBABILITIES, category, description, number

ABOUT = About(description(asked=PROBABILITIES), "v7")
ROWS = Rows([number("length"), category("colour")], 2, ("kind",))
TABLE = pa.table(
    {
        "colour": ["red", "blue"] * 500,
        "kind": pa.array([1] * 1000, pa.timestamp("s")),
        "length": [1.5, 2.5] * 500,
    }
)


def file_of(table: pa.Table) -> bytes:
    """Write a table."""
    written = io.BytesIO()
    parquet.write_table(table, written, row_group_size=300)
    return written.getvalue()


def read(body: bytes, max_bytes: int = 10**6) -> Question:
    """Read a file."""
    return many.read(Sent(body, PARQUET_MEDIA_TYPE, max_bytes=max_bytes), ABOUT, ROWS).question


def test_rows_go_in_and_predictions_come_out() -> None:
    assert read(file_of(TABLE)).rows == [(1.5, "red"), (2.5, "blue")] * 500
    asked = many.read(Sent(file_of(TABLE), PARQUET_MEDIA_TYPE, PARQUET_MEDIA_TYPE), ABOUT, ROWS)
    answer = asked.write([Prediction("ham", [0.75, 0.25])] * 1000, "id-1")
    assert answer.media_type == PARQUET_MEDIA_TYPE
    told = parquet.read_table(io.BytesIO(answer.body)).to_pylist()
    one = {"prediction": "ham", "probability_ham": 0.75, "probability_spam": 0.25}
    assert told == [one] * 1000


@pytest.mark.parametrize(
    ("body", "max_bytes", "told"),
    [
        (file_of(TABLE)[:-1], 10**6, (400, "no Parquet file, or a damaged one")),
        (b"", 10**6, (400, "no Parquet file, or a damaged one")),
        (file_of(TABLE), 15_999, (413, "the table holds more than 15999 bytes")),
        (file_of(TABLE.drop(["colour"])), 10**6, (422, "the column colour is missing")),
        (file_of(TABLE.slice(0, 0)), 10**6, (422, "no rows")),
    ],
    ids=["cut off", "empty", "large", "a column is missing", "no rows"],
)
def test_what_is_no_file_or_does_not_fit_is_refused(
    body: bytes, max_bytes: int, told: tuple[int, str]
) -> None:
    with pytest.raises(Problem) as caught:
        read(body, max_bytes)
    assert caught.value.kind.status == told[0]
    assert told[1] in caught.value.sentence


def test_without_pyarrow_it_is_told_that_this_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "IS_INSTALLED", False)
    with pytest.raises(Problem, match="only where pyarrow is installed") as caught:
        read(file_of(TABLE))
    assert caught.value.kind.status == 415
    assert PARQUET_MEDIA_TYPE in IN_PARTS
