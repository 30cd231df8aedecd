"""Versions of one model, good and bad; run as a module it saves them, with BENTOML_HOME set.

One of them is damaged after that.
"""

import json
from functools import partial
from pathlib import Path
from typing import NamedTuple

import bentoml

from serving.model.store import ServedModel, save
from serving.model.stored import ARTIFACT, EXPLANATION, GRAPH, verify
from tests.server import run_python
from tests.trained import train_iris
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
    """Save others beside the default model, as if they had been trained too."""
    train_iris(home)
    (old,) = (file.parent.name for file in (home / "models" / NAME).glob("*/model.yaml"))
    roles = {"old": old} | json.loads(run_python(home, "-m", "tests.wire.versions", old))
    (home / "models" / NAME / roles["damaged"] / ARTIFACT).write_bytes(b"no pickle")
    (home / ROLES).write_text(json.dumps(roles), "utf-8")


def main(old: str) -> None:
    """Save those that are like the old one, and such as training would not save."""
    verified = verify(ServedModel(f"{NAME}:{old}").resolve())
    inner, graph = bentoml.sklearn.load_model(verified.tag), (verified.path / GRAPH).read_bytes()
    kept = partial(save, explanation=(verified.path / EXPLANATION).read_bytes())
    alike = partial(kept, inner, verified.description, verified.card, graph)
    asked = verified.description.model_copy(update={"compiled": "it is a test's"})
    kinds = {"other": Other, "hanging": Gated, "exiting": Exiting, "unloadable": Unloadable}
    tags = {role: kept(kind(inner), asked, card="") for role, kind in kinds.items()}
    tags |= {role: alike() for role in ("new", "damaged", "newest")}
    print(json.dumps({role: tag.version for role, tag in tags.items()}))


if __name__ == "__main__":
    import sys

    main(sys.argv[1])
