"""Models of the BentoML store that something else than this training has saved there.

Such a model is a file of a known name and kind, as ``bentoml.sklearn.save_model`` and its like
write it. The store is the person's own, so what is in it may run.
"""

from contextlib import suppress
from pathlib import Path

import bentoml
from bentoml.exceptions import BentoMLException

from training.errors import TrainingError

PREFIX = "bento:"
KINDS = ("sklearn", "xgboost", "lightgbm", "catboost", "picklable_model", "onnx")


def file_of(tag: str) -> Path:
    """Find the file of a model in the store, by its tag.

    Raises:
        TrainingError: there is no such model, or none of a kind that is read here.
    """
    model = None
    with suppress(BentoMLException, ValueError):  # the last: it can't be a tag
        model = bentoml.models.get(tag)
    if model is None:
        raise TrainingError(
            f"no model {tag} is in the BentoML model store: see bentoml models list"
        )
    kind = model.info.module.rpartition(".")[2]
    if kind not in KINDS:
        known = ", ".join(f"bentoml.{one}" for one in KINDS)
        raise TrainingError(
            f"model {model.tag} was saved with {model.info.module or 'no module'}: what is read is "
            f"saved with one of {known}"
        )
    files = list(Path(model.path).glob("saved_model.*"))
    if len(files) != 1:
        raise TrainingError(f"model {model.tag} has {len(files)} files saved_model, not one")
    return files[0]
