"""Parquet and Arrow files joined of parts."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.files.footers import parquet_footer, row_group
from tests.unit.files.written import written

SCHEMA = pa.schema(
    {
        "number": pa.float64(),
        "whole.with.dots": pa.int32(),
        "yes": pa.bool_(),
        "word": pa.string(),
        "kind": pa.dictionary(pa.int32(), pa.string()),
        "list": pa.list_(pa.struct({"a": pa.int64(), "b": pa.string()})),
        "none": pa.null(),
    }
)
WORDS = st.none() | st.sampled_from("abc") | st.text(st.characters(exclude_categories=["Cs"]))
ROWS = st.fixed_dictionaries(
    {
        "number": st.none() | st.floats(allow_nan=False),
        "whole.with.dots": st.none() | st.integers(-(2**31), 2**31 - 1),
        "yes": st.none() | st.booleans(),
        "word": WORDS,
        "kind": WORDS,
        "list": st.none()
        | st.lists(
            st.none() | st.fixed_dictionaries({"a": st.none() | st.integers(0, 9), "b": WORDS}),
            max_size=3,
        ),
    }
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(ROWS, max_size=4), min_size=1, max_size=20))
def test_joined_parts_read_as_one_table(parts: list[list[dict[str, object]]]) -> None:
    batches = [pa.RecordBatch.from_pylist(rows, SCHEMA) for rows in parts]
    whole = [row for rows in parts for row in rows]
    read = pq.ParquetFile(io.BytesIO(written("parquet", batches)))
    assert read.metadata.num_rows == len(whole)
    assert read.metadata.num_row_groups == sum(map(bool, parts))
    table = read.read()
    table.validate(full=True)
    expected = pa.Table.from_batches(batches)
    assert table.equals(expected) or table.to_pylist() == expected.to_pylist()  # -0.0
    for at, rows in enumerate(filter(None, parts)):
        assert read.read_row_group(at).to_pylist() == pa.Table.from_pylist(rows, SCHEMA).to_pylist()


def test_a_footer_says_what_pyarrow_would_say_of_the_whole_file() -> None:
    numbers = np.random.default_rng(0).random(300)
    table = pa.table({"a": numbers, "b": [str(number)[:3] for number in numbers]})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=100, use_dictionary=["b"])
    expected = pq.ParquetFile(sink.getvalue()).metadata.to_dict()
    parts = [table.slice(at, 100).to_batches()[0] for at in (0, 100, 200)]
    told = pq.ParquetFile(io.BytesIO(written("parquet", parts))).metadata.to_dict()
    assert told.pop("serialized_size") <= expected.pop("serialized_size")
    assert told == expected


def test_there_may_be_more_row_groups_than_an_ordinal_can_count() -> None:
    batch = pa.record_batch({"a": pa.array([1])})
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(batch), sink)
    data, index = row_group(sink.getvalue().to_pybytes())
    sink = pa.BufferOutputStream()
    pq.write_table(batch.schema.empty_table(), sink)
    count = 2**15 + 2
    places = [(4 + at * len(data), index) for at in range(count)]
    footer = parquet_footer(sink.getvalue().to_pybytes(), places)
    file = pq.ParquetFile(io.BytesIO(b"PAR1" + data * count + footer))
    assert file.metadata.num_rows == count
    assert file.read_row_group(count - 1).to_pylist() == [{"a": 1}]


def test_messages_of_an_arrow_file_are_found_by_number() -> None:
    parts = [pa.record_batch({"a": pa.array([str(n)] * (n + 1))}) for n in range(5)]
    file = pa.ipc.open_file(written("arrow", parts))
    assert [file.get_batch(at).equals(parts[at]) for at in (4, 2, 0, 1, 3)] == [True] * 5
