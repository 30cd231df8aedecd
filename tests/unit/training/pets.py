"""A small table of pets, and ``train.py`` as the tests of training run it."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import bentoml
import pandas as pd
import pytest

import train
from serving.model.description import Description
from serving.model.stored import verify

ROWS = 40
Row = Sequence[object]


def row(number: int) -> list[object]:
    """Give a row: a size, a count, a flag, a color and a kind."""
    size = (7 * number) % 41 + 0.5
    kind = "cat" if size + number % 5 > 22 else "dog"
    return [size, number * 3 % 8, number % 3 == 0, ("red", "blue")[number % 2], kind]


HEADER = ["size", "count", "flag", "color", "kind"]
TABLE = [row(number) for number in range(ROWS)]


def text_of(rows: Iterable[Row], header: Sequence[str] = HEADER) -> str:
    """Write rows as CSV."""
    return "".join(",".join(map(str, line)) + "\n" for line in (header, *rows))


def with_column(name: str, values: Iterable[object]) -> str:
    """Write the table as CSV, with a column more before the others."""
    rows = [[value, *line] for value, line in zip(values, TABLE, strict=True)]
    return text_of(rows, [name, *HEADER])


def with_values(name: str, values: Iterable[object]) -> str:
    """Write the table as CSV, with other values in a column."""
    at = HEADER.index(name)
    rows = [[*line[:at], value, *line[at + 1 :]] for value, line in zip(values, TABLE, strict=True)]
    return text_of(rows)


def frame() -> pd.DataFrame:
    """Give the table as estimators elsewhere are fitted on it."""
    return pd.DataFrame(TABLE, columns=HEADER).astype({"color": object, "kind": object})


def run(command: str) -> Description:
    """Run a command, and give the description of what was saved."""
    before = tags()
    train.main(command.split())
    (saved,) = tags() - before
    return verify(bentoml.models.get(saved)).description


def tags() -> set[str]:
    """List what is in the store; BentoML takes its time for that."""
    files = Path(os.environ["BENTOML_HOME"], "models").glob("*/*/model.yaml")
    return {f"{file.parts[-3]}:{file.parts[-2]}" for file in files}


def refusal(command: str, capsys: pytest.CaptureFixture[str], exit_code: int = 1) -> str:
    """Run a command that has to fail, and give what it says; nothing is saved."""
    before = tags()
    with pytest.raises(SystemExit) as caught:
        train.main(command.split())
    assert tags() == before
    printed = capsys.readouterr()
    assert printed.out == ""
    if exit_code == 2:
        assert caught.value.code == 2
        return printed.err
    # Python prints a string that ends it, and exits with code 1.
    assert isinstance(caught.value.code, str)
    assert caught.value.code.startswith("train.py: ")
    return caught.value.code
