"""One server of the default model for all tests that need a system package."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import Server, run_python, serving
from tests.trained import copy_of, train_iris


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a model store with the default model, a poorer version of it, and the slow one."""
    return copy_of(train, "system", tmp_path_factory.mktemp("session"))


def train(folder: Path) -> None:
    """Train the poorer version, older than the default model, and save the slow one beside."""
    run_python(
        folder, "train.py", "--estimator", "DecisionTreeClassifier", "--param", "max_depth=1"
    )
    train_iris(folder)
    run_python(folder, "-c", "from tests.system.slow import save_slow; save_slow()")


@pytest.fixture(scope="session")
def server(home: Path) -> Iterator[Server]:
    """Serve the default model, with nothing set."""
    with serving(home, home / "output") as running:
        yield running
