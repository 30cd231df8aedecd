"""Versions of one model, good and bad; run as a module it saves them, with BENTOML_HOME set.

Beside those that training saves, of which one is damaged after that.
"""

import json
from pathlib import Path
from typing import NamedTuple

import bentoml

from serving.model.store import save
from serving.model.stored import ARTIFACT, described
from tests.server import run_python
from tests.wire.estimators import Exiting, Gated, Other, Unloadable

NAME = "iris"
ROLES = "roles.json"


class Versions(NamedTuple):
    """A model store, and the version of the model that has each role."""

    home: Path
    old: str
    new: str
    other: str  # whose answers differ
    hanging: str  # while its gate is closed
    exiting: str
    unloadable: str
    damaged: str
    newest: str  # as good as the old one

    @classmethod
    def of(cls, home: Path) -> "Versions":
        """Read which there are."""
        return cls(home, **json.loads((home / ROLES).read_text("utf-8")))


def make(home: Path) -> None:
    """Save them all."""
    roles = {}
    for role in ("old", "new", "damaged"):
        run_python(home, "train.py")
        roles[role] = _latest(home)
    (home / "models" / NAME / roles["damaged"] / ARTIFACT).write_bytes(b"no pickle")
    roles |= json.loads(run_python(home, "-m", "tests.wire.versions", roles["old"]))
    run_python(home, "train.py")
    roles["newest"] = _latest(home)
    (home / ROLES).write_text(json.dumps(roles), "utf-8")


def _latest(home: Path) -> str:
    return (home / "models" / NAME / "latest").read_text("utf-8").strip()


def main(old: str) -> None:
    """Save those that training would not."""
    description = described(f"{NAME}:{old}").model_copy(update={"compiled": "it is a test's"})
    inner = bentoml.sklearn.load_model(f"{NAME}:{old}")
    kinds = {"other": Other, "hanging": Gated, "exiting": Exiting, "unloadable": Unloadable}
    saved = {role: save(kind(inner), description, card="") for role, kind in kinds.items()}
    print(json.dumps({role: tag.version for role, tag in saved.items()}))


if __name__ == "__main__":
    import sys

    main(sys.argv[1])
