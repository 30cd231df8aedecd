"""What the image is: its size, its parts, and what is told about it."""

import json
import subprocess
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.image.conftest import Image, reported
from tests.image.container import ask, inspect
from tests.server import BIN, ROOT

MOST_MB = 400
MOST_MB_WITH_FRAMES = 480


def size_mb(engine: str, image: Image) -> float:
    """Give the size of an image as it lies on disk, and report it."""
    size = float(inspect(engine, "image", image.name)["Size"]) / 1e6
    reported.append(f"{image.name} has {size:.0f} MB, uncompressed")
    return size


def test_it_is_small(engine: str, image: Image) -> None:
    assert size_mb(engine, image) <= MOST_MB


def test_with_a_data_frame_library_it_is_not_much_larger(engine: str, frames_image: Image) -> None:
    assert size_mb(engine, frames_image) <= MOST_MB_WITH_FRAMES


def test_its_structure_is_as_promised(engine: str, image: Image, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    ask(engine, "save", "--output", str(archive), image.name)
    config = str(ROOT / "tests" / "image" / "structure.yaml")
    test = ["test", "--driver", "tar", "--image", str(archive), "--config", config]
    done = subprocess.run(
        [BIN / "container-structure-test", *test], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_dockerfile_follows_the_rules_of_the_trade(image: Image) -> None:
    dockerfile = image.bento / "env" / "docker" / "Dockerfile"
    done = subprocess.run([BIN / "hadolint", dockerfile], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_programs_are_python_and_the_service_alone(engine: str, image: Image) -> None:
    find = """
import os, stat
for folder, _, names in os.walk("/", topdown=True):
    if folder.startswith(("/proc", "/sys", "/dev")): continue
    for name in names:
        path = os.path.join(folder, name)
        state = os.lstat(path)
        if state.st_mode & (stat.S_ISUID | stat.S_ISGID): print("setuid", path)
        if stat.S_ISREG(state.st_mode) and state.st_mode & 0o111 and ".so" not in name:
            print(path)
"""
    run = ("run", "--rm", "--user", "0", "--entrypoint", "python", image.name, "-c", find)
    programs = {line for line in ask(engine, *run).splitlines() if "/bin/" in line}
    assert {path.rpartition("/")[2] for path in programs} == {"python3.11", "bentoml"}
    assert not [line for line in ask(engine, *run).splitlines() if line.startswith("setuid")]


def test_its_bill_of_materials_is_valid_and_names_all_that_is_in_it(image: Image) -> None:
    text = (image.folder / f"{image.name}.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    components = json.loads(text)["components"]
    by_kind: dict[str, set[str]] = {}
    for component in components:
        kind = component.get("purl", component["type"]).split("/")[0]
        by_kind.setdefault(kind, set()).add(f"{component['name']}=={component['version']}")
    locked = {
        f"{canonicalize_name(requirement.name)}{requirement.specifier}"
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if not line.strip().startswith("#")
        for requirement in [Requirement(line)]
    }
    packages = {
        f"{canonicalize_name(name)}=={version}"
        for name, _, version in (package.partition("==") for package in by_kind["pkg:pypi"])
    }
    assert packages == locked
    assert any(package.startswith("libssl3==") for package in by_kind["pkg:deb"])
    (model,) = by_kind["machine-learning-model"]
    assert model.startswith("iris==")
