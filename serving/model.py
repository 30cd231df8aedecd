"""The model: saved to and loaded from the BentoML model store, verified, asked.

A model in the store is what ``bentoml.sklearn.load_model`` reads, with a ``description.json``
beside the estimator. Loading runs the pickle's code, so the description is checked first: the file
must be the one that training wrote, and scikit-learn the version that fitted it.
"""

import hashlib
import platform
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import bentoml
import joblib
import numpy as np
import sklearn
from bentoml.exceptions import BentoMLException
from packaging.version import Version
from pydantic import ValidationError

from serving.description import Description
from serving.schemas import Prediction, Row

ARTIFACT = "saved_model.pkl"
DESCRIPTION = "description.json"
# Two classes whose probabilities lie closer than this may change places with the rounding of linear
# algebra, which depends on how many rows are computed together.
TIE_TOLERANCE = 1e-9


class ModelError(BentoMLException):
    """The model can't be served; the message says why and what to do."""


class ServedModel(bentoml.models.BentoModel):
    """The reference by which BentoML packs the model into a bento, and finds it to serve it."""

    def resolve(self, *args: Any, **kwargs: Any) -> bentoml.Model:  # noqa: ANN401 (BentoML's own)
        """Find the model in the store; BentoML would go on to look for it in its cloud.

        Raises:
            ModelError: it is not there.
        """
        if self.stored is None:
            raise ModelError(
                f"no model {self.tag} in the BentoML model store: train one with "
                "`python train.py`, or name another with SERVING_MODEL (see `bentoml models list`)"
            )
        return super().resolve(*args, **kwargs)


@dataclass(frozen=True, slots=True)
class VerifiedModel:
    """A model in the store whose description was read and whose file is the one described."""

    tag: bentoml.Tag
    path: Path
    description: Description

    @property
    def size_bytes(self) -> int:
        """The size of the estimator's file."""
        return (self.path / ARTIFACT).stat().st_size


def save(estimator: Any, description: Description) -> bentoml.Tag:  # noqa: ANN401 (scikit-learn has no type for it)
    """Save a fitted estimator with its description; the digest in it is filled in here.

    Returns the tag with the version that the store gave.
    """
    with bentoml.models.create(
        description.name,
        module="bentoml.sklearn",
        context=bentoml.models.ModelContext("sklearn", {"scikit-learn": sklearn.__version__}),
        labels={"task": description.task},
        metadata={
            "metrics": dict(description.metrics.values),
            "fingerprint": description.training.fingerprint,
        },
    ) as stored:
        folder = Path(stored.path)
        joblib.dump(estimator, folder / ARTIFACT)
        complete = description.model_copy(update={"artifact_sha256": _sha256(folder / ARTIFACT)})
        (folder / DESCRIPTION).write_text(complete.model_dump_json(indent=2) + "\n")
    return stored.tag


def verify(stored: bentoml.Model) -> VerifiedModel:
    """Check a model in the store against its description, without loading it.

    Raises:
        ModelError: it is damaged, or another scikit-learn fitted it.
    """
    path = Path(stored.path)
    try:
        description = Description.model_validate_json((path / DESCRIPTION).read_bytes())
        digest = _sha256(path / ARTIFACT)
    except FileNotFoundError as exc:
        missing = Path(exc.filename).name
        raise ModelError(f"model {stored.tag} has no {missing}: save it with train.py") from exc
    except ValidationError as exc:
        raise ModelError(
            f"model {stored.tag} has a {DESCRIPTION} that this service can't read "
            f"({exc.error_count()} problems): train it again"
        ) from exc
    if digest != description.artifact_sha256:
        raise ModelError(f"model {stored.tag} is damaged: {ARTIFACT} is not the file saved")
    _check_version(stored.tag, description.versions["scikit-learn"])
    return VerifiedModel(stored.tag, path, description)


def _check_version(tag: bentoml.Tag, fitted: str) -> None:
    """Refuse a model of another minor version: scikit-learn promises nothing across them.

    https://scikit-learn.org/stable/model_persistence.html#security-maintainability-limitations
    """
    ours, theirs = Version(sklearn.__version__), Version(fitted)
    if ours.release[:2] != theirs.release[:2]:
        raise ModelError(
            f"model {tag} was fitted with scikit-learn {theirs}, but {ours} is installed: "
            f"install scikit-learn {theirs.major}.{theirs.minor}, or train the model again"
        )
    if ours != theirs:
        warnings.warn(
            f"model {tag} was fitted with scikit-learn {theirs}; {ours} serves it", stacklevel=2
        )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Model:
    """A fitted classifier, ready to be asked."""

    def __init__(self, estimator: Any, description: Description) -> None:  # noqa: ANN401 (scikit-learn has no type for it)
        """Take an estimator with ``predict`` and, if it has it, ``predict_proba``."""
        self._estimator = estimator
        self._has_proba = hasattr(estimator, "predict_proba")
        self.description = description

    @classmethod
    def load(cls, stored: VerifiedModel) -> "Model":
        """Unpickle a verified model.

        Raises:
            ModelError: the pickle cannot be read here.
        """
        try:
            estimator = joblib.load(stored.path / ARTIFACT)
        except Exception as exc:
            raise ModelError(f"model {stored.tag} can't be unpickled: {exc!r}") from exc
        return cls(estimator, stored.description)

    def predict(self, rows: list[Row]) -> list[Prediction]:
        """Predict rows of ``n_features_in_`` floats, each as the estimator would alone.

        Labels are those of ``predict`` and not of the largest probability, which may differ. Rows
        whose two best classes are all but tied are computed one at a time, so that their
        neighbours can't decide.

        Raises:
            Exception: what the estimator raises.
            ValueError: it gave numbers that are not finite, or not one answer for each row.
        """
        predictions, tied = self._ask(rows)
        if len(rows) > 1:
            for index in tied:
                predictions[index] = self._ask([rows[index]])[0][0]
        return predictions

    def _ask(self, rows: list[Row]) -> tuple[list[Prediction], list[int]]:
        """Ask the estimator once; also tell which rows are all but tied."""
        features = np.array(rows, dtype=np.float64)
        # The rows were checked at the door, and the parameters when the estimator was fitted.
        with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
            labels = np.asarray(self._estimator.predict(features))
            probabilities = self._estimator.predict_proba(features) if self._has_proba else None
        if labels.shape != (len(rows),):
            raise ValueError(f"predict gave an array of shape {labels.shape}")
        if probabilities is None:
            return [Prediction(label, None) for label in labels.tolist()], []
        probabilities = np.asarray(probabilities)
        if probabilities.shape != (len(rows), len(self.description.classes)):
            raise ValueError(f"predict_proba gave an array of shape {probabilities.shape}")
        if not np.isfinite(probabilities).all():
            raise ValueError("predict_proba gave numbers that are not finite")
        return (
            [
                Prediction(label, row)
                for label, row in zip(labels.tolist(), probabilities.tolist(), strict=True)
            ],
            _tied(probabilities),
        )


def _tied(probabilities: np.ndarray) -> list[int]:
    """Find the rows whose two largest probabilities lie within the tolerance."""
    if probabilities.shape[1] < 2:
        return []
    best = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.flatnonzero(best[:, 1] - best[:, 0] < TIE_TOLERANCE).tolist()


def model_info(verified: VerifiedModel) -> dict[str, Any]:
    """Tell all that is public about a model: the answer to ``GET /model/info``."""
    info = verified.description.model_dump(mode="json", exclude={"artifact_sha256"})
    return info | {
        "version": str(verified.tag.version),
        "runtime": {"name": "sklearn", "proven": "the fitted estimator itself answers"},
        "size_bytes": verified.size_bytes,
    }


def library_versions() -> dict[str, str]:
    """Give the versions that matter to a model: Python's and the packages' that compute it."""
    packages = ("scikit-learn", "numpy", "scipy", "joblib")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}
