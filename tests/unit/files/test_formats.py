"""A table's format is what its name says, or how it begins."""

import gzip

import pytest

from serving.files.formats import Format, format_of, sniffed
from serving.files.source import TableError


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a/b.c/T.CSV", (Format.CSV, False)),
        ("t.tsv.gz", (Format.TSV, True)),
        ("t.jsonl.gz", (Format.NDJSON, True)),
        ("t.pq", (Format.PARQUET, False)),
        ("t.feather", (Format.ARROW, False)),
        ("t.arrows", (Format.ARROWS, False)),
    ],
)
def test_a_name_says_the_format(name: str, found: tuple[Format, bool]) -> None:
    assert format_of(name) == found


@pytest.mark.parametrize("name", ["t", "t.gz", "t.xlsx", "t.parquet.gz", ".csv"])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(TableError, match="is of no known kind"):
        format_of(name)


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"PAR1\x15\x04", Format.PARQUET),
        (b"ARROW1\0\0", Format.ARROW),
        (b"\xff\xff\xff\xff\x10\0\0\0", Format.ARROWS),
        (b'\xef\xbb\xbf\n {"a":1}', Format.NDJSON),
        (b"[1, 2]\n", Format.NDJSON),
        (b"a;b\n1;2\n", Format.CSV),
        (b"a\tb\n1\t2\n", Format.TSV),
        (b"", Format.CSV),
    ],
)
def test_a_table_begins_as_its_format_does(head: bytes, found: Format) -> None:
    assert sniffed(head) == (found, False)
    if found.is_text:
        assert sniffed(gzip.compress(head)) == (found, True)


def test_what_only_looks_gzipped_is_left_to_its_reader() -> None:
    assert sniffed(b"\x1f\x8b\xff\xff\xff\xff") == (Format.CSV, True)
