"""Tables as people have them: CSV files, gzipped or not, and Parquet files."""

import csv
import gzip
import io
import re
import zlib
from itertools import islice
from pathlib import Path

import pandas as pd

from training.errors import TrainingError
from training.faults import listed, twice

DELIMITERS = ",;\t|"
SNIFFED_CHARS = 65_536
SNIFFED_LINES = 50
THOUSANDS = r"[-+]?\d{1,3}(,\d{3})*"  # or thousandths: nobody can tell
LEADING_ZERO = r"(?<![\d.])0\d"
CSV_ENDINGS = {".csv", ".tsv", ".txt"}
PARQUET_ENDINGS = {".parquet", ".pq"}


def read_file(path: Path, encoding: str = "utf-8") -> pd.DataFrame:
    """Read a CSV file, gzipped or not, or a Parquet file; the encoding is a CSV file's.

    Raises:
        TrainingError: it can't be read, or has no rows.
    """
    ending = Path(path.name.lower().removesuffix(".gz")).suffix
    if path.is_dir():
        raise TrainingError(f"{path} is a folder: name a file in it")
    if not path.exists():
        raise TrainingError(f"there is no file {path}")
    try:
        gzipped = path.suffix.lower() == ".gz"
        if ending in CSV_ENDINGS or (gzipped and not ending):
            data = path.read_bytes()
            data = gzip.decompress(data) if gzipped else data
            frame = _read_csv(_decode(data, path, encoding), path)
        elif ending in PARQUET_ENDINGS:
            frame = _read_parquet(path)
        else:
            taken = ", ".join(sorted({".gz", *CSV_ENDINGS, *PARQUET_ENDINGS}))
            raise TrainingError(
                f"{path} is of no known kind: its name has to end in one of {taken}"
            )
    except (OSError, EOFError, zlib.error) as exc:
        raise TrainingError(f"{path} can't be read, it may be damaged: {exc}") from exc
    if frame.empty:
        raise TrainingError(f"{path} has no rows below its header")
    return frame


def _decode(data: bytes, path: Path, encoding: str) -> str:
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise TrainingError(
            f"{path} is not {encoding}, see byte {exc.start} in line {line}: save it as UTF-8, or "
            "name its encoding, such as --encoding cp1252 (Windows), latin-1 or utf-16"
        ) from exc
    except (LookupError, UnicodeError) as exc:
        raise TrainingError(
            f"there is no encoding {encoding}: name another, such as --encoding cp1252"
        ) from exc


def _read_csv(text: str, path: Path) -> pd.DataFrame:
    delimiter = _delimiter(text)
    try:
        header = _parse(text, delimiter, header=None, nrows=1, dtype=str, keep_default_na=False)
        frame = _parse(text, delimiter)
        # A comma that does not divide columns may be the decimal mark.
        other = frame if delimiter == "," else _parse(text, delimiter, decimal=",")
    except pd.errors.EmptyDataError as exc:
        raise TrainingError(f"{path} is empty") from exc
    except pd.errors.ParserError as exc:
        ragged = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(exc))
        raise TrainingError(
            f"{path} has {ragged[3]} columns in line {ragged[2]}, but {ragged[1]} before: does a "
            f"text hold {delimiter!r} without quotes?"
            if ragged
            else f"{path} is no CSV file: {exc}"
        ) from exc
    names = [name for name in header.iloc[0] if name]
    if same := twice(names):
        raise TrainingError(f"{path} has columns of the same name, rename them: {listed(same)}")
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes what is too much for the index
        raise TrainingError(f"{path} has more columns than its header: name each of them there")
    numeric = pd.api.types.is_numeric_dtype
    better = [
        name
        for name in frame
        if numeric(other[name])
        and not numeric(frame[name])
        and not frame[name].dropna().astype(str).str.fullmatch(THOUSANDS).all()
    ]
    frame = frame.assign(**{name: other[name] for name in better})
    whole = [name for name in frame if pd.api.types.is_integer_dtype(frame[name])]
    if not whole or not re.search(LEADING_ZERO, text):
        return frame
    written = _parse(text, delimiter, usecols=whole, dtype="string")
    # What is written with a zero before other digits is a code, such as that of a town.
    codes = [name for name in whole if written[name].str.fullmatch(r"-?0\d+").any()]
    return frame.assign(**{name: written[name] for name in codes})


def _parse(text: str, delimiter: str, **options: object) -> pd.DataFrame:
    return pd.read_csv(
        io.StringIO(text),
        sep=delimiter,
        dtype_backend="numpy_nullable",  # by which whole numbers stay so, if some are missing
        skipinitialspace=True,
        low_memory=False,
        **options,
    )


def _delimiter(text: str) -> str:
    """Find the delimiter that gives the most lines as many columns as the first has."""

    def fit(delimiter: str) -> tuple[int, int]:
        start = io.StringIO(text[:SNIFFED_CHARS], newline="")
        lines = csv.reader(start, delimiter=delimiter, skipinitialspace=True)
        counts = [len(fields) for fields in islice(lines, SNIFFED_LINES) if fields]
        columns = counts[0] if counts else 0
        return (counts.count(columns), columns) if columns > 1 else (0, 0)

    return max(DELIMITERS, key=fit)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path, dtype_backend="numpy_nullable")
        return frame.reset_index([name for name in frame.index.names if name is not None])
    except ValueError as exc:  # pyarrow's errors, or an index of the name of a column
        raise TrainingError(f"{path} can't be read as Parquet: {exc}") from exc
