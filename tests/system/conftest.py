"""One server of the default model for all tests that need a system package."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import Server, run_python, serving


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a model store with the default model."""
    folder = tmp_path_factory.mktemp("system")
    run_python(folder, "train.py")
    return folder


@pytest.fixture(scope="session")
def server(home: Path) -> Iterator[Server]:
    """Serve the default model, with nothing set."""
    with serving(home, home / "output") as running:
        yield running
