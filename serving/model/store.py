"""The BentoML model store: models are saved to it, found in it, verified, and loaded.

A model in the store is what ``bentoml.sklearn.load_model`` reads, with a ``description.json`` and
a model card beside the estimator. Loading runs the pickle's code, so the description is checked
first: the file must be the one that training wrote, scikit-learn the version that fitted it, and
whatever else it needs must be installed.
"""

import hashlib
import platform
import warnings
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from pickle import PicklingError
from typing import Any

import bentoml
import joblib
from bentoml.exceptions import BentoMLException
from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version
from pydantic import ValidationError

from serving.model.compiled import CompiledEstimator
from serving.model.description import Asked, Compiled, Description
from serving.model.estimator import Estimator, Model
from serving.settings import Runtime

ARTIFACT = "saved_model.pkl"
GRAPH = "model.onnx"
DESCRIPTION = "description.json"
CARD = "card.html"
SKLEARN = "scikit-learn"
CLOUDPICKLE = "cloudpickle"


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

    @property
    def card(self) -> str:
        """The model card, an HTML page."""
        return (self.path / CARD).read_text("utf-8")


def save(
    estimator: Estimator, description: Description, card: str, graph: bytes | None = None
) -> bentoml.Tag:
    """Save a fitted estimator with its description and card; the digest is filled in here.

    ``graph`` is the ONNX graph of a compiled one. Returns the tag with the version that the store
    gave.
    """
    with bentoml.models.create(
        description.name,
        module="bentoml.sklearn",
        context=bentoml.models.ModelContext("sklearn", {SKLEARN: version(SKLEARN)}),
        labels={"task": description.task},
        metadata={
            "metrics": dict(description.metrics.values),
            "fingerprint": description.training.fingerprint,
        },
    ) as stored:
        folder = Path(stored.path)
        pickle_estimator(estimator, folder / ARTIFACT)
        complete = description.model_copy(update={"artifact_sha256": _sha256(folder / ARTIFACT)})
        (folder / DESCRIPTION).write_text(complete.model_dump_json(indent=2) + "\n", "utf-8")
        (folder / CARD).write_text(card, "utf-8")
        if graph is not None:
            (folder / GRAPH).write_bytes(graph)
    return stored.tag


def pickle_estimator(estimator: Estimator, file: Path) -> bool:
    """Pickle an estimator, with cloudpickle if that is how it has come, and tell whether it is.

    Functions and classes of a notebook are in no module from which a pickle could take them:
    cloudpickle writes their code down. What it writes is read as any pickle is.

    Raises:
        Exception: it can't be pickled.
    """
    import cloudpickle  # type: ignore[import-untyped]  # which loading does without, mostly

    try:
        joblib.dump(estimator, file)
    except (AttributeError, TypeError, PicklingError):
        file.write_bytes(cloudpickle.dumps(estimator))
        return True
    return False


def verify(stored: bentoml.Model, *, installed: bool = True) -> VerifiedModel:
    """Check a model in the store against its description, without loading it.

    What it needs beside the service's packages has to be ``installed`` where it is to be loaded.

    Raises:
        ModelError: it is damaged, or another scikit-learn fitted it.
    """
    path = Path(stored.path)
    try:
        description = Description.model_validate_json((path / DESCRIPTION).read_bytes())
        wanted = {ARTIFACT: description.artifact_sha256}
        if isinstance(description.compiled, Compiled):
            wanted[GRAPH] = description.compiled.sha256
        damaged = [name for name, digest in wanted.items() if _sha256(path / name) != digest]
        (path / CARD).stat()
    except FileNotFoundError as exc:
        missing = Path(exc.filename).name
        raise ModelError(f"model {stored.tag} has no {missing}: save it with train.py") from exc
    except ValidationError as exc:
        raise ModelError(
            f"model {stored.tag} has a {DESCRIPTION} that this service can't read "
            f"({exc.error_count()} problems): train it again"
        ) from exc
    if damaged:
        raise ModelError(f"model {stored.tag} is damaged: {damaged[0]} is not the file saved")
    _check_version(stored.tag, description.versions.get(SKLEARN, ""))
    _check_python(stored.tag, description)
    for requirement in description.requirements if installed else ():
        _check_requirement(stored.tag, requirement)
    return VerifiedModel(stored.tag, path, description)


def _check_version(tag: bentoml.Tag, fitted: str) -> None:
    """Refuse a model of another minor version: scikit-learn promises nothing across them.

    https://scikit-learn.org/stable/model_persistence.html#security-maintainability-limitations
    """
    ours = Version(version(SKLEARN))
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


def _check_python(tag: bentoml.Tag, description: Description) -> None:
    """Refuse byte code, as cloudpickle keeps it, of another minor version of Python."""
    names = {Requirement(requirement).name for requirement in description.requirements}
    ours, theirs = platform.python_version(), description.versions.get("python", "")
    if CLOUDPICKLE in names and _minor(ours) != _minor(theirs):
        raise ModelError(
            f"model {tag} has functions that were saved by cloudpickle with Python {theirs}, and "
            f"Python {ours} can't run them: serve it with Python {_minor(theirs)}"
        )


def _check_requirement(tag: bentoml.Tag, requirement: str) -> None:
    """Refuse a model that was fitted with a package that is not here."""
    try:
        ours = version(Requirement(requirement).name)
    except PackageNotFoundError:
        raise ModelError(f"model {tag} needs {requirement}: pip install {requirement}") from None
    if not Requirement(requirement).specifier.contains(ours, prereleases=True):
        warnings.warn(f"model {tag} was fitted with {requirement}; {ours} serves it", stacklevel=3)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def compiled_form(stored: VerifiedModel, runtime: Runtime) -> Compiled | str:
    """Tell how it was proven that the compiled model may answer, or why the estimator does.

    Raises:
        ModelError: only the compiled one is wanted, and it can't answer.
    """
    if runtime is Runtime.SKLEARN:
        return "SERVING_RUNTIME=sklearn"
    found = stored.description.compiled
    if isinstance(found, Compiled) and (ours := _onnxruntime()) != _minor(found.onnxruntime):
        found = f"it was proven with onnxruntime {found.onnxruntime}, not with {ours or 'none'}"
    if isinstance(found, str) and runtime is Runtime.ONNX:
        raise ModelError(f"model {stored.tag} can't be served with SERVING_RUNTIME=onnx: {found}")
    return found


def _onnxruntime() -> str | None:
    """Tell which minor version of ONNX Runtime is installed, if it is."""
    try:
        return _minor(version("onnxruntime"))
    except PackageNotFoundError:
        return None


def _minor(text: str) -> str:
    return ".".join(text.split(".")[:2])


def load(stored: VerifiedModel, runtime: Runtime = Runtime.AUTO) -> Model:
    """Load a verified model, and see that it answers.

    The estimator stays where it is if its compiled form is exact: scikit-learn and SciPy, which it
    needs, are much of the time that a start takes, and of the memory.

    Raises:
        ModelError: it can't be read here, or fails on its own example.
    """
    proof = compiled_form(stored, runtime)
    compiled = _compiled(stored) if isinstance(proof, Compiled) else None
    needs_estimator = isinstance(proof, str) or not proof.exact
    estimator = _unpickled(stored) if needs_estimator else None
    model = Model(estimator, stored.description, compiled)
    try:
        model.warm_up()
    except Exception as exc:
        raise ModelError(f"model {stored.tag} fails on its example: {exc!r}") from exc
    return model


def _compiled(stored: VerifiedModel) -> CompiledEstimator:
    try:
        return CompiledEstimator((stored.path / GRAPH).read_bytes())
    except Exception as exc:
        raise ModelError(
            f"model {stored.tag} can't be computed by onnxruntime: {exc!r} "
            "(SERVING_RUNTIME=sklearn does without)"
        ) from exc


def _unpickled(stored: VerifiedModel) -> Estimator:
    try:
        return joblib.load(stored.path / ARTIFACT)
    except Exception as exc:
        raise ModelError(f"model {stored.tag} can't be unpickled: {exc!r}") from exc


def model_info(verified: VerifiedModel, runtime: Runtime = Runtime.AUTO) -> dict[str, Any]:
    """Tell all that is public about a model: the answer to ``GET /model/info``."""
    info = verified.description.model_dump(
        mode="json",
        exclude={
            "artifact_sha256": True,
            "asked": True,
            "compiled": True,
            "features": {"__all__": {"known"}},
        },
    )
    return info | {
        "version": str(verified.tag.version),
        "runtime": _told(compiled_form(verified, runtime), verified.description.asked),
        "size_bytes": verified.size_bytes,
    }


def _told(proof: Compiled | str, asked: Asked) -> dict[str, Any]:
    """Tell what computes a model, and what was proven about that."""
    if isinstance(proof, str):
        return {
            "name": "sklearn",
            "proven": "the fitted estimator itself answers",
            # Alike bit for bit on one processor would say little of others: ADR 7.
            "same_bits": asked.batching != "tolerant",
            "not_compiled": proof,
        }
    return {
        "name": "onnx",
        "proven": f"for {proof.rows} rows, of the table and such as are likeliest to differ, it "
        "gave the labels of the fitted estimator, and its numbers within the tolerance, alone and "
        "in batches"
        + ("" if proof.exact else "; rows for which that says nothing go to the estimator itself"),
        "tolerance": proof.tolerance,
        "largest_difference": proof.largest_difference,
        "same_bits": proof.same_bits or proof.exact,
    }
