"""A table becomes a model: read, learnt from, scored on rows held out, then fitted on all."""

import pandas as pd
from sklearn.base import clone
from sklearn.datasets import load_iris

from serving.model.description import Description
from serving.model.estimator import to_array
from training.console import progress, tell
from training.describing.describe import rows_of
from training.describing.evidence import FITTED_ON_ARRAYS
from training.errors import TrainingError
from training.fitting.choice import choose
from training.fitting.estimators import make_estimator
from training.fitting.evaluation import evaluate, truth_of
from training.fitting.pipeline import fit
from training.fitting.trial import suited
from training.options import Options, agreed_task
from training.publish import described, publish
from training.table.files import read_file
from training.table.table import NO_REMARKS, to_table

IRIS_ESTIMATOR = "LogisticRegression"


def iris() -> pd.DataFrame:
    """Load the iris data: 150 flowers, four measures in cm, three species."""
    data = load_iris(as_frame=True)
    return data.data.assign(species=data.target_names[data.target])


def learn(options: Options) -> Description:
    """Fit an estimator on a table, and save it.

    Raises:
        TrainingError: it can't be done.
    """
    raw, remarks = (
        (iris(), NO_REMARKS) if options.data is None else read_file(options.data, options.form)
    )
    targets = ["species"] if options.data is None else options.target
    name = options.estimator or (IRIS_ESTIMATOR if options.data is None else None)
    named = None if name is None else make_estimator(name, options.param, options.seed)
    task = agreed_task(options.task, named, f"{name} is", ": name another estimator")
    if task in {"classification", "regression"} and not targets:
        raise TrainingError("to learn, a target is needed: name its column with --target")
    table = to_table(raw, targets, task=task, drop=options.drop, keep=options.keep, remarks=remarks)
    for note in table.notes:
        tell(note)
    if named is not None:
        with progress("trying the estimator"):
            pipeline = suited(table, named, options.seed)
    else:
        with progress("choosing an estimator"):
            pipeline, _ = choose(
                table, options.seed, tell, with_boosters=options.candidates is not None
            )
    with progress("evaluating"):
        evaluation = evaluate(pipeline, table, options.test_size, options.seed)
    with progress("fitting on all rows"):
        strings = not {"category", "text"}.isdisjoint(table.types.values())
        array = to_array(rows_of(table), has_strings=strings)
        estimator = fit(clone(pipeline), array, truth_of(table))
    description = described(options, estimator, table, evaluation.metrics, FITTED_ON_ARRAYS)
    return publish(options, description, estimator, table, evaluation)
