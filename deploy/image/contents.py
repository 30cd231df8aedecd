"""Tells as JSON what an image holds; runs inside of it, with Python's own library alone."""

import json
import platform
import re
from email.parser import HeaderParser
from importlib.metadata import distributions
from pathlib import Path

packages = [
    {
        "name": found.name,
        "version": found.version,
        "summary": found.metadata["Summary"],
        "licenses": [found.metadata["License-Expression"] or found.metadata["License"] or ""]
        + [
            classifier.rpartition(" :: ")[2]
            for classifier in found.metadata.get_all("Classifier", [])
            if classifier.startswith("License ::")
        ],
    }
    for found in distributions()
]
system_packages = [
    dict(HeaderParser().parse(status.open()).items())
    for status in sorted(Path("/var/lib/dpkg/status.d").iterdir())
]
models = [
    {"name": file.parts[-3], "version": file.parts[-2], **json.loads(file.read_bytes())}
    for file in Path("/bento/models").glob("*/*/description.json")
]
(version,) = re.findall(r"^version: (\S+)$", Path("/bento/bento.yaml").read_text(), re.MULTILINE)
print(
    json.dumps(
        {
            "version": version,
            "python": platform.python_version(),
            "system": platform.freedesktop_os_release(),
            "packages": packages,
            "system_packages": system_packages,
            "models": models,
        }
    )
)
