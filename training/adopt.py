"""An estimator that was fitted elsewhere becomes a model.

A table like the one that it was fitted on stands for that, and is scored if it has the target. For
a model of MLflow its input example may do, which tells less.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from serving.model.description import Description, Metrics
from serving.model.estimator import Estimator, FittedEstimator
from training.console import tell
from training.describing.answers import task_by_answers
from training.describing.columns import Columns, counted, names_in, same_names
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
from training.table.names import check_names, listed
from training.table.table import Table, to_table


def adopt(model: str, reference: Path | None, options: Options) -> Description:
    """Take an estimator that was fitted elsewhere, and save it; ``reference`` is the table's file.

    Without it, the rows of an example that came with the estimator show what that takes.

    Raises:
        TrainingError: it can't be done.
    """
    brought = load_fitted(model, trust=options.trust, code=options.code, task=options.task)
    estimator = brought.estimator
    if reference is None:
        table, evidence = sampled_table(brought.sample, options, estimator)
    else:
        table, evidence = reference_table(reference, options, estimator)
    for note in table.notes:
        tell(note)
    target = options.target
    if table.task == "classification" and len(table.target.columns) <= 1:
        held = table.labels if len(table.target.columns) else np.array([])
        estimator = labelled(estimator, options.classes, np.unique(held).tolist())
    elif options.classes:
        raise TrainingError("--classes names the labels of a classifier with one target")
    # CatBoost's regressors have an empty array of them.
    classes = getattr(estimator, "classes_", None) if table.task == "classification" else None
    has_target = len(table.target.columns) > 0
    if isinstance(classes, np.ndarray) and has_target and not np.isin(table.labels, classes).any():
        raise TrainingError(f"no value of {target[0]!r} is a class of the estimator")
    without = "there is no reference" if table.is_example else "the reference has no target"
    unknown = Metrics(split=f"none: {without}", values={}, dummy={})
    description = described(options, estimator, table, unknown, evidence)
    settle(estimator, description.asked.scored_by)
    if table.is_example:
        description = with_targets(description, brought.sample, options.target)
    if (count := len(description.targets)) > len(table.target.columns) > 0:
        table = replace(table, target=table.target.iloc[:, :0])
        of_one = f"none: the estimator gives {count} numbers for the one target"
        unknown = unknown.model_copy(update={"split": of_one})
    told = answerable(table, description)
    lost = len(table.frame) - len(told.frame)
    if lost and not table.is_example:
        tell(f"{lost} rows are not scored: the estimator takes no missing values")
    asked = FittedEstimator(estimator, description).table(rows_of(told))
    metrics = unknown
    is_scored = len(table.target.columns) > 0 or table.task not in {"classification", "regression"}
    if is_scored and not table.is_example:
        split = f"{len(asked)} rows of the reference, which may be those it was fitted on"
        metrics = score(estimator, told, asked, split)
    description = description.model_copy(update={"metrics": metrics})
    evaluation = Evaluation(metrics, estimator, asked, truth_of(told))
    return publish(options, description, estimator, table, evaluation)


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
    if lost := [name for name in names if name not in table.types]:
        notes = "\n".join(table.notes)
        raise TrainingError(f"the estimator needs columns that can't be served: {lost}\n{notes}")
    ignored = tuple(name for name in map(str, raw.columns) if name not in names)
    is_named = None if own is None and counted(estimator) is None else own is not None
    said = None
    if options.category is not None:
        said = {name: categories_of(table.frame[name]) for name in options.category}
    evidence = Evidence(is_named, said, told, dtypes_of(reference, names))
    return replace(table, ignored=ignored), evidence
