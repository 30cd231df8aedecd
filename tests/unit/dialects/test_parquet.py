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
from serving.files.footers import _struct
from serving.model.about import About
from serving.model.outputs import Prediction
from serving.model.rows import Question, Rows
from serving.problems import Problem
from serving.thrift import Reader
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


def lying(file: bytes, rows: int, size: int) -> bytes:
    """Let a file of one row group say that it has so many rows, and so many bytes in them."""
    begin = len(file) - 8 - int.from_bytes(file[-8:-4], "little")
    fields = Reader(file, begin).struct()
    told = {number: value for number, _, value in fields}
    (group,) = told[4][1]
    group[:] = [(n, kind, {2: size, 3: rows}.get(n, value)) for n, kind, value in group]
    fields = [(n, kind, rows if n == 3 else value) for n, kind, value in fields]
    footer = b"".join(map(bytes, _struct(fields)))
    return file[:begin] + footer + len(footer).to_bytes(4, "little") + file[-4:]


def test_pages_that_hold_more_than_is_told_are_never_inflated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(parquet.ParquetFile, "iter_batches")
    large = pa.table({"length": [1.5], "colour": ["red" * 10**6]})
    for dictionary in (True, False):
        written = io.BytesIO()
        parquet.write_table(large, written, compression="zstd", use_dictionary=dictionary)
        body = lying(written.getvalue(), 1, 100)
        assert len(body) < 10_000
        with pytest.raises(Problem, match="the table holds more than 1000000 bytes"):
            read(body)


def test_a_file_with_fewer_rows_than_it_tells_of_is_damaged() -> None:
    written = io.BytesIO()
    parquet.write_table(TABLE, written)
    assert len(read(lying(written.getvalue(), 1000, 100)).rows) == 1000
    with pytest.raises(Problem, match="no Parquet file, or a damaged one"):
        read(lying(written.getvalue(), 1001, 100))


def test_strings_in_another_encoding_are_told() -> None:
    written = io.BytesIO()
    parquet.write_table(
        TABLE, written, use_dictionary=False, column_encoding={"colour": "DELTA_BYTE_ARRAY"}
    )
    with pytest.raises(Problem, match="encode it plainly or with a dictionary") as caught:
        read(written.getvalue())
    assert caught.value.kind.status == 415
