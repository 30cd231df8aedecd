"""The images that the tests run, built by the project's own command."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from deploy.image.engine import find_engine
from tests.image.container import Container, ready
from tests.server import ROOT, environment, run_python
from tests.trained import copy_of
from tests.travelling import NAME, bring

reported: list[str] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell what was measured, and is not judged."""
    for line in reported:
        terminalreporter.write_line(line)


@dataclass(frozen=True, slots=True)
class Image:
    """An image that was built."""

    name: str
    home: Path
    folder: Path  # where its bill of materials is

    @property
    def bento(self) -> Path:
        """The bento that it was built from."""
        (found,) = (self.home / "bentos" / "model_api").glob("*/bento.yaml")
        return found.parent


def build(home: Path, folder: Path, name: str, model: str) -> Image:
    """Run what `make image` runs."""
    variables = {"IMAGE": name, "MODEL": model, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "deploy.image.build"],
        cwd=folder,
        env=environment(home, variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return Image(name, home, folder)


def train(home: Path) -> None:
    """Train the default model."""
    run_python(home, "train.py")


@pytest.fixture(scope="session")
def engine() -> str:
    """Give the container engine; its absence is a failure."""
    found = find_engine()
    return "podman" if found == "buildah" else found


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Build the image of the default model."""
    home = copy_of(train, "iris", tmp_path_factory.mktemp("home"))
    return build(home, tmp_path_factory.mktemp("image"), "model-api-test", "iris")


@pytest.fixture(scope="session")
def larger_image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Build the image of a model that needs pandas, LightGBM and a package of a person's own."""
    folder = tmp_path_factory.mktemp("larger")
    home = copy_of(partial(bring, last="lightgbm"), "larger", folder)
    return build(home, folder, "model-api-test-larger", NAME)


@pytest.fixture(scope="session")
def running(engine: str, image: Image) -> Iterator[Container]:
    """Run the image of the default model, hardened, for all tests that change nothing."""
    with ready(engine, image.name) as started:
        yield started
