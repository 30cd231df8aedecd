"""NDJSON: each line is read as the service reads JSON, and has its own mistakes."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from serving.files import ndjson
from serving.files.formats import Format, How
from serving.files.inputs import Input
from serving.files.ndjson import NdjsonSource
from serving.files.source import Read, TableError
from serving.json_text import read_json
from serving.model.columns import judge
from serving.model.features import Feature
from serving.model.rows import Rows
from serving.problems import Problem
from tests.unit.samples import boolean, category, description, integer, number

FEATURES: tuple[Feature, ...] = (
    number("x"),
    integer("n", domain=(-(2**53), 2**53), nullable=True),
    boolean("b"),
    category("w"),
)
GOOD = {"x": 1.5, "n": 3, "b": True, "w": "red"}


def opened(path: Path, lines: str | bytes, **how: Any) -> NdjsonSource:  # noqa: ANN401
    path.write_bytes(lines if isinstance(lines, bytes) else lines.encode())
    told = description(features=FEATURES, ignored=("kind",))
    return NdjsonSource(Input(str(path), path.suffix == ".gz"), How(**how), told)


def only(source: NdjsonSource) -> Read:
    (part,) = source.parts()
    return source.read(part)


def test_lines_are_instances_by_name_or_in_the_order_of_the_features(tmp_path: Path) -> None:
    lines = '{"id": 7, "x": 1, "n": 5.0, "b": false, "w": "red"}\n\n[2.5, null, true, "blue"]\r\n'
    read = only(
        opened(tmp_path / "t.ndjson", lines + '{"w":"ü","b":true,"n":1,"x":0,"kind":[1]}\n')
    )
    assert [column.objects() for column in read.columns] == [
        [1.0, 2.5, 0.0],
        [5.0, None, 1.0],
        [False, True, True],
        ["red", "blue", "ü"],
    ]
    assert read.lines == [1, 3, 4]
    assert read.batch.to_pylist() == [
        {"id": "7", "x": 1.0, "n": 5, "b": False, "w": "red"},
        {"id": None, "x": 2.5, "n": None, "b": True, "w": "blue"},
        {"id": None, "x": 0.0, "n": 1, "b": True, "w": "ü"},
    ]


@pytest.mark.parametrize(
    "line",
    [
        *('{"x":1.5', "[1,2]", "7", "null", '"x"', "{}", '{"x":1,"x":2}', "[1.5,3,true,1e999]"),
        '{"x":1,"n":true,"b":1,"w":null}',
        '{"x":"1","n":2.5,"b":"true","w":"over 20 characters long"}',
        *('{"x":1.5,"n":3,"b":true,"w":"red","y":1}', '{"n":null,"w":5}', '{"x":NaN}'),
        *("[[],{},3,4]", '{"x":1.5,"n":100000000000000000000000,"b":true,"w":"red"}'),
        '{"x":1.5,"n":9007199254740993,"b":true,"w":"red"}',  # of which no double is
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_line_is_told_as_the_service_tells_it(
    tmp_path: Path, line: str
) -> None:
    last = json.dumps(GOOD | {"n": 3.0})
    read = only(opened(tmp_path / "t.ndjson", f"{json.dumps(GOOD)}\n{line}\n{last}\n"))
    judged = judge(FEATURES, read.columns, read.broken)
    assert judged.good.tolist() == [True, False, True]
    told = {(each.told.pointer, each.told.detail) for each in judged.mistakes}
    with pytest.raises(Problem) as refused:
        read_json(line.encode(), lambda item: Rows(FEATURES, 1, ("kind",)).one(item, ()))
    wanted = {(each.pointer, each.detail) for each in refused.value.errors}
    if line.startswith("{"):
        assert told == (wanted or {("", refused.value.detail)})
    else:  # of an array, values are told by their names
        assert {detail for _, detail in told} == {d for _, d in wanted} or {refused.value.detail}


def test_what_a_bad_line_has_is_given_back_where_it_can_be(tmp_path: Path) -> None:
    lines = (
        '{"id":"a","x":"1","n":2.5,"b":0,"w":"red"}\n{"id":{"b": [1]},"x":1}\n{\n{"id":8,"y":1}\n'
    )
    read = only(opened(tmp_path / "t.ndjson", lines, columns=("w", "id", "x", "n")))
    assert read.batch.to_pylist() == [
        {"w": "red", "id": "a", "x": None, "n": None},
        {"w": None, "id": '{"b":[1]}', "x": 1.0, "n": None},
        {"w": None, "id": None, "x": None, "n": None},
        {"w": None, "id": "8", "x": None, "n": None},
    ]
    as_json = only(opened(tmp_path / "t.ndjson", lines, columns=("id",), to=Format.NDJSON))
    assert as_json.batch.schema.field("id").type == pa.json_(pa.string())
    assert as_json.batch.column("id").storage.to_pylist() == ['"a"', '{"b":[1]}', None, "8"]


def test_parts_follow_one_another_by_rows_and_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ndjson, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(ndjson, "PART_ROWS", 7)
    numbers = [{**GOOD, "x": float(at)} for at in range(100)]
    lines = "".join(json.dumps(each) + "\n" * (1 + at % 3) for at, each in enumerate(numbers))
    source = opened(tmp_path / "t.ndjson.gz", gzip.compress(lines.encode()))
    found, rows = [], 1
    for part in source.parts():
        read = source.read(part)
        assert part.row == rows
        assert read.lines[0] >= part.line
        rows += len(read.lines)
        found += list(zip(read.lines, read.columns[0].objects(), strict=True))
    assert found == [
        (at, json.loads(line)["x"]) for at, line in enumerate(lines.splitlines(), start=1) if line
    ]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (b"", "is empty"),
        (b'[{"x":1,"w":"a"}]', "has a list of rows on one line: NDJSON has each row on a line"),
        (gzip.compress(b"[1]\n" * 9, mtime=0)[:-4], "can't be read, it may be damaged"),
        (b"[1]\n", "can't be read, it may be damaged"),
    ],
)
def test_a_damaged_file_is_told(tmp_path: Path, lines: bytes, told: str) -> None:
    with pytest.raises(TableError, match=told):
        list(opened(tmp_path / ("t.ndjson.gz" if "damaged" in told else "t.ndjson"), lines).parts())


def test_a_line_that_is_too_long_is_told_with_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ndjson, "BLOCK_BYTES", 1 << 16)
    monkeypatch.setattr(ndjson, "MAX_ROW_BYTES", 1 << 20)
    source = opened(tmp_path / "t.ndjson", "[1]\n" + "[" * (3 << 20) + "\n[1]\n")
    with pytest.raises(TableError, match="has more than 1 MiB in line 2"):
        list(source.parts())


def test_columns_that_are_not_there_or_named_as_answers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="'idd' is missing: did you mean 'id'"):
        opened(tmp_path / "t.ndjson", '{"id":1}', columns=("idd",))
    with pytest.raises(TableError, match="column 'prediction' is named as an answer"):
        opened(tmp_path / "t.ndjson", '{"prediction":1}', answers=("prediction",))
