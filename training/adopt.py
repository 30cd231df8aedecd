"""An estimator that was fitted elsewhere becomes a model.

A table like the one that it was fitted on stands for that, and is scored if it has the target. For
a model of MLflow its input example may do, which tells less.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from serving.console import listed
from serving.model.description import Description, Metrics
from serving.model.estimator import Estimator, FittedEstimator
from training.console import tell
from training.describing.answers import task_by_answers
from training.describing.columns import Columns, is_named, names_in, same_names
from training.describing.describe import answerable, rows_of
from training.describing.dtypes import categories_of, dtypes_of
from training.describing.evidence import Evidence
from training.describing.told import agreed, told_by
from training.errors import TrainingError
from training.fitting.evaluation import Evaluation, score, truth_of
from training.loading.fitted import load_fitted
from training.loading.labels import labelled
from training.loading.onnx import settle
from training.options import Options, agreed_task
from training.publish import described, publish
from training.sampled import sampled_table, with_targets
from training.table.files import read_file
from training.table.names import check_names
from training.table.table import Table, check_served, to_table


def adopt(model: str, reference: Path | None, options: Options) -> Description:
    """Take an estimator that was fitted elsewhere, and save it; ``reference`` is the table's file.

    Without it, the rows of an example that came with the estimator show what that takes.

    Raises:
        TrainingError: it can't be done.
    """
    brought = load_fitted(model, trust=options.trust, code=options.code, task=options.task)
    if reference is None:
        table, evidence = sampled_table(brought.sample, options, brought.estimator)
    else:
        table, evidence = reference_table(reference, options, brought.estimator)
    for note in table.notes:
        tell(note)
    estimator = with_labels(brought.estimator, table, options)
    description = described(options, estimator, table, unscored("it was not asked"), evidence)
    settle(estimator, description.asked.scored_by)
    if table.is_example:
        description = with_targets(description, brought.sample, options.target)
    why_not = why_unscored(table, description)
    if why_not:
        table = replace(table, target=table.target.iloc[:, :0])
    evaluation = evaluated(estimator, table, description, why_not)
    description = description.model_copy(update={"metrics": evaluation.metrics})
    return publish(options, description, estimator, table, evaluation)


def with_labels(estimator: Estimator, table: Table, options: Options) -> Estimator:
    """Give a classifier the labels of its codes, and see that they are those of the table.

    Raises:
        TrainingError: they are not, or ``--classes`` is said of something else.
    """
    count = len(table.target.columns)
    if table.task == "classification" and count <= 1:
        held = np.unique(table.labels).tolist() if count else []
        estimator = labelled(estimator, options.classes, held)
    elif options.classes:
        raise TrainingError("--classes names the labels of a classifier with one target")
    # CatBoost's regressors have an empty array of them.
    classes = getattr(estimator, "classes_", None) if table.task == "classification" else None
    if isinstance(classes, np.ndarray) and count and not np.isin(table.labels, classes).any():
        raise TrainingError(f"no value of {options.target[0]!r} is a class of the estimator")
    return estimator


def why_unscored(table: Table, description: Description) -> str:
    """Tell why the rows of a table can't be scored; nothing, if they can."""
    given, known = len(description.targets), len(table.target.columns)
    if table.is_example:
        return "there is no reference"
    if given and not known:
        return "the reference has no target"
    if given > known:
        return f"the estimator gives {given} numbers for the one target"
    return ""


def unscored(why: str) -> Metrics:
    """Give no scores, with the reason."""
    return Metrics(split=f"none: {why}", values={}, dummy={})


def evaluated(
    estimator: Estimator, table: Table, description: Description, why_not: str
) -> Evaluation:
    """Score an estimator on the rows that it answers, unless there is a reason why not."""
    told = answerable(table, description)
    asked = FittedEstimator(estimator, description).table(rows_of(told))
    if why_not:
        return Evaluation(unscored(why_not), estimator, asked, truth_of(told))
    if lost := len(table.frame) - len(told.frame):
        tell(f"{lost} rows are not scored: the estimator takes no missing values")
    split = f"{len(asked)} rows of the reference, which may be those it was fitted on"
    metrics = score(estimator, told, asked, split)
    return Evaluation(metrics, estimator, asked, truth_of(told))


def reference_table(
    reference: Path, options: Options, estimator: Estimator
) -> tuple[Table, Evidence]:
    """Read the table that stands for what an estimator was fitted on, its columns in its order.

    What the table and the estimator tell of how it was fitted comes with it.

    Raises:
        TrainingError: it lacks what the estimator needs.
    """
    raw, remarks = read_file(reference, options.form)
    check_names(list(raw.columns), options.target, options.drop, options.keep)
    rest = [name for name in raw.columns if name not in {*options.target, *options.drop}]
    own = names_in(estimator)
    names = rest if own is None else same_names(own, rest)
    if missing := [name for name in names if name not in rest]:
        raise TrainingError(f"{reference} lacks what the estimator needs: {', '.join(missing)}")
    task = agreed_task(options.task, estimator, "the estimator is")
    task = task or task_by_answers(estimator, raw[names])
    if task is None:
        raise TrainingError("the estimator does not tell what it does: say it with --task")
    targets = options.target if task in {"classification", "regression"} else []
    if unknown := [name for name in options.category or () if name not in names]:
        raise TrainingError(f"no feature of the estimator is {listed(unknown)}, as --category says")
    told = told_by(estimator, Columns.of(raw[names], options.category))
    columns = agreed(raw[[*names, *targets]], told)
    table = to_table(columns, targets, task=task, keep=names, remarks=remarks)
    check_served(table, names)
    ignored = tuple(name for name in map(str, raw.columns) if name not in names)
    said = None
    if options.category is not None:
        said = {name: categories_of(table.frame[name]) for name in options.category}
    evidence = Evidence(is_named(estimator), said, told, dtypes_of(reference, names))
    return replace(table, ignored=ignored), evidence
