"""The BentoML model store: models are saved to it, found in it, and loaded.

A model in the store is what ``bentoml.sklearn.load_model`` reads, with a ``description.json`` and
a model card beside the estimator.
"""

import shutil
from functools import partial
from importlib.metadata import version
from pathlib import Path
from pickle import PicklingError
from typing import Any, TypeAlias

import bentoml
import joblib

from serving.model.code import CodeError, let_find, without_others
from serving.model.compiled import CompiledEstimator, CompiledGraph, ScoringEstimator
from serving.model.description import Compiled, Description
from serving.model.estimator import Estimator, FittedEstimator
from serving.model.outputs import Prediction
from serving.model.stored import (
    ARTIFACT,
    CARD,
    CODE,
    DESCRIPTION,
    EXPLANATION,
    GRAPH,
    SKLEARN,
    ModelError,
    VerifiedModel,
    compiled_form,
    sha256,
)
from serving.settings import Runtime

LoadedModel: TypeAlias = FittedEstimator | CompiledEstimator


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
                "`python train.py`, or name another with SERVING_MODEL or SERVING_MODELS (see "
                "`bentoml models list`)"
            )
        return super().resolve(*args, **kwargs)


def save(
    estimator: Estimator,
    description: Description,
    card: str,
    graph: bytes | None = None,
    code: Path | None = None,
    explanation: bytes | None = None,
) -> bentoml.Tag:
    """Save a fitted estimator with its description and card; the digest is filled in here.

    ``graph`` is the ONNX graph of a compiled one, ``code`` the folder of the modules that the
    description says travel with it, and ``explanation`` what is kept for explanations, if it says
    that there are some. Returns the tag with the version that the store gave.
    """
    training = description.training
    with bentoml.models.create(
        description.name,
        module="bentoml.sklearn",
        context=bentoml.models.ModelContext("sklearn", {SKLEARN: version(SKLEARN)}),
        labels={"task": description.task},
        metadata={
            "metrics": dict(description.metrics.values),
            **({"fingerprint": training.fingerprint} if training else {}),
        },
    ) as stored:
        folder = Path(stored.path)
        pickle_estimator(estimator, folder / ARTIFACT)
        complete = description.model_copy(update={"artifact_sha256": sha256(folder / ARTIFACT)})
        (folder / DESCRIPTION).write_text(complete.model_dump_json(indent=2) + "\n", "utf-8")
        (folder / CARD).write_text(card, "utf-8")
        if graph is not None:
            (folder / GRAPH).write_bytes(graph)
        if explanation is not None:
            (folder / EXPLANATION).write_bytes(explanation)
        if code is not None:
            shutil.copytree(code, folder / CODE)
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


def load(
    stored: VerifiedModel, runtime: Runtime = Runtime.AUTO, *, lazily: bool = False
) -> tuple[LoadedModel, Prediction]:
    """Load a verified model, and see that it answers: give it, and its example's prediction.

    The estimator stays where it is if its compiled form is exact: scikit-learn and SciPy, which it
    needs, are much of the time that a start takes, and of the memory. ``lazily``, it does so beside
    any compiled form until a row needs it, which may raise a ModelError then.

    Raises:
        ModelError: it can't be read here, or fails on its own example.
    """
    proof = compiled_form(stored, runtime)
    graph = _graph(stored) if isinstance(proof, Compiled) else None
    model: LoadedModel
    if graph is None or isinstance(proof, str):
        model = _fitted(stored)
    else:
        later = partial(_fitted, stored)
        beside = None if proof.exact else later if lazily else later()
        model = CompiledEstimator(graph, stored.description, beside)
    try:
        return model, model.warm_up()
    except Exception as exc:
        raise ModelError(f"model {stored.tag} fails on its example: {exc!r}") from exc


def _graph(stored: VerifiedModel) -> CompiledGraph:
    try:
        return CompiledGraph((stored.path / GRAPH).read_bytes())
    except Exception as exc:
        raise ModelError(
            f"model {stored.tag} can't be computed by onnxruntime: {exc!r} "
            "(SERVING_RUNTIME=sklearn does without)"
        ) from exc


def estimator_in_place(stored: VerifiedModel) -> CompiledEstimator:
    """Load the estimator of an exact graph, to be asked for scores as the graph is.

    Raises:
        ModelError: it can't be read here.
    """
    return CompiledEstimator(ScoringEstimator(_fitted(stored)), stored.description, None)


def _fitted(stored: VerifiedModel) -> FittedEstimator:
    return FittedEstimator(_unpickled(stored), stored.description)


def _unpickled(stored: VerifiedModel) -> Estimator:
    try:
        code, whose = stored.description.code, f"model {stored.tag}"
        let_find(stored.path / CODE, code, whose)
        with without_others(code, whose):
            return joblib.load(stored.path / ARTIFACT)
    except CodeError as exc:
        raise ModelError(str(exc)) from None
    except ModuleNotFoundError as exc:
        raise ModelError(
            f"model {stored.tag} needs the module {exc.name}, which is not here: install the "
            "package that has it, or train the model again with --code, which keeps it with it"
        ) from exc
    except Exception as exc:
        raise ModelError(f"model {stored.tag} can't be unpickled: {exc!r}") from exc
