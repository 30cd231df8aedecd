"""What the tests of a table's rooms share."""

from pathlib import Path

import pytest


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    return tmp_path / "table.csv"
