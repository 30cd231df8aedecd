"""The images that the tests run, built by the project's own command."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from deploy.image.engine import find_engine
from tests.image.container import Container, ready
from tests.server import ROOT, environment
from tests.trained import copy_of, train_iris
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


@pytest.fixture(scope="session")
def engine() -> str:
    """Give the container engine; its absence is a failure."""
    found = find_engine()
    return "podman" if found == "buildah" else found


@pytest.fixture(scope="session")
def _images(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Future[Image], Future[Image]]]:
    """Build the images, the second while tests run the first: most of its layers are those then."""
    folders = [tmp_path_factory.mktemp(name) for name in ("image", "larger")]

    def default(folder: Path) -> Image:
        train_iris(folder)
        return build(folder, folder, "model-api-test", "iris")

    def larger(folder: Path) -> Image:
        home = copy_of(partial(bring, last="lightgbm"), "larger", folder)
        return build(home, folder, "model-api-test-larger", NAME)

    with ThreadPoolExecutor(1) as one_after_the_other:
        builds = [one_after_the_other.submit(default, folders[0])]
        builds.append(one_after_the_other.submit(larger, folders[1]))
        wanted = {
            name for item in request.session.items for name in getattr(item, "fixturenames", ())
        }
        if "larger_image" not in wanted:
            builds[1].cancel()
        yield builds[0], builds[1]


@pytest.fixture(scope="session")
def image(_images: tuple[Future[Image], Future[Image]]) -> Image:
    """Give the image of the default model."""
    return _images[0].result()


@pytest.fixture(scope="session")
def larger_image(_images: tuple[Future[Image], Future[Image]]) -> Image:
    """Give the image of a model that needs pandas, LightGBM and a package of a person's own."""
    return _images[1].result()


@pytest.fixture(scope="session")
def running(engine: str, image: Image) -> Iterator[Container]:
    """Run the image of the default model, hardened, for all tests that change nothing."""
    with ready(engine, image.name) as started:
        yield started
