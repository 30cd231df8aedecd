"""A model of the store, verified: what it is, and whether it can be served here.

Loading runs the pickle's code, so the description is checked first: the files must be those that
training wrote, scikit-learn the version that fitted it, and whatever else it needs must be
installed.
"""

import hashlib
import platform
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path

import bentoml
from bentoml.exceptions import BentoMLException
from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version
from pydantic import ValidationError

from serving.model.description import Compiled, Description, Explained
from serving.settings import Runtime

ARTIFACT = "saved_model.pkl"
GRAPH = "model.onnx"
EXPLANATION = "explanation.npz"
DESCRIPTION = "description.json"
CARD = "card.html"
CODE = "code"  # the folder of its own modules
SKLEARN = "scikit-learn"
CLOUDPICKLE = "cloudpickle"
# The same modules in another package, without 300 MB that only a graphics card needs.
SMALLER = {"xgboost": "xgboost-cpu"}


class ModelError(BentoMLException):
    """The model can't be served; the message says why and what to do."""


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


def verify(stored: bentoml.Model, *, installed: bool = True) -> VerifiedModel:
    """Check a model in the store against its description, without loading it.

    What it needs beside the service's packages has to be ``installed`` where it is to be loaded.

    Raises:
        ModelError: it is damaged, another scikit-learn fitted it, or a package is missing.
    """
    path = Path(stored.path)
    try:
        description = Description.model_validate_json((path / DESCRIPTION).read_bytes())
        wanted = {ARTIFACT: description.artifact_sha256}
        if isinstance(description.compiled, Compiled):
            wanted[GRAPH] = description.compiled.sha256
        if isinstance(description.explained, Explained):
            wanted[EXPLANATION] = description.explained.sha256
        wanted |= {f"{CODE}/{file}": digest for file, digest in description.code.items()}
        damaged = [name for name, digest in wanted.items() if sha256(path / name) != digest]
        (path / CARD).stat()
    except FileNotFoundError as exc:
        missing = Path(exc.filename).name
        way_on = "save it with train.py"
        if missing == DESCRIPTION:  # as where something else than train.py has saved it
            way_on = f"python train.py --model bento:{stored.tag} --reference TABLE.csv writes one"
        raise ModelError(f"model {stored.tag} has no {missing}: {way_on}") from exc
    except ValidationError as exc:
        raise _unreadable(stored.tag, exc) from exc
    if damaged:
        raise ModelError(f"model {stored.tag} is damaged: {damaged[0]} is not the file saved")
    _check_version(stored.tag, description.versions.get(SKLEARN, ""))
    _check_python(stored.tag, description)
    model = VerifiedModel(stored.tag, path, description)
    if installed:
        check_needs([model])
    return model


def newest(name: str) -> str:
    """Give the newest version of a model in the store.

    Raises:
        ModelError: there is no such model.
    """
    try:
        return str(bentoml.models.get(f"{name}:latest").tag.version)
    except (BentoMLException, ValueError):  # the last: it can't be a tag
        raise ModelError(
            f"no model {name} in the BentoML model store: train one with `python train.py`, or "
            "name another with SERVING_MODEL or SERVING_MODELS (see `bentoml models list`)"
        ) from None


def described(tag: str) -> Description:
    """Read what a model of the store says of itself, whatever it takes to load it.

    Raises:
        ModelError: there is none of this very tag, or its description can't be read.
    """
    try:
        file = Path(found(tag).path) / DESCRIPTION
        return Description.model_validate_json(file.read_bytes())
    except ValidationError as exc:
        raise _unreadable(tag, exc) from exc
    except FileNotFoundError:
        raise _not_there(tag) from None


def found(tag: str) -> bentoml.Model:
    """Find a model of the store, by its exact tag.

    Raises:
        ModelError: there is none of this very tag.
    """
    with suppress(BentoMLException, ValueError):  # the last: it can't be a tag
        model = bentoml.models.get(tag)
        if str(model.tag) == tag:  # BentoML takes another that begins so
            return model
    raise _not_there(tag)


def kept() -> list[bentoml.Model]:
    """Give all models of the store, the oldest first."""
    return sorted(bentoml.models.list(), key=lambda model: model.info.creation_time)


def _not_there(tag: str) -> ModelError:
    return ModelError(f"model {tag} is not in the model store")


def _unreadable(tag: bentoml.Tag | str, exc: ValidationError) -> ModelError:
    return ModelError(
        f"model {tag} has a {DESCRIPTION} that this service can't read "
        f"({exc.error_count()} problems): train it again"
    )


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


def check_needs(models: Sequence[VerifiedModel]) -> None:
    """Refuse models that were fitted with packages that are not here, and warn of other versions.

    Raises:
        ModelError: some are missing; the message installs all of them.
    """
    missing: dict[str, list[str]] = {}
    for model in models:
        for requirement in model.description.requirements:
            ours = installed_version(Requirement(requirement).name)
            if ours is None:
                missing.setdefault(requirement, []).append(str(model.tag))
            elif not Requirement(requirement).specifier.contains(ours, prereleases=True):
                warnings.warn(
                    f"model {model.tag} was fitted with {requirement}; {ours} serves it",
                    stacklevel=3,
                )
    if missing:
        tags = dict.fromkeys(tag for those in missing.values() for tag in those)
        who = f"model{'s' * (len(tags) > 1)} {', '.join(tags)} need{'s' * (len(tags) < 2)}"
        raise ModelError(f"{who} {', '.join(missing)}: pip install {' '.join(missing)}")


def installed_version(package: str) -> str | None:
    """Tell which version of a package is installed, or of the one that has the same modules."""
    same = (pair for pair in SMALLER.items() if package in pair)
    for name in (package, *chain.from_iterable(same)):
        with suppress(PackageNotFoundError):
            return version(name)
    return None


def sha256(file: Path) -> str:
    """Give the digest of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def compiled_form(stored: VerifiedModel, runtime: Runtime) -> Compiled | str:
    """Tell how it was proven that the compiled model may answer, or why the estimator does.

    Raises:
        ModelError: only the compiled one is wanted, and it can't answer.
    """
    if stored.description.is_graph:
        return "it is a graph as it is"
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
    ours = installed_version("onnxruntime")
    return None if ours is None else _minor(ours)


def _minor(text: str) -> str:
    return ".".join(text.split(".")[:2])
