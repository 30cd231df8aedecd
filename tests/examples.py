"""The examples of ``examples/README.md``, run as they stand there, once for all tests."""

import json
import re
import shlex
from functools import partial
from pathlib import Path

from tests.server import ROOT, run_python
from tests.trained import copy_of

SECTIONS = dict(
    re.findall(
        r"^## (\w+): .*?$(.*?)(?=^## |\Z)", (ROOT / "examples/README.md").read_text(), re.M | re.S
    )
)


def example(name: str, folder: Path) -> Path:
    """Give a copy, within a folder, of what an example leaves: its table, its model and notes."""
    return copy_of(partial(_run, name), f"example-{name}", folder)


def _run(name: str, home: Path) -> None:
    """Run the commands of an example in a folder, and note what it says to set for the service."""
    settings = {}
    for command in re.findall(r"^(?:python|SERVING).*$", SECTIONS[name], re.M):
        first, *words = shlex.split(command)
        if first == "python":
            run_python(home, str(ROOT / words[0]), *words[1:], folder=home)
        else:
            assert words == ["bentoml", "serve"]
            variable, _, value = first.partition("=")
            settings[variable] = value
    (home / "settings.json").write_text(json.dumps(settings))
