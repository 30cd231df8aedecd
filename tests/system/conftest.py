"""One server of the default model for all tests that need a system package."""

from collections.abc import Iterator

import pytest

from tests.server import Server, run_python, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Train the default model and serve it, with nothing set."""
    folder = tmp_path_factory.mktemp("system")
    run_python(folder, "train.py")
    with serving(folder, folder / "output") as running:
        yield running
