"""Small tables that the tests of a table's rooms share, and what is said of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from training.errors import TrainingError
from training.table.delimited import Format
from training.table.files import read_file
from training.table.table import Table, to_table

ROWS = 40
NUMBERS = [(7 * row) % 41 + 0.5 for row in range(ROWS)]
CLASSES = ["cat", "dog", "dog", "eel"] * (ROWS // 4)


def table_of(feature: Any, *, keep: Sequence[str] = (), name: str = "x") -> Table:  # noqa: ANN401
    """A table of one feature more, and of classes to learn."""
    raw = pd.DataFrame({"size": NUMBERS, name: feature, "kind": CLASSES})
    return to_table(raw, ["kind"], keep=keep)


def with_target(target: Any, **options: Any) -> Table:  # noqa: ANN401
    """A table of a number, and of a target."""
    return to_table(pd.DataFrame({"size": NUMBERS, "y": target}), ["y"], **options)


def refusal(raw: pd.DataFrame, *args: Any, **options: Any) -> list[str]:  # noqa: ANN401
    """The lines that tell why a table can't be used."""
    with pytest.raises(TrainingError) as caught:
        to_table(raw, *args, **options)
    return str(caught.value).splitlines()


def read(path: Path, **form: Any) -> pd.DataFrame:  # noqa: ANN401
    """What is read from a file."""
    frame, _ = read_file(path, Format(**form))
    return frame


def understood(path: Path, text: str, target: str, **form: Any) -> Table:  # noqa: ANN401
    """What is understood of a file, a target among it."""
    path.write_text(text)
    frame, remarks = read_file(path, Format(**form))
    return to_table(frame, [target], remarks=remarks)


def column_of(path: Path, cells: Sequence[str], *, between: str = ";", **form: Any) -> Table:  # noqa: ANN401
    """A table of a column x of these cells, over and over, and of classes."""
    rows = [
        f"{cells[row % len(cells)]}{between}{NUMBERS[row]}{between}{CLASSES[row]}"
        for row in range(ROWS)
    ]
    text = "\n".join([between.join(("x", "size", "kind")), *rows])
    path.write_text(text)
    frame, remarks = read_file(path, Format(**form))
    return to_table(frame, ["kind"], keep=["x"], remarks=remarks)


def unread(path: Path, **form: Any) -> str:  # noqa: ANN401
    """What tells why a file can't be read."""
    with pytest.raises(TrainingError) as caught:
        read_file(path, Format(**form))
    return str(caught.value)
