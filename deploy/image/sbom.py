"""Writes the software bill of materials of an image, as CycloneDX: ``make sbom``.

It holds what the image really has: its Python packages, the Debian packages whose libraries were
kept, Python itself and the model. From the environment: ``IMAGE`` and ``ENGINE``, as for
``make image``.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from packaging.utils import canonicalize_name

from deploy.image.engine import find_engine, run_python
from serving.console import show

CONTENTS = Path(__file__).with_name("contents.py")
LONGEST_LICENSE = 100  # beyond it, the field of a package holds the license's text, not its name


def write_sbom(engine: str, image: str) -> Path:
    """Ask an image what it holds, and write that to a file named after it, in this folder."""
    contents = json.loads(run_python(engine, image, CONTENTS.read_text()))
    file = Path(f"{image.rpartition('/')[2].partition(':')[0]}.cdx.json")
    make_outputter(to_bom(image, contents), OutputFormat.JSON, SchemaVersion.V1_6).output_to_file(
        str(file), allow_overwrite=True, indent=2
    )
    return file


def to_bom(image: str, contents: dict[str, Any]) -> Bom:
    """Describe what an image holds, all of it needed by the image itself."""
    bom = Bom()
    bom.metadata.component = Component(
        name=image, version=contents["version"], type=ComponentType.CONTAINER
    )
    bom.components.update(_components(contents))
    bom.register_dependency(bom.metadata.component, bom.components)
    return bom


def _components(contents: dict[str, Any]) -> Iterator[Component]:
    python = contents["python"]
    yield Component(
        name="python",
        version=python,
        type=ComponentType.PLATFORM,
        purl=PackageURL("generic", name="python", version=python),
        cpe=f"cpe:2.3:a:python:python:{python}:*:*:*:*:*:*:*",
    )
    for package in contents["packages"]:
        named = [name for name in package["licenses"] if _is_name(name)]
        yield Component(
            name=package["name"],
            version=package["version"],
            description=package["summary"],
            licenses=[LicenseFactory().make_from_string(name) for name in named[:1]],
            purl=PackageURL(
                "pypi", name=canonicalize_name(package["name"]), version=package["version"]
            ),
        )
    system = contents["system"]
    for package in contents["system_packages"]:
        yield Component(
            name=package["Package"],
            version=package["Version"],
            description=package["Description"].partition("\n")[0],
            purl=PackageURL(
                "deb",
                namespace=system["ID"],
                name=package["Package"],
                version=package["Version"],
                qualifiers={
                    "arch": package["Architecture"],
                    "distro": f"{system['ID']}-{system['VERSION_ID']}",
                    # by which Debian's advisories go
                    "upstream": package.get("Source", package["Package"]).partition(" ")[0],
                },
            ),
        )
    for model in contents["models"]:
        yield Component(
            name=model["name"],
            version=model["version"],
            type=ComponentType.MACHINE_LEARNING_MODEL,
            description=f"{model['task']}, trained on {model['training']['rows']} rows",
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=model["artifact_sha256"])],
        )


def _is_name(license_: str) -> bool:
    return 0 < len(license_) <= LONGEST_LICENSE and "\n" not in license_


if __name__ == "__main__":
    show(str(write_sbom(find_engine(), os.environ.get("IMAGE") or "model-api")))
