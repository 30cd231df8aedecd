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
from packaging.version import InvalidVersion, Version
from pydantic import ValidationError

from serving.description import Description
from serving.schemas import Prediction, Row

ARTIFACT = "saved_model.pkl"
DESCRIPTION = "description.json"
# Two classes whose scores lie closer than this, relative to them, may change places by rounding.
TIE_TOLERANCE = 1e-9
# Up to so many times the magnitudes seen in training, rounding stays below 1e-12 in an answer.
USUAL = 100


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
    _check_version(stored.tag, description.versions.get("scikit-learn", ""))
    return VerifiedModel(stored.tag, path, description)


def _check_version(tag: bentoml.Tag, fitted: str) -> None:
    """Refuse a model of another minor version: scikit-learn promises nothing across them.

    https://scikit-learn.org/stable/model_persistence.html#security-maintainability-limitations
    """
    ours = Version(sklearn.__version__)
    try:
        theirs = Version(fitted)
    except InvalidVersion as exc:
        raise ModelError(f"model {tag} does not tell which scikit-learn fitted it") from exc
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
        self.description = description
        self._estimator = estimator
        self._has_proba = hasattr(estimator, "predict_proba")
        self._scores = getattr(
            estimator, "predict_proba" if self._has_proba else "decision_function", None
        )
        ranges = [feature.trained for feature in description.features]
        self._classes = frozenset(description.classes)
        self._usual = USUAL * np.array([max(abs(r.minimum), abs(r.maximum)) for r in ranges])

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

    def warm_up(self) -> Prediction:
        """Ask for the example's prediction, alone and in company: what is lazy happens now.

        Raises:
            ModelError: the estimator fails on its own example.
        """
        example = tuple(feature.example for feature in self.description.features)
        try:
            self.predict([example, example])
            return self.predict([example])[0][0]
        except Exception as exc:
            raise ModelError(
                f"model {self.description.name} fails on its example: {exc!r}"
            ) from exc

    def predict(self, rows: list[Row]) -> tuple[list[Prediction], list[int]]:
        """Predict rows of ``n_features_in_`` floats.

        Labels are those of ``predict`` and not of the largest probability, which may differ.
        Linear algebra may round a row differently in batches of different size. So the indexes of
        the rows where that could be seen come too: those whose two best classes are all but tied,
        and those far outside of what was seen in training. Asked for alone, they get the answers
        that the estimator gives in process.

        Raises:
            Exception: what the estimator raises.
            ValueError: it gave numbers that are not finite, a label that is none of the classes, or
                not one answer for each row.
        """
        count = len(rows)
        features = np.array(rows, dtype=np.float64)
        # The rows were checked at the door, and the parameters when the estimator was fitted.
        with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
            labels = np.asarray(self._estimator.predict(features))
            scores = None if self._scores is None else np.asarray(self._scores(features))
        if labels.shape != (count,):
            raise ValueError(f"predict gave an array of shape {labels.shape}")
        if not self._classes.issuperset(labels.tolist()):
            raise ValueError("predict gave a label that is none of the classes")
        probabilities: list[list[float]] | list[None] = [None] * count
        if self._has_proba and scores is not None:
            if scores.shape != (count, len(self._classes)):
                raise ValueError(f"predict_proba gave an array of shape {scores.shape}")
            if not np.isfinite(scores).all():
                raise ValueError("predict_proba gave numbers that are not finite")
            probabilities = scores.tolist()
        predictions = list(map(Prediction, labels.tolist(), probabilities))
        if count == 1 or self.description.batch_invariant:
            return predictions, []
        sensitive = (np.abs(features) > self._usual).any(axis=1)
        if scores is not None:
            sensitive |= _tied(scores)
        return predictions, np.flatnonzero(sensitive).tolist()


def _tied(scores: np.ndarray) -> np.ndarray:
    """Tell for each row whether its two best classes' scores lie within the tolerance.

    ``scores`` is what ``predict_proba`` gives, or ``decision_function``: then a vector for two
    classes, whose sign decides.
    """
    if scores.ndim == 1:
        gap, largest = np.abs(scores), np.abs(scores)
    elif scores.shape[1] < 2:
        return np.zeros(len(scores), dtype=bool)
    else:
        best = np.partition(scores, -2, axis=1)[:, -2:]
        gap, largest = best[:, 1] - best[:, 0], np.abs(best).max(axis=1)
    return gap < TIE_TOLERANCE * np.maximum(largest, 1)  # type: ignore[no-any-return]


def model_info(verified: VerifiedModel) -> dict[str, Any]:
    """Tell all that is public about a model: the answer to ``GET /model/info``."""
    info = verified.description.model_dump(
        mode="json", exclude={"artifact_sha256", "batch_invariant"}
    )
    return info | {
        "version": str(verified.tag.version),
        "runtime": {"name": "sklearn", "proven": "the fitted estimator itself answers"},
        "size_bytes": verified.size_bytes,
    }


def library_versions() -> dict[str, str]:
    """Give the versions that matter to a model: Python's and the packages' that compute it."""
    packages = ("scikit-learn", "numpy", "scipy", "joblib")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}
