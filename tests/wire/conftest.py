"""One model store for all tests over the wire, and the servers that most of them share."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.server import Server, run_python, serving
from tests.trained import copy_of, train_iris
from tests.wire.gate import Gate

if TYPE_CHECKING:
    from tests.wire.versions import Versions

ORIGIN = "https://app.example"


def pytest_configure(config: pytest.Config) -> None:
    """Let pass the warnings that BentoML's own code gives at its import."""
    for message in (
        "GitWildMatchPattern:DeprecationWarning",
        "The `__get_pydantic_core_schema__` method:DeprecationWarning",
    ):
        config.addinivalue_line("filterwarnings", f"ignore:{message}")


def train(folder: Path) -> None:
    """Save the bad models beside the default one."""
    train_iris(folder)
    run_python(folder, "-m", "tests.wire.models")


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a model store with the default model and the bad ones."""
    return copy_of(train, "home", tmp_path_factory.mktemp("session"))


@pytest.fixture(scope="session")
def server(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve the default model, with nothing set."""
    with serving(home, tmp_path_factory.mktemp("server") / "output") as running:
        yield running


@pytest.fixture(scope="session")
def configured(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve with many settings at once, which have nothing to do with each other."""
    (version,) = (file.parent.name for file in (home / "models" / "iris").glob("*/model.yaml"))
    with serving(
        home,
        tmp_path_factory.mktemp("configured") / "output",
        SERVING_MODEL=f"iris:{version}",
        SERVING_RUNTIME="sklearn",
        SERVING_CACHE_TTL_S="0",
        SERVING_CORS_ORIGINS=ORIGIN,
        SERVING_TRUSTED_PROXIES="127.0.0.1, 198.51.100.0/24",
        SERVING_PREDICTION_LOG="stdout",
        SERVING_REQUEST_TIMEOUT="5",  # misspelt
        SERVING_HANG_DELAY_S="5",  # which is none any more
    ) as running:
        yield running


@pytest.fixture(scope="session")
def fragile(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve a model that raises on some rows, in this service's own dialect alone."""
    output = tmp_path_factory.mktemp("fragile") / "output"
    settings = {"SERVING_MODEL": "fragile", "SERVING_DIALECTS": "none"}
    with serving(home, output, **settings) as running:
        yield running


@pytest.fixture(scope="session")
def hasty(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve the default model with a short deadline."""
    output = tmp_path_factory.mktemp("hasty") / "output"
    with serving(home, output, SERVING_REQUEST_TIMEOUT_S="0.5") as running:
        yield running


@pytest.fixture(scope="session")
def shared_gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    """Give the gate of the model that is shared."""
    return Gate(tmp_path_factory.mktemp("shared_gate"))


@pytest.fixture(scope="session")
def _gated(
    home: Path, shared_gate: Gate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    output = tmp_path_factory.mktemp("gated") / "output"
    with serving(home, output, **shared_gate.settings) as running:
        yield running


@pytest.fixture
def gated(_gated: Server, shared_gate: Gate) -> Iterator[Server]:
    """Serve a model that waits at `shared_gate`, which is open at first and in the end."""
    yield _gated
    with suppress(FileNotFoundError):
        shared_gate.open()


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
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a store with versions of one model."""
    from tests.wire.versions import make  # with BentoML, which warns before pytest is configured

    return copy_of(make, "versions", tmp_path_factory.mktemp("versions"))


@pytest.fixture
def versions(_made: Path, tmp_path: Path) -> "Versions":
    """Give them in a store of the test's own, in which nobody has decided anything."""
    from tests.wire.versions import Versions

    return Versions.of(Path(shutil.copytree(_made, tmp_path / "home", symlinks=True)))
