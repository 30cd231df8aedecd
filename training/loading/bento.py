"""Models of the BentoML store that something else than this training has saved there.

Such a model is a file of a known name and kind, as ``bentoml.sklearn.save_model`` and its like
write it. The store is the person's own, so what is in it may run.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import bentoml
from bentoml.exceptions import BentoMLException

from training.errors import TrainingError

PREFIX = "bento:"
ENDINGS: Mapping[str, str] = {
    "catboost": ".cbm",
    "lightgbm": ".txt",
    "onnx": ".onnx",
    "picklable_model": ".pkl",
    "sklearn": ".pkl",
    "xgboost": ".ubj",
}


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
    if kind not in ENDINGS:
        known = ", ".join(f"bentoml.{one}" for one in ENDINGS)
        raise TrainingError(
            f"model {model.tag} was saved with {model.info.module or 'no module'}: what is read is "
            f"saved with one of {known}"
        )
    file = Path(model.path) / f"saved_model{ENDINGS[kind]}"
    if not file.is_file():
        raise TrainingError(f"model {model.tag} has no {file.name}: it is damaged")
    return file
