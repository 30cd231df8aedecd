"""Arrow streams: pyarrow's are read, pyarrow reads what is written, and nothing crashes."""

import io
import struct
import subprocess
import sys
from typing import Any

import pyarrow as pa
import pytest

from serving.dialects.arrow import ARROW_MEDIA_TYPE, read_arrow, write_arrow
from serving.dialects.arrow_messages import _Table
from serving.dialects.dialect import Sent
from serving.dialects.tables import write_table
from serving.model.about import About
from serving.model.description import Label, label_key
from serving.model.outputs import Prediction
from serving.model.rows import Question, Rows
from serving.problems import FieldError, Problem
from tests.unit.samples import MIXED, PROBABILITIES, description

MAX_BYTES = 100_000
ROWS = Rows(MIXED, 2, ("kind",))
NAMES = [feature.name for feature in MIXED]
TYPES = [feature.type for feature in MIXED]
CODECS = pytest.mark.parametrize("codec", [None, "lz4", "zstd"])


def stream(table: pa.Table, codec: str | None = None, **more: Any) -> bytes:  # noqa: ANN401
    """Write a table in batches of three rows."""
    written = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=codec, **more)
    with pa.ipc.new_stream(written, table.schema, options=options) as writer:
        writer.write_table(table, 3)
    return written.getvalue()


def read(body: bytes, rows: Rows = ROWS, max_bytes: int = MAX_BYTES) -> Question:
    """Read a stream."""
    return read_arrow(Sent(body, ARROW_MEDIA_TYPE, max_bytes=max_bytes), rows)


def refusal(body: bytes, rows: Rows = ROWS, max_bytes: int = MAX_BYTES) -> tuple[int, str]:
    """Read a stream that is refused; give the status and the sentence."""
    with pytest.raises(Problem) as caught:
        read(body, rows, max_bytes)
    return caught.value.kind.status, caught.value.sentence


def examples(count: int) -> pa.Table:
    """Give a table of the features' examples, in another order than theirs."""
    columns = {feature.name: pa.array([feature.example] * count) for feature in reversed(MIXED)}
    return pa.table(columns)


@CODECS
def test_columns_are_found_by_name_and_values_are_those_that_were_written(
    codec: str | None,
) -> None:
    table = pa.table(
        {
            "ünï": pa.array(["a" * 25, "bb", "", "é" * 9] * 50, pa.string_view()),
            "shape": pa.array(["red", None, "blue", "red"] * 50).dictionary_encode(),
            "kind": pa.array([1] * 200, pa.timestamp("s")),  # the model ignores it
            "colour": pa.array(["red", "blue", "red", "eggs"] * 50, pa.large_string()),
            "is a/b ~c": pa.array([True, False, False, True] * 50),
            "count": pa.array([1.0, None, float("nan"), 7.0] * 50, pa.float32()),
            "length": pa.array([1, 2, 3, 40] * 50, pa.uint8()),
        }
    )
    question = read(stream(table, codec), max_bytes=10**6)
    assert (
        question.rows
        == [
            (1, 1, True, "red", "red", "a" * 25),
            (2, None, False, "blue", None, "bb"),
            (3, None, False, "red", "blue", ""),
            (40, 7, True, "eggs", "red", "é" * 9),
        ]
        * 50
    )
    assert question.unusual["length"] == question.unusual["colour"] == 50
    assert question.warnings[0].pointer == "/0/ünï"
    assert not question.is_one


@CODECS
def test_a_dictionary_may_grow_be_replaced_and_be_shared_by_batches(codec: str | None) -> None:
    rows = Rows([feature for feature in MIXED if feature.name == "colour"], 2)
    words = [["red"] * 40, ["red", "blue"] * 30, ["blue", "red", "eggs"] * 20]
    batches = [pa.array(part).dictionary_encode() for part in words]
    table = pa.table({"colour": pa.chunked_array(batches)})
    for deltas in (False, True):
        body = stream(table, codec, emit_dictionary_deltas=deltas)
        assert [row[0] for row in read(body, rows).rows] == [w for part in words for w in part]


def test_all_that_is_wrong_with_columns_is_told_before_any_value() -> None:
    table = pa.table(
        {
            "length": pa.array(["1"]),
            "count": pa.array([1], pa.timestamp("s")),
            "colour": pa.array([7]),
            "shape": pa.array(["red"]),
            "ünï": pa.array(["xx"]),
            "other": pa.array([1]),
        }
    )
    with pytest.raises(Problem) as caught:
        read(stream(table))
    assert set(caught.value.errors) == {
        FieldError("/other", "unknown name"),
        FieldError("", "the column is a/b ~c is missing"),
        FieldError("/length", "expected numbers, got a column of strings"),
        FieldError("/count", "expected numbers, got a column of timestamps"),
        FieldError("/colour", "expected strings, got a column of integers"),
    }
    nested = pa.table({"length": pa.array([[1.0]]), "count": pa.array([{"a": 1}])})
    assert refusal(stream(nested)) == (
        422,
        "2 problems in the request body; /length: a column of nested values is not read; "
        "/count: a column of nested values is not read",
    )


def test_values_that_the_model_does_not_take_are_told_by_row_and_name() -> None:
    table = examples(5).set_column(5, "length", pa.array([1.0, None, 3.0, float("inf"), 5.0]))
    with pytest.raises(Problem) as caught:
        read(stream(table))
    assert [each.pointer for each in caught.value.errors] == ["/1/length", "/3/length"]
    assert refusal(stream(examples(0))) == (422, "1 problem in the request body; no rows")


# What is hostile


def test_what_is_no_stream_or_not_the_whole_of_one_is_refused_wherever_it_ends() -> None:
    body = stream(examples(2), "zstd")
    assert len(read(body).rows) == 2
    for end in range(len(body)):
        status, told = refusal(body[:end])
        assert (status, told[:15]) == (400, "no Arrow stream"), end
    assert refusal(body + b"\0")[1] == "no Arrow stream: something follows its end"
    assert refusal(body + body)[0] == refusal(b"PAR1" * 9)[0] == 400
    file = io.BytesIO()
    with pa.ipc.new_file(file, examples(1).schema) as writer:
        writer.write_table(examples(1))
    assert refusal(file.getvalue())[0] == 400


def test_another_endianness_is_not_read() -> None:
    body = bytearray(stream(examples(1)))
    schema = _Table.at_root(memoryview(body)[8:]).table(2)
    assert schema is not None
    struct.pack_into("<H", body, 8 + schema._vtable + 4, 4)  # where the columns are told: not 0
    status, told = refusal(bytes(body))
    assert (status, told[:10]) == (415, "a big-endi")


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_what_swells_is_refused_before_it_does(codec: str) -> None:
    zeros = pa.table({"colour": pa.array(["r" * 10_000_000])})
    rows = Rows([feature for feature in MIXED if feature.name == "colour"], 2)
    body = stream(zeros, codec)
    assert len(body) < MAX_BYTES
    told = "the table holds more than 100000 bytes: 8 for each value, "
    status, sentence = refusal(body, rows)
    assert (status, sentence[: len(told)]) == (413, told)


@pytest.mark.parametrize(
    "column",
    [
        pa.nulls(10**9),
        pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int8()), pa.array(["r" * 1000])),
        pa.array(["r" * 1000] * 1000, pa.string_view()),
    ],
    ids=["nulls", "dictionary", "views"],
)
def test_few_bytes_that_stand_for_many_values_are_refused(column: pa.Array) -> None:
    rows = Rows([feature for feature in MIXED if feature.name == "colour"], 2)
    written = io.BytesIO()
    with pa.ipc.new_stream(written, pa.schema({"colour": column.type})) as writer:
        writer.write_batch(pa.record_batch([column], ["colour"]))
    if column.type == pa.string_view():  # pyarrow writes the word as often as it stands there
        assert refusal(written.getvalue(), rows, 10**6)[0] == 413
    else:
        assert refusal(written.getvalue(), rows)[0] == 413


def test_damaged_streams_and_files_are_refused_and_nothing_crashes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.dialects.hostile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert int(done.stdout) > 1000  # were refused


# What is written

LABELS: dict[str, tuple[tuple[Label, ...], pa.DataType]] = {
    "strings": (("ham", "spam"), pa.string()),
    "integers": ((1, -(2**62)), pa.int64()),
    "large integers": ((1, 2**70), pa.string()),
    "booleans": ((True, False), pa.bool_()),
    "numbers": ((0.5, 1.5), pa.float64()),
    "of all kinds": ((1, "1.0"), pa.string()),
}


@pytest.mark.parametrize(("labels", "type_"), LABELS.values(), ids=LABELS)
def test_predictions_are_columns_named_as_those_of_csv(
    labels: tuple[Label, ...], type_: pa.DataType
) -> None:
    about = About(description(labels, asked=PROBABILITIES), "v7")
    predictions = [Prediction(label, [0.1 + 0.2, 5e-324]) for label in labels] * 700
    answer = write_arrow(about, predictions, "id-1")
    table = pa.ipc.open_stream(answer.body).read_all()
    table.validate(full=True)
    names = write_table(about, predictions, "id-1").body.decode().partition("\n")[0].split(",")
    assert table.column_names == names
    assert table["prediction"].type == type_
    told = [label_key(label) if type_ == pa.string() else label for label in labels] * 700
    assert table["prediction"].to_pylist() == told
    assert set(table[names[1]].to_pylist()) == {0.1 + 0.2}
    assert set(table[names[2]].to_pylist()) == {5e-324}
