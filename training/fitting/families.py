"""Libraries of estimators beside scikit-learn: what installs each, and where its ways differ.

Known by the first part of the module's name, so that none is imported unless somebody asks for it.
An estimator of a library that is not named here is treated as scikit-learn's own are.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from serving.model.description import Task
from serving.model.estimator import Estimator
from serving.model.wrapped import unwrapped

# Each family has some of these names for the number of threads, and heeds whichever is given.
THREADS = ("n_jobs", "num_threads", "num_thread", "nthread", "nthreads", "thread_count")


@dataclass(frozen=True, slots=True)
class Told:
    """How an estimator is told which columns are categories: by parameters, or arguments of fit."""

    params: Mapping[str, object] = field(default_factory=dict)
    arguments: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Family:
    """A library of estimators.

    ``defaults`` are parameters that are set unless a person sets one of the names for them;
    ``talks`` are those with which it tells of parameters that it does not know. ``tells`` is given
    the number of categories, which come first, and that of all columns,
    ``for_classes`` the number of classes. ``boosters`` are what ``--candidates boosters`` compares.
    """

    requirement: str = ""
    defaults: Mapping[tuple[str, ...], object] = field(default_factory=dict)
    talks: Mapping[str, object] = field(default_factory=dict)
    tells: Callable[[int, int], Told] | None = None
    categories_are: Literal["codes", "strings"] = "codes"
    scales: bool = True
    for_classes: Callable[[int], Mapping[str, object]] | None = None
    boosters: Mapping[Task, str] = field(default_factory=dict)


def _listed(categorical: str, other: str, **params: object) -> Callable[[int, int], Told]:
    """Tell the type of each column."""

    def told(categories: int, columns: int) -> Told:
        types = [categorical] * categories + [other] * (columns - categories)
        return Told(params={"feature_types": types, **params})

    return told


def _positions(categories: int) -> list[int]:
    return list(range(categories))


def _categorical(classes: int) -> Mapping[str, object]:
    """Give the distribution of NGBoost, which is of two classes if nothing is said."""
    from ngboost.distns import k_categorical  # only there with such an estimator

    return {"Dist": k_categorical(classes)}


NO_FAMILY = Family()
FAMILIES: Mapping[str, Family] = {
    "xgboost": Family(
        "xgboost-cpu==3.2.0",  # the build without 300 MB for graphics cards
        {THREADS: 1},
        tells=_listed("c", "q", enable_categorical=True),
        scales=False,
        boosters={"classification": "XGBClassifier", "regression": "XGBRegressor"},
    ),
    "lightgbm": Family(
        "lightgbm==4.7.0",
        {
            THREADS: 1,
            ("verbose", "verbosity"): -1,
            # Or it sums up in the way that it has just measured to be the quicker one.
            ("deterministic",): True,
            ("force_row_wise", "force_col_wise"): True,
        },
        talks={"verbose": 0},
        # It heeds no parameter that says so.
        tells=lambda categories, _: Told(arguments={"categorical_feature": _positions(categories)}),
        scales=False,
        boosters={"classification": "LGBMClassifier", "regression": "LGBMRegressor"},
    ),
    "catboost": Family(
        "catboost==1.2.10",
        {
            THREADS: 1,
            ("verbose", "logging_level", "verbose_eval", "silent"): 0,
            ("allow_writing_files", "train_dir"): False,
        },
        tells=lambda categories, _: Told(params={"cat_features": _positions(categories)}),
        categories_are="strings",  # it takes no floats for categories
        scales=False,
        boosters={"classification": "CatBoostClassifier", "regression": "CatBoostRegressor"},
    ),
    "interpret": Family(
        "interpret-core==0.7.8",
        {THREADS: 1},
        tells=_listed("nominal", "continuous"),
        scales=False,
    ),
    "ngboost": Family(
        "ngboost==0.5.11", {("verbose",): False}, scales=False, for_classes=_categorical
    ),
    "imblearn": Family("imbalanced-learn==0.14.2"),
}


def family_of(estimator: Estimator) -> Family:
    """Give the family of an estimator, or of the one to which labels are put as codes."""
    module = type(unwrapped(estimator)).__module__
    return FAMILIES.get(module.partition(".")[0], NO_FAMILY)


def is_foreign(estimator: Estimator) -> bool:
    """Tell whether an estimator is not scikit-learn's own."""
    return not type(estimator).__module__.startswith("sklearn.")


def boosters_of(task: Task) -> dict[str, str]:
    """Name the classes that are compared for a task, by the modules that have them."""
    return {
        module: f"{module}.{family.boosters[task]}"
        for module, family in FAMILIES.items()
        if task in family.boosters
    }


def installed_by(modules: Sequence[str]) -> str:
    """Give the line that installs families."""
    return f"pip install {' '.join(FAMILIES[module].requirement for module in modules)}"


def one_thread(part: Estimator) -> None:
    """Keep a fitted estimator from starting threads of its own, as far as it lets itself be told.

    None is one thread to scikit-learn, and one for each core to others.
    """
    if not is_foreign(part):
        if hasattr(part, "n_jobs"):
            part.n_jobs = None
        return
    for name in _thread_params(part):
        with suppress(Exception):  # CatBoost refuses, once it is fitted
            part.set_params(**{name: 1})
    if hasattr(part, "get_booster"):  # XGBoost's has what it was trained with
        with suppress(Exception):  # it is not fitted
            part.get_booster().set_param({"nthread": 1})


def _thread_params(part: Estimator) -> Iterator[str]:
    with suppress(Exception):  # whatever it is
        yield from (name for name in part.get_params(deep=False) if name in THREADS)
