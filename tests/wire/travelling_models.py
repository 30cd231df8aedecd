"""Models with other code than the one that was brought; run as a module with BENTOML_HOME set.

Takes the brought version, and prints as JSON those that were saved: a version of the same model,
and one of another model, with the same changed code.
"""

import json
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import joblib

from serving.model.code import let_find
from serving.model.store import ServedModel, save
from serving.model.stored import ARTIFACT, CODE, sha256, verify
from tests.travelling import NAME

OTHER = "neighbour"
SHAPES = "my_steps/shapes.py"


def main(old: str) -> None:
    """Change the code, and keep all else."""
    model = verify(ServedModel(f"{NAME}:{old}").resolve())
    code, description = model.description.code, model.description
    let_find(model.path / CODE, code, NAME)
    estimator = joblib.load(model.path / ARTIFACT)
    with TemporaryDirectory() as folder:
        changed = Path(shutil.copytree(model.path / CODE, Path(folder, CODE)))
        text = (changed / SHAPES).read_text("utf-8").replace("SCALE = 1", "SCALE = -1")
        (changed / SHAPES).write_text(text, "utf-8")
        code = {**code, SHAPES: sha256(changed / SHAPES)}
        why_not = "it was with other code that it was explained"
        tags = [
            save(
                estimator,
                description.model_copy(update={"name": name, "code": code, "explained": why_not}),
                card="",
                code=changed,
            )
            for name in (NAME, OTHER)
        ]
    json.dump([tag.version for tag in tags], sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
