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

LIBRARIES = {"libc6", "libssl3", "libstdc++6", "libgcc-s1", "zlib1g", "libffi8", "libsqlite3-0"}
MOST_MB = 400
MOST_MB_MORE = 60  # pandas 40, LightGBM 10


def size_mb(engine: str, image: Image) -> float:
    """Give the size of an image as it lies on disk, and report it."""
    size = float(inspect(engine, "image", image.name)["Size"]) / 1e6
    reported.append(f"{image.name} has {size:.0f} MB, uncompressed")
    return size


def test_it_is_small(engine: str, image: Image) -> None:
    assert size_mb(engine, image) <= MOST_MB


def test_it_grows_by_what_a_model_needs(engine: str, image: Image, larger_image: Image) -> None:
    assert size_mb(engine, larger_image) - size_mb(engine, image) <= MOST_MB_MORE


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


def python(engine: str, image: Image, program: str, *options: str) -> list[str]:
    """Run a Python program in the image, as root unless told otherwise; give what it prints."""
    run = ("run", "--rm", "--user", "0", *options, "--entrypoint", "python", image.name)
    return ask(engine, *run, "-c", program).splitlines()


FILES = """
import os, stat
for folder, folders, names in os.walk("/"):
    folders[:] = [name for name in folders if folder != "/" or name not in OTHERS]
    for name in (*folders, *names):
        path = os.path.join(folder, name)
        state = os.lstat(path)
""".replace("OTHERS", "('proc', 'sys', 'dev', 'run')")


def test_its_programs_are_python_and_the_service_alone(engine: str, image: Image) -> None:
    program = """
        if stat.S_ISREG(state.st_mode) and state.st_mode & 0o111 and "/bin" in folder:
            print(name)
"""
    assert set(python(engine, image, FILES + program)) == {"python3.11", "bentoml"}


def test_nobody_but_root_may_change_it(engine: str, image: Image) -> None:
    program = """
        if stat.S_ISLNK(state.st_mode) or path in ("/tmp", "/etc/hosts", "/etc/resolv.conf"):
            continue
        if state.st_mode & 0o7022 or state.st_uid or state.st_gid:
            print(path, oct(state.st_mode), state.st_uid, state.st_gid)
"""
    assert python(engine, image, FILES + program) == []
    write = "open('/bento/src/other.py', 'w')"
    run = ("run", "--rm", "--entrypoint", "python", image.name, "-c", write)
    done = subprocess.run([engine, *run], capture_output=True, text=True)
    assert "Permission denied" in done.stderr


def test_no_package_can_be_installed_in_it(engine: str, image: Image) -> None:
    program = """
from importlib.util import find_spec
print(*(name for name in ("pip", "setuptools", "ensurepip", "wheel", "uv") if find_spec(name)))
"""
    assert python(engine, image, program) == [""]


def test_it_knows_the_certificates_that_others_sign_with(engine: str, image: Image) -> None:
    program = "import ssl; print(ssl.create_default_context().cert_store_stats()['x509_ca'])"
    (amount,) = python(engine, image, program)
    assert int(amount) > 100


def test_what_serving_imports_is_compiled_and_nothing_else(engine: str, image: Image) -> None:
    program = """
import glob
for package in ("bento/src", "usr/local/lib/python3.11/site-packages/sklearn"):
    print(len(glob.glob(f"/{package}/**/*.pyc", recursive=True)))
print(len(glob.glob("/usr/local/lib/python3.11/site-packages/sklearn/**/*.py", recursive=True)))
"""
    service, used, there = map(int, python(engine, image, program))
    assert service > 20
    assert 0 < used < there


def test_its_bill_of_materials_is_valid_and_names_all_that_is_in_it(image: Image) -> None:
    text = (image.folder / f"{image.name}.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    components = bill["components"]
    assert bill["metadata"]["component"]["version"] == image.bento.name
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
    named = {package.partition("==")[0] for package in by_kind["pkg:deb"]}
    assert named >= LIBRARIES | {"ca-certificates"}
    assert all(found.get("licenses") for found in components if "pkg:pypi" in found.get("purl", ""))
    (model,) = by_kind["machine-learning-model"]
    assert model.startswith("iris==")
