"""Files that XGBoost, LightGBM and CatBoost write themselves, with their ``save_model``.

Such a file is taken as the library reads it: what scikit-learn's wrapper of XGBoost has saved is
that wrapper again, a booster answers as boosters do. Nothing of it runs, so nobody has to be
trusted; but a damaged one may crash its reader, which is tried first (`survival`).
"""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from serving.model.estimator import Estimator
from serving.model.lightgbm_file import BoosterClassifier, BoosterRegressor
from training.console import tell
from training.errors import TrainingError
from training.fitting.families import installed_by
from training.loading.survival import survive

ENDINGS = (".bin", ".bst", ".cbm", ".json", ".lgb", ".model", ".txt", ".ubj", ".xgb")
NAMES: Mapping[str, str] = {"xgboost": "XGBoost", "lightgbm": "LightGBM", "catboost": "CatBoost"}
HEAD_BYTES = 4096  # in which a file tells what it is
OF_CLASSES = {  # the objectives of CatBoost that have labels
    "Logloss",
    "CrossEntropy",
    "Focal",
    "MultiClass",
    "MultiClassOneVsAll",
    "MultiLogloss",
    "MultiCrossEntropy",
}


def read_native(path: Path) -> Estimator:
    """Read a file of any of the families, which is known by what is in it.

    Raises:
        TrainingError: it is of none, its library is not installed, or can't read it.
    """
    family = family_in(path)
    library(family, path)
    survive(family, path)
    try:
        return LOADERS[family](path)
    except TrainingError:
        raise
    except Exception as exc:  # a file may hold anything, and fail in any way
        said = re.sub(r"\[[\d:]+\] \S+:\d+: ", "", str(exc).partition("Stack trace")[0])
        said = " ".join(f"{type(exc).__name__}: {said}".split())
        raise TrainingError(f"{path} can't be loaded by {NAMES[family]}: {said}") from exc


def family_in(path: Path) -> str:
    """Tell whose file it is.

    Raises:
        TrainingError: it is nobody's, or of a kind that can't be read back.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(b"CBM1"):
        return "catboost"
    if head.startswith(b"tree") and b"version=" in head:
        return "lightgbm"
    if b"learner" in head and head.lstrip().startswith(b"{"):
        return "xgboost"
    raise TrainingError(f"{path} {_no_model(head)}")


def _no_model(head: bytes) -> str:
    """Tell what a file is, in the place of what it was taken for."""
    text = head.lstrip()
    if head.startswith((b"binf", b"bs64")) or b"gbtree" in head or b"gblinear" in head:
        return (
            "is in XGBoost's old binary format, which it reads no more: load it with the XGBoost "
            "that wrote it, and save it with save_model('model.ubj')"
        )
    if text.startswith(b"{") and b'"tree_info"' in head:
        return (
            "is LightGBM's dump of a model, which it can't read back: use save_model('model.txt')"
        )
    if text.startswith(b"{") and (b'"oblivious_trees"' in head or b'"features_info"' in head):
        return "is CatBoost's model as JSON: save it with save_model('model.cbm')"
    if text.startswith(b"[") and b'"nodeid"' in head:
        return (
            "is XGBoost's dump of a model, which it can't read back: use save_model('model.json')"
        )
    if re.match(rb"booster\[0\]|0:\[", text):
        return (
            "is XGBoost's dump of a model, which it can't read back: use save_model('model.json')"
        )
    return (
        "is no file that save_model of XGBoost (.json, .ubj), LightGBM (.txt) or CatBoost (.cbm) "
        "writes"
    )


def library(family: str, path: Path) -> Any:  # noqa: ANN401 (a module)
    """Import a library.

    Raises:
        TrainingError: it is not installed.
    """
    try:
        return import_module(family)
    except ImportError:
        raise TrainingError(
            f"{path} is a file of {NAMES[family]}, which is not installed: "
            + installed_by([family])
        ) from None


def of_booster(held: Any) -> Estimator:  # noqa: ANN401 (whatever a file held)
    """Give the estimator of a booster, such as pickles hold; anything else stays as it is."""
    found = type(held)
    match found.__module__.partition(".")[0], found.__name__:
        case "xgboost", "Booster":
            return _of_xgboost(held)
        case "lightgbm", "Booster":
            return _of_lightgbm(held, held.model_to_string(num_iteration=1))
    return held


def _xgboost(path: Path) -> Estimator:
    import xgboost

    return _of_xgboost(xgboost.Booster(model_file=bytearray(path.read_bytes())))


def _of_xgboost(booster: Any) -> Estimator:  # noqa: ANN401 (XGBoost's own)
    """Give the wrapper that has saved a booster, or one that answers as the booster does."""
    import xgboost

    meta = booster.attr("scikit_learn")
    kind = None if meta is None else json.loads(meta).get("_estimator_type")
    if kind is None:
        kind = _kind(json.loads(booster.save_config())["learner"]["objective"]["name"])
        best = booster.attr("best_iteration")
        if best is not None and int(best) + 1 < booster.num_boosted_rounds():
            tell(
                f"the booster was stopped early: its best round is {best}, and all "
                f"{booster.num_boosted_rounds()} answer, as with Booster.predict; "
                "booster[: booster.best_iteration + 1] has those up to the best alone"
            )
            booster = booster.copy()
            booster.set_attr(best_iteration=None)  # by which a wrapper would leave rounds out
    wrappers = {
        "classifier": xgboost.XGBClassifier,
        "regressor": xgboost.XGBRegressor,
        "ranker": xgboost.XGBRanker,
    }
    estimator = wrappers[kind](n_jobs=1)
    estimator.load_model(bytearray(booster.save_raw("ubj")))
    return estimator


def _kind(objective: str) -> str:
    """Tell by a booster's objective what it does; ``binary:logitraw`` gives no probabilities."""
    if objective.startswith("rank:"):
        return "ranker"
    is_classifier = objective.startswith(("binary:", "multi:")) and objective != "binary:logitraw"
    return "classifier" if is_classifier else "regressor"


def _lightgbm(path: Path) -> Estimator:
    """Read a model's text, whole: the library may take one that ends too early."""
    import lightgbm

    text = path.read_text("utf-8")
    if not _is_whole(text):
        raise TrainingError(f"{path} can't be loaded by LightGBM: it is not whole")
    return _of_lightgbm(lightgbm.Booster(model_str=text), text)


def _is_whole(text: str) -> bool:
    """Tell whether all trees are there, and what follows: the categories of a frame come last."""
    _, has_trees, rest = text.partition("\nend of trees")
    sizes = re.search(r"^tree_sizes=(.*)$", text, re.MULTILINE)
    if not has_trees or sizes is None:  # as an old version wrote it
        return bool(has_trees)
    _, has_parameters, last = rest.partition("\nend of parameters")
    key, _, categories = last.strip().partition(":")
    with suppress(ValueError):
        if key:  # which libraries for other languages do not write
            json.loads(categories)
            key = key.removeprefix("pandas_categorical")
    trees = len(re.findall(r"^Tree=", text, re.MULTILINE))
    return bool(has_parameters) and not key and len(sizes[1].split()) == trees


def _of_lightgbm(booster: Any, text: str) -> Estimator:  # noqa: ANN401 (LightGBM's own)
    objective = re.search(r"^objective=(\S+)", text, re.MULTILINE)
    if objective is None or objective[1] == "custom":
        tell("the file of LightGBM names no objective: its raw scores are what is served")
        return BoosterRegressor(booster)
    is_classifier = objective[1] in {"binary", "multiclass", "multiclassova"}
    return (BoosterClassifier if is_classifier else BoosterRegressor)(booster)


def _catboost(path: Path) -> Estimator:
    import catboost

    bare = catboost.CatBoost().load_model(str(path), format="cbm")
    if bare.get_embedding_feature_indices():
        raise TrainingError(f"{path} has features that are embeddings, which no table has")
    loss = str(bare.get_all_params().get("loss_function", "")).partition(":")[0]
    found = catboost.CatBoostClassifier if loss in OF_CLASSES else catboost.CatBoostRegressor
    return found().load_model(str(path), format="cbm")


LOADERS: Mapping[str, Callable[[Path], Estimator]] = {
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
    "catboost": _catboost,
}
