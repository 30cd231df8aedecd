"""Formats of tables: what the name of a file says, or its first bytes where it has none.

Also what a person says of a table that is to be read.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath

from serving.files.source import TableError
from serving.json_text import BYTE_ORDER_MARK

STANDARD = "-"  # standard input, or output
_GZ = ".gz"
_GZIP_WINDOW = 31  # zlib's name for a stream with gzip's header


class Format(StrEnum):
    """A format, by the name that ``--from`` and ``--to`` have for it."""

    CSV = "csv"
    TSV = "tsv"
    NDJSON = "ndjson"
    PARQUET = "parquet"
    ARROW = "arrow"  # Arrow's file
    ARROWS = "arrows"  # Arrow's stream

    @property
    def is_text(self) -> bool:
        """Tell whether it has lines, and may be gzipped."""
        return self in {Format.CSV, Format.TSV, Format.NDJSON}


ENDINGS: Mapping[str, Format] = {
    ".csv": Format.CSV,
    ".txt": Format.CSV,
    ".tsv": Format.TSV,
    ".ndjson": Format.NDJSON,
    ".jsonl": Format.NDJSON,
    ".parquet": Format.PARQUET,
    ".pq": Format.PARQUET,
    ".arrow": Format.ARROW,
    ".feather": Format.ARROW,
    ".arrows": Format.ARROWS,
}
# What formats begin with, and end with.
PARQUET_MAGIC, ARROW_MAGIC = b"PAR1", b"ARROW1"
_ARROW_MESSAGE = b"\xff\xff\xff\xff"
ARROW_END = _ARROW_MESSAGE + bytes(4)  # of a stream
_MAGIC: Mapping[bytes, Format] = {
    PARQUET_MAGIC: Format.PARQUET,
    ARROW_MAGIC: Format.ARROW,
    _ARROW_MESSAGE: Format.ARROWS,
}


@dataclass(frozen=True, slots=True)
class How:
    """How a table is to be read, as a person says it, and what its output will be.

    ``columns`` are those to be given back, None for all. ``answers`` names the columns of the
    answers, and ``to`` is the output's format: for text, cells are given back as they were written,
    for others with types.

    The others are for CSV. ``missing`` has marks of missing values, beside the usual ones and those
    of training. The ``decimal`` mark is that of the columns in which training has read another.
    Without a word on the ``header``, the first line has to name a column of the model's.
    """

    columns: tuple[str, ...] | None = None
    encoding: str = "utf-8"
    missing: tuple[str, ...] = ()
    header: bool | None = None
    decimal: str | None = None
    answers: tuple[str, ...] = ()
    to: Format = Format.PARQUET


def format_of(name: str) -> tuple[Format, bool]:
    """Give the format that a file's name says, and whether it is gzipped.

    Raises:
        TableError: its ending is not known.
    """
    lower = PurePath(name.lower())
    gz = lower.suffix == _GZ
    ending = PurePath(lower.stem).suffix if gz else lower.suffix
    found = ENDINGS.get(ending)
    if found is None or (gz and not found.is_text):
        texts = [ending for ending, each in ENDINGS.items() if each.is_text]
        raise TableError(
            f"{name} is of no known kind: its name has to end in one of {', '.join(ENDINGS)}, or "
            f"in {_GZ} after one of {', '.join(texts)}; or say which it is, see --from and --to"
        )
    return found, gz


def sniffed(head: bytes) -> tuple[Format, bool]:
    """Give the format of a table that begins so, and whether it is gzipped.

    What is neither binary nor begins with an object or an array is CSV, with whatever delimiter;
    with tabs in its first line, TSV.
    """
    gz = head.startswith(b"\x1f\x8b")
    if gz:
        try:
            head = zlib.decompressobj(_GZIP_WINDOW).decompress(head)
        except zlib.error:
            head = b""  # whoever reads it will tell
    for magic, found in _MAGIC.items():
        if head.startswith(magic) and not gz:
            return found, False
    text = head.removeprefix(BYTE_ORDER_MARK).lstrip()
    if text[:1] in {b"{", b"["}:
        return Format.NDJSON, gz
    return Format.TSV if b"\t" in text.partition(b"\n")[0] else Format.CSV, gz
