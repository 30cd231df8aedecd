"""Tables as people have them: CSV files, gzipped or not, and Parquet files."""

import gzip
import zlib
from pathlib import Path

import pandas as pd

from training.errors import TrainingError
from training.table.cells import Remarks, without_marks
from training.table.delimited import Format, read_delimited

USUAL_FORM = Format()
CSV_ENDINGS = {".csv", ".tsv", ".txt"}
PARQUET_ENDINGS = {".parquet", ".pq"}


def read_file(path: Path, form: Format = USUAL_FORM) -> tuple[pd.DataFrame, Remarks]:
    """Read a CSV file, gzipped or not, or a Parquet file; and tell what was decided.

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
            frame, remarks = read_delimited(_decode(data, path, form.encoding), str(path), form)
        elif ending in PARQUET_ENDINGS:
            frame, remarks = _read_parquet(path, form)
        else:
            taken = ", ".join(sorted({".gz", *CSV_ENDINGS, *PARQUET_ENDINGS}))
            raise TrainingError(
                f"{path} is of no known kind: its name has to end in one of {taken}"
            )
    except (OSError, EOFError, zlib.error) as exc:
        raise TrainingError(f"{path} can't be read, it may be damaged: {exc}") from exc
    if frame.empty:
        raise TrainingError(f"{path} has no rows below its header")
    return frame, remarks


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


def _read_parquet(path: Path, form: Format) -> tuple[pd.DataFrame, Remarks]:
    if form.header is not None or form.decimal is not None:
        raise TrainingError(
            f"{path} has names and numbers as such: --no-header, --header and --decimal are for "
            "CSV files"
        )
    try:
        frame = pd.read_parquet(path, dtype_backend="numpy_nullable")
        frame = frame.reset_index([name for name in frame.index.names if name is not None])
    except ValueError as exc:  # pyarrow's errors, or an index of the name of a column
        raise TrainingError(f"{path} can't be read as Parquet: {exc}") from exc
    return without_marks(frame, form.missing)
