"""Makes the image of the service with one model or several: ``make image``.

``bentoml build`` packs a bento, ``bentoml containerize`` builds the image from Dockerfile.template,
and a software bill of materials of what is in it is left beside. From the environment: ``MODEL`` is
the model's tag, or those of several with commas between, ``IMAGE`` the image's name, ``ENGINE``
what builds it.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import bentoml

from deploy.image.engine import find_engine, has_buildx
from deploy.image.sbom import write_sbom
from serving.console import show
from serving.model.state import State, StateError, leaves_open, read_state
from serving.model.stored import verify
from serving.settings import load_settings, name_of

ROOT = Path(__file__).parents[2]
# https://github.com/distribution/reference/blob/main/reference.go, of which `:` is for a port alone
NAME = re.compile(r"([\w.-]+(:\d+)?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*")
BENTOML = Path(sys.executable).with_name("bentoml")


def main() -> None:
    """Build, and tell how to run what was built."""
    engine = find_engine()
    image = os.environ.get("IMAGE") or "model-api"
    if not NAME.fullmatch(image):
        raise SystemExit(
            f"IMAGE={image}: a name in small letters is needed, without a tag: these are made here"
        )
    models = find_models(os.environ.get("MODEL") or "iris:latest")
    bento = build(models)
    containerize(bento, image, engine)
    show(
        f"{image} serves {', '.join(models)}; what it holds is told in {write_sbom(engine, image)}"
    )
    show(f"Run it with: {'podman' if engine == 'buildah' else engine} run -p 8000:8000 {image}")


def find_models(tags: str) -> list[str]:
    """Give the tags, with their versions, of models in the store that can be served.

    A name means what `python -m serving.versions` has promoted; before that, the newest version.
    A version that is named is taken, whatever was promoted over it.

    Raises:
        SystemExit: one is not there, or named twice; the message says what to do.
    """
    given = [tag.strip() for tag in tags.split(",") if tag.strip()]
    names = [name_of(tag) for tag in given]
    if len(set(names)) < len(names):
        raise SystemExit(f"MODEL={tags}: a model is named twice")
    try:
        state = read_state(load_settings().state_path)
    except StateError as exc:
        raise SystemExit(str(exc)) from None
    return [find_model(tag, state) for tag in given]


def find_model(tag: str, state: State) -> str:
    """Give the tag, with its version, of a model in the store that can be served.

    Raises:
        SystemExit: there is none; the message says what to do.
    """
    name = name_of(tag)
    try:
        if "@" in tag or (leaves_open(tag) and state.of(name).promoted):
            tag = f"{name}:{state.version_of(tag)}"
        return str(verify(bentoml.models.get(tag), installed=False).tag)
    except bentoml.exceptions.NotFound:
        raise SystemExit(
            f"no model {tag} in the BentoML model store: train it (make train), or name another "
            "with MODEL (see `bentoml models list`)"
        ) from None
    except (bentoml.exceptions.BentoMLException, ValueError) as exc:
        raise SystemExit(f"MODEL={tag}: {exc}") from None


def build(models: Sequence[str]) -> str:
    """Pack the service and models, the first as the default, and give the bento's tag."""
    variables = {name: value for name, value in os.environ.items() if name != "SERVING_MODEL"}
    told = subprocess.run(
        [BENTOML, "build", "--output", "tag"],
        cwd=ROOT,
        env=variables | {"SERVING_MODELS": ",".join(models)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    return told.strip().rpartition("__tag__:")[2]


def containerize(bento: str, image: str, engine: str) -> None:
    """Build the image of a bento, under the image's name with the bento's version and `latest`."""
    version = bento.partition(":")[2]
    labels = {
        "version": version,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": revision(),
    }
    options = [
        part
        for name, value in labels.items()
        for part in ("--opt", f"label=org.opencontainers.image.{name}={value}")
    ]
    tags = ["--image-tag", f"{image}:latest", "--image-tag", f"{image}:{version}"]
    variables = {"BUILDAH_FORMAT": "docker"}  # the other format has no HEALTHCHECK
    if engine == "docker" and not has_buildx():  # which BentoML takes to be there
        variables["DOCKER_BUILDKIT"] = "0"
    # From the root folder: elsewhere BentoML refuses its own copy of the template,
    # https://github.com/bentoml/BentoML/issues/5566
    subprocess.run(
        [BENTOML, "containerize", bento, "--backend", engine, *tags, *options],
        cwd="/",
        env=os.environ | variables,
        check=True,
    )


def revision() -> str:
    """Give the commit that is built; nothing outside of a repository, or without git."""
    if (git := shutil.which("git")) is None:
        return ""
    asked = subprocess.run([git, "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return asked.stdout.strip()


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as exc:  # which has told why
        raise SystemExit(f"failed: {' '.join(map(str, exc.cmd))}") from None
