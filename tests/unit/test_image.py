"""What makes the image, as far as that goes without a container engine."""

import json
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import bentoml
import pytest
from cyclonedx.model.bom import Bom
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deploy.image import build
from deploy.image.build import find_models, main
from deploy.image.engine import find_engine
from deploy.image.sbom import to_bom
from deploy.image.stages import LEFT_OUT, copy, install_for_model
from serving.model.state import ModelState, State, write_state
from tests.server import ROOT, environment


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the only folder in which programs are found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("ENGINE", raising=False)
    return folder


def install(programs: Path, name: str, script: str) -> None:
    file = programs / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def test_the_first_engine_that_works_is_taken(programs: Path) -> None:
    install(programs, "docker", "echo 'no daemon' >&2; exit 1")
    install(programs, "podman", "exit 0")
    install(programs, "buildah", "exit 0")
    assert find_engine() == "podman"


def test_the_engine_that_is_named_is_taken(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(programs, "podman", "exit 0")
    install(programs, "buildah", "exit 0")
    monkeypatch.setenv("ENGINE", "buildah")
    assert find_engine() == "buildah"


def test_without_an_engine_that_works_it_is_told_why_and_what_to_do(programs: Path) -> None:
    install(programs, "docker", "echo 'is the daemon running?' >&2; exit 1")
    with pytest.raises(SystemExit) as caught:
        find_engine()
    assert "docker does not work: is the daemon running?" in str(caught.value)
    assert "podman is not installed; buildah is not installed" in str(caught.value)
    assert "install Docker or Podman" in str(caught.value)


def test_an_engine_that_does_not_say_why_it_fails_is_passed_over(programs: Path) -> None:
    install(programs, "docker", "exit 1")
    install(programs, "podman", "exit 0")
    assert find_engine() == "podman"


def test_an_unknown_engine_is_refused(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE", "rkt")
    with pytest.raises(SystemExit, match="ENGINE=rkt: one of docker, podman, buildah"):
        find_engine()


@pytest.mark.parametrize(
    ("variables", "parts"),
    [
        ({"MODEL": "nothing:latest"}, ["no model nothing:latest", "make train"]),
        ({"MODEL": "no such"}, ["MODEL=no such"]),
        ({"MODEL": "nothing:latest,other"}, ["no model nothing:latest", "make train"]),
        ({"MODEL": "iris,penguins,iris:v1"}, ["MODEL=iris,penguins,iris:v1", "twice"]),
        ({"MODEL": "iris@best"}, ["MODEL=iris@best", "no iris@best"]),
        ({"MODEL": "a:b:c"}, ["MODEL=a:b:c"]),
        ({"IMAGE": "model-api:v1"}, ["IMAGE=model-api:v1", "without a tag"]),
        ({"IMAGE": "Model-API"}, ["IMAGE=Model-API", "small letters"]),
        ({"IMAGE": "host:5000/me/model-api", "MODEL": "nothing"}, ["no model nothing"]),
    ],
)
def test_a_build_that_cannot_be_is_told_in_a_line(
    programs: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], parts: list[str]
) -> None:
    install(programs, "podman", "exit 0")
    for name in ("IMAGE", "MODEL"):
        monkeypatch.setenv(name, variables.get(name, ""))
    with pytest.raises(SystemExit) as caught:
        main()
    (complaint,) = str(caught.value).splitlines()
    assert all(part in complaint for part in parts)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tag", "packed"),
    [
        ("pets", "pets:v2"),
        ("pets:latest", "pets:v2"),
        ("pets@champion", "pets:v2"),
        ("pets:v1", "pets:v1"),
        ("others", "others"),
    ],
)
def test_a_version_that_is_named_is_packed_whatever_was_promoted_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: str, packed: str
) -> None:
    monkeypatch.setenv("SERVING_STATE_FILE", str(file := tmp_path / "state.json"))
    write_state(file, State(models={"pets": ModelState(promoted=("v1", "v2"))}))
    monkeypatch.setattr(bentoml.models, "get", lambda tag: SimpleNamespace(tag=tag))
    monkeypatch.setattr(build, "verify", lambda model, installed: model)
    assert find_models(tag) == [packed]


def test_nothing_but_that_line_is_told(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.image.build"],
        cwd=ROOT,
        env=environment(tmp_path / "home", {"PATH": ""}),
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    (complaint,) = done.stderr.splitlines()
    assert "no container engine" in complaint


class Healthy(BaseHTTPRequestHandler):
    """Is as well as the health check wants."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize(
    ("ports", "well"),
    [
        ({"BENTOML_PORT": "HERE"}, True),
        ({"BENTOML_PORT": "9", "AIP_HTTP_PORT": "HERE", "SAGEMAKER_BIND_TO_PORT": ""}, True),
        ({"BENTOML_PORT": "9", "AIP_HTTP_PORT": "9", "SAGEMAKER_BIND_TO_PORT": "HERE"}, True),
        ({"BENTOML_PORT": "HERE", "AIP_HTTP_PORT": "9"}, False),
    ],
)
def test_the_health_check_asks_where_the_service_listens(
    ports: dict[str, str], well: bool, tmp_path: Path
) -> None:
    text = (ROOT / "Dockerfile.template").read_text()
    (check,) = re.findall(r"^HEALTHCHECK .*\n +CMD (.*)$", text, re.MULTILINE)
    _, *arguments = json.loads(check)
    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        here = {name: port.replace("HERE", str(server.server_port)) for name, port in ports.items()}
        own = environment(tmp_path, here)
        done = subprocess.run([sys.executable, *arguments], env=own, capture_output=True)
        server.shutdown()
    assert (done.returncode == 0) is well, done.stderr


def bill(contents: dict[str, object]) -> Bom:
    held = {
        "version": "abc",
        "python": "3.11.9",
        "system": {"ID": "debian", "VERSION_ID": "12"},
        "packages": [],
        "system_packages": [],
        "models": [],
    }
    return to_bom("model-api", held | contents)


@pytest.mark.parametrize(
    ("licenses", "told"),
    [
        (["MIT"], ["MIT"]),
        (["a word of its own"], ["a word of its own"]),
        ([""], []),
        (["", "MIT License"], ["MIT License"]),
        (["MIT", "MIT License"], ["MIT"]),
        (["Permission is hereby granted,\nfree of charge"], []),
        (["x" * 200, "BSD License"], ["BSD License"]),
    ],
)
def test_a_license_is_told_where_the_package_names_it(licenses: list[str], told: list[str]) -> None:
    package = {"name": "Some_Package", "version": "1.0", "summary": "s", "licenses": licenses}
    bom = bill({"packages": [package]})
    (component,) = (found for found in bom.components if found.name == "Some_Package")
    assert str(component.purl) == "pkg:pypi/some-package@1.0"
    names = [
        getattr(found, "id", None) or getattr(found, "name", None) for found in component.licenses
    ]
    assert names == told


def test_a_bill_of_materials_is_valid_and_all_in_it_belongs_to_the_image() -> None:
    model = {"name": "iris", "version": "abc", "task": "classification", "training": {"rows": 150}}
    model["artifact_sha256"] = "0" * 64
    debian = {"Package": "libc6", "Version": "2.36-9+deb12u14", "Architecture": "amd64"}
    debian |= {"Source": "glibc (2.36-9)"}
    debian |= {"Description": "GNU C Library: Shared libraries\n long"}
    bom = bill({"models": [model], "system_packages": [debian]})
    text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    purls = {found.get("purl") for found in document["components"]}
    assert (
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64&distro=debian-12&upstream=glibc" in purls
    )
    image = document["metadata"]["component"]["bom-ref"]
    (needs,) = (found for found in document["dependencies"] if found["ref"] == image)
    assert len(needs["dependsOn"]) == len(document["components"]) == 3


def test_what_is_copied_keeps_the_links_on_its_way_and_leaves_out_what_serving_never_reads(
    tmp_path: Path,
) -> None:
    source, image = tmp_path / "source", tmp_path / "image"
    (source / "usr/lib/tests").mkdir(parents=True)
    (source / "usr/lib/__pycache__").mkdir()
    (source / "lib").symlink_to("usr/lib")
    for name in ("lib.so.1.2", "module.py", "module.c", "tests/test_module.py"):
        (source / "usr/lib" / name).write_text(name)
    (source / "usr/lib/lib.so.1").symlink_to("lib.so.1.2")
    (source / "usr/lib/latest.py").symlink_to("module.py")

    copied = {file.name for file in copy(source / "lib/lib.so.1", image)}
    assert copied == {"lib.so.1.2"}
    there = image / source.relative_to("/")
    assert (there / "lib").readlink() == Path("usr/lib")
    assert (there / "lib/lib.so.1").readlink() == Path("lib.so.1.2")
    assert (there / "lib/lib.so.1").read_text() == "lib.so.1.2"

    copied = {file.name for file in copy(source / "lib", image, LEFT_OUT)}
    assert {"module.py", "lib.so.1.2"} <= copied
    assert sorted(file.name for file in (there / "usr/lib").iterdir()) == [
        *("latest.py", "lib.so.1", "lib.so.1.2", "module.py")
    ]


def test_a_model_is_copied_whatever_its_name(tmp_path: Path) -> None:
    for name in ("tests", "name.c"):
        model = tmp_path / "models" / name / "version" / "saved_model.pkl"
        model.parent.mkdir(parents=True)
        model.touch()
    assert len(list(copy(tmp_path / "models", tmp_path / "image"))) == 2


def packed(folder: Path, *models: list[str]) -> None:
    """Write what of packed models is looked at: what they need."""
    for number, requirements in enumerate(models):
        description = folder / "models" / f"model{number}" / "v1" / "description.json"
        description.parent.mkdir(parents=True)
        description.write_text(json.dumps({"requirements": requirements}))


def test_a_package_that_is_on_no_index_or_there_as_source_alone_ends_the_build_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    index.mkdir()
    (index / "only_source-2.0.tar.gz").write_bytes(b"never opened")
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}.items():
        monkeypatch.setenv(name, value)
    packed(tmp_path, ["only-source==2.0"], ["not-there==1.0", "only-source==2.0"])
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit) as caught:
        install_for_model()

    assert str(caught.value).startswith(
        "what is packed needs not-there==1.0, only-source==2.0, and pip has no wheel of that for "
    )


def test_models_that_need_two_versions_of_a_package_go_into_two_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed(tmp_path, ["numpy==1.0", "pandas==2.0"], ["numpy==1.1", "pandas==2.0"])
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit, match=r"needs numpy==1\.0, numpy==1\.1, of which one image"):
        install_for_model()


def test_models_that_need_nothing_have_nothing_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: Path
) -> None:
    packed(tmp_path, [])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "run", pytest.fail)
    install_for_model()
