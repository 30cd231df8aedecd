"""One model store for all tests over the wire, and the servers that most of them share."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.server import Server, run_python, serving
from tests.wire.gate import Gate


def pytest_configure(config: pytest.Config) -> None:
    """Let pass the warnings that BentoML's own code gives at its import."""
    for message in (
        "GitWildMatchPattern:DeprecationWarning",
        "The `__get_pydantic_core_schema__` method:DeprecationWarning",
    ):
        config.addinivalue_line("filterwarnings", f"ignore:{message}")


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a model store with the default model, trained as a user does, and the bad ones."""
    folder = tmp_path_factory.mktemp("home")
    run_python(folder, "train.py")
    run_python(folder, "-m", "tests.wire.models")
    return folder


@pytest.fixture(scope="session")
def server(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve the default model, with nothing set."""
    with serving(home, tmp_path_factory.mktemp("server") / "output") as running:
        yield running


@pytest.fixture(scope="session")
def fragile(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve a model that raises on some rows."""
    output = tmp_path_factory.mktemp("fragile") / "output"
    with serving(home, output, SERVING_MODEL="fragile") as running:
        yield running


Serve = Callable[..., AbstractContextManager[Server]]


@pytest.fixture
def serve(home: Path, tmp_path: Path) -> Serve:
    """Give what serves with other settings: a context manager, with the settings by name."""

    def start(output: str = "output", **settings: str) -> AbstractContextManager[Server]:
        return serving(home, tmp_path / output, **settings)

    return start


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """Give the gate of a model that waits for it."""
    folder = tmp_path / "gate"
    folder.mkdir()
    return Gate(folder)


@pytest.fixture(scope="session")
def hasty(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve the default model with a short deadline."""
    output = tmp_path_factory.mktemp("hasty") / "output"
    with serving(home, output, SERVING_REQUEST_TIMEOUT_S="0.5") as running:
        yield running
