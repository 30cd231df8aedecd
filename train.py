"""Train a model, or take one that was fitted elsewhere: describe it, and save it to the store.

With no arguments it fits a classifier on the iris data that scikit-learn ships and saves it as
``iris:<version>``. ``--data`` and ``--target`` do the same with a table of your own; ``--model``
and ``--reference`` take an estimator as it is. The estimator that training saves is fitted on all
rows; its scores are those of the same pipeline fitted without the held-out ones.
"""

import argparse
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.datasets import load_iris
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from serving.console import show, take_any_text
from serving.host.process import forbid_usage_reports
from serving.model.about import About
from serving.model.description import Compiled, Description, Metrics, Task
from serving.model.estimator import Estimator, FittedEstimator, to_array
from serving.model.store import save
from training.card.card import card
from training.compiling.proof import compile_estimator
from training.describing.columns import Columns, counted, names_in, same_names
from training.describing.describe import describe, rows_of
from training.describing.dtypes import categories_of, dtypes_of
from training.describing.evidence import FITTED_ON_ARRAYS, Evidence
from training.describing.packages import needed_by
from training.describing.told import agreed, told_by
from training.errors import TrainingError
from training.fitting.choice import choose
from training.fitting.estimators import make_estimator
from training.fitting.evaluation import Evaluation, evaluate, score, truth_of
from training.fitting.fitted import load_fitted, task_of
from training.fitting.pipeline import build_pipeline, fit, one_job
from training.table.delimited import Format
from training.table.files import read_file
from training.table.names import check_names, listed
from training.table.table import NO_REMARKS, Table, to_table

PROGRESS_S = 10.0
IRIS_ESTIMATOR = "LogisticRegression"


def tell(line: str) -> None:
    """Tell the person at the terminal what goes on."""
    show(line, sys.stderr)


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Tell every few seconds that something long is still going on."""
    over = threading.Event()
    started = time.monotonic()

    def watch() -> None:
        while not over.wait(PROGRESS_S):
            tell(f"{what}: {time.monotonic() - started:.0f} s")

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def iris() -> pd.DataFrame:
    """Load the iris data: 150 flowers, four measures in cm, three species."""
    data = load_iris(as_frame=True)
    return data.data.assign(species=data.target_names[data.target])


def form(args: argparse.Namespace) -> Format:
    """Give what a person says of how a file is written."""
    return Format(args.encoding, args.header, args.decimal, tuple(args.missing))


def agreed_task(said: Task | None, estimator: Estimator, who: str, advice: str = "") -> Task | None:
    """Give the task that a person says, or else the estimator.

    Raises:
        TrainingError: they say otherwise.
    """
    own = task_of(estimator)
    if said and own not in {None, said}:
        raise TrainingError(f"{who} for {own}, not for {said}{advice}")
    return said or own


def train(args: argparse.Namespace) -> Description:
    """Fit an estimator on a table, and save it.

    Raises:
        TrainingError: it can't be done.
    """
    raw, remarks = (iris(), NO_REMARKS) if args.data is None else read_file(args.data, form(args))
    targets = ["species"] if args.data is None else args.target
    name = args.estimator or (IRIS_ESTIMATOR if args.data is None else None)
    named = None if name is None else make_estimator(name, args.param, args.seed)
    task = agreed_task(args.task, named, f"{name} is", ": name another estimator")
    if task in {"classification", "regression"} and not targets:
        raise TrainingError("to learn, a target is needed: name its column with --target")
    table = to_table(raw, targets, task=task, drop=args.drop, keep=args.keep, remarks=remarks)
    for note in table.notes:
        tell(note)
    if named is not None:
        pipeline = build_pipeline(table.types, table.frame, named)
    else:
        with progress("choosing an estimator"):
            pipeline, _ = choose(table, args.seed, tell)
    with progress("evaluating"):
        evaluation = evaluate(pipeline, table, args.test_size, args.seed)
    with progress("fitting on all rows"):
        strings = not {"category", "text"}.isdisjoint(table.types.values())
        array = to_array(rows_of(table), has_strings=strings)
        estimator = fit(clone(pipeline), array, truth_of(table))
    description = described(args, estimator, table, evaluation.metrics, FITTED_ON_ARRAYS)
    return publish(args, description, estimator, table, evaluation)


def adopt(args: argparse.Namespace) -> Description:
    """Take an estimator that was fitted elsewhere, and save it.

    Raises:
        TrainingError: it can't be done.
    """
    estimator = load_fitted(args.model, trust=args.trust)
    table, evidence = reference(args, estimator)
    for note in table.notes:
        tell(note)
    classes = getattr(estimator, "classes_", None)
    if isinstance(classes, np.ndarray) and not np.isin(table.labels, classes).any() and args.target:
        raise TrainingError(f"no value of {args.target[0]!r} is a class of the estimator")
    unknown = Metrics(split="none: the reference has no target", values={}, dummy={})
    description = described(args, estimator, table, unknown, evidence)
    told = answerable(table, description)
    asked = FittedEstimator(estimator, description).table(rows_of(told))
    metrics = unknown
    if len(table.target.columns) or table.task not in {"classification", "regression"}:
        split = f"{len(asked)} rows of the reference, which may be those it was fitted on"
        metrics = score(estimator, told, asked, split)
    description = description.model_copy(update={"metrics": metrics})
    evaluation = Evaluation(metrics, estimator, asked, truth_of(told))
    return publish(args, description, estimator, table, evaluation)


def answerable(table: Table, description: Description) -> Table:
    """Leave out the rows that the estimator does not answer since a value is missing."""
    refused = [f.name for f in description.features if f.missing and not f.nullable]
    rows = table.frame[refused].notna().all(axis="columns")
    if not rows.all():
        tell(f"{(~rows).sum()} rows are not scored: the estimator takes no missing values")
    return replace(
        table,
        frame=table.frame[rows].reset_index(drop=True),
        target=table.target[rows].reset_index(drop=True),
    )


def reference(args: argparse.Namespace, estimator: Estimator) -> tuple[Table, Evidence]:
    """Read the table that stands for what an estimator was fitted on, its columns in its order.

    What the table and the estimator tell of how it was fitted comes with it.

    Raises:
        TrainingError: it lacks what the estimator needs.
    """
    raw, remarks = read_file(args.reference, form(args))
    check_names(list(raw.columns), args.target, args.drop, args.keep)
    task = agreed_task(args.task, estimator, "the estimator is")
    if task is None:
        raise TrainingError("the estimator does not tell what it does: say it with --task")
    targets = args.target if task in {"classification", "regression"} else []
    rest = [name for name in raw.columns if name not in {*args.target, *args.drop}]
    own = names_in(estimator)
    names = rest if own is None else same_names(own, rest)
    if missing := [name for name in names if name not in rest]:
        raise TrainingError(
            f"{args.reference} lacks what the estimator needs: {', '.join(missing)}"
        )
    if unknown := [name for name in args.category or () if name not in names]:
        raise TrainingError(f"no feature of the estimator is {listed(unknown)}, as --category says")
    told = told_by(estimator, Columns.of(raw[names], args.category))
    columns = agreed(raw[[*names, *targets]], told)
    table = to_table(columns, targets, task=task, keep=names, remarks=remarks)
    if lost := [name for name in names if name not in table.types]:
        notes = "\n".join(table.notes)
        raise TrainingError(f"the estimator needs columns that can't be served: {lost}\n{notes}")
    ignored = tuple(name for name in map(str, raw.columns) if name not in names)
    is_named = None if own is None and counted(estimator) is None else own is not None
    said = None
    if args.category is not None:
        said = {name: categories_of(table.frame[name]) for name in args.category}
    evidence = Evidence(is_named, said, told, dtypes_of(args.reference, names))
    return replace(table, ignored=ignored), evidence


def described(
    args: argparse.Namespace,
    estimator: Estimator,
    table: Table,
    metrics: Metrics,
    evidence: Evidence,
) -> Description:
    """Describe an estimator, as it will answer requests.

    Raises:
        TrainingError: it can't be described.
    """
    one_job(estimator)
    try:
        with progress("asking the estimator how it wants to be asked"):
            return describe(args.name, estimator, table, metrics, args.seed, evidence)
    except TrainingError as exc:
        count = counted(estimator)
        if count in {None, len(table.types)}:
            raise
        raise TrainingError(
            f"the estimator takes {count} features, but {args.reference} has {len(table.types)} "
            "beside the target: name the target with --target, and leave columns out with --drop"
        ) from exc


def publish(
    args: argparse.Namespace,
    description: Description,
    estimator: Estimator,
    table: Table,
    evaluation: Evaluation,
) -> Description:
    """Compile an estimator, write its card, save it with all that is known of it, and tell of it.

    Raises:
        TrainingError: it can't be loaded elsewhere.
    """
    needed = needed_by(estimator, description)
    for file in needed.files:
        tell(f"the model needs {file}: name it under include in bentofile.yaml")
    with progress("compiling"), threadpool_limits(limits=1):
        proof, graph = compile_estimator(
            estimator, description, rows_of(table), args.tolerance, args.seed
        )
    description = description.model_copy(
        update={"requirements": needed.packages, "compiled": proof}
    )
    example = FittedEstimator(estimator, description).warm_up()
    answer = About(description, version="").document(example)
    steps = steps_of(estimator)
    with progress("writing the model card"), threadpool_limits(limits=1):
        page = card(description, evaluation, steps, answer, table.notes, args.seed)
    tag = save(estimator, description, page, graph)
    show(summary(str(tag), description, steps))
    warn_of_scores(evaluation)
    return description


def warn_of_scores(evaluation: Evaluation) -> None:
    """Tell of scores that a person should not overlook."""
    values, dummy = evaluation.metrics.values, evaluation.metrics.dummy
    if evaluation.truth is not None and not values:
        tell("no score could be computed: the estimator has no answer to some of the rows")
    for name in ("accuracy", "r2", "subset_accuracy"):
        if name in values and name in dummy and values[name] <= dummy[name]:
            tell(f"the model is no better than a dummy: {name} {values[name]:.3f}")


def steps_of(estimator: Estimator) -> str:
    """Name the steps of a pipeline."""
    steps = getattr(estimator, "steps", [("", estimator)])
    return " → ".join(type(step).__name__ for _, step in steps)


def summary(tag: str, description: Description, steps: str) -> str:
    """Tell a person what was saved."""
    metrics, training = description.metrics, description.training
    shape = f"{training.rows} rows, {len(description.features)} features"
    lines = {
        "pipeline": steps,
        "task": description.task,
        "data": f"{shape}, {training.fingerprint[:19]}…",
        "predicts": ", ".join(description.targets),
    }
    if description.classes:
        lines["classes"] = ", ".join(map(str, description.classes))
    lines["scores"] = ", ".join(f"{name} {value:.3f}" for name, value in metrics.values.items())
    lines["a dummy's"] = ", ".join(f"{name} {value:.3f}" for name, value in metrics.dummy.items())
    lines["measured on"] = metrics.split
    lines["compiled"] = compiled_line(description.compiled)
    lines["needs"] = ", ".join(description.requirements)
    lines["scikit-learn"] = description.versions["scikit-learn"]
    name = "" if tag.startswith("iris:") else f"SERVING_MODEL={tag.partition(':')[0]} "
    told = (f"  {label:<13}{value}" for label, value in lines.items() if value)
    return "\n".join((f"Saved {tag}", *told, f"Serve it with: {name}bentoml serve"))


def compiled_line(proof: Compiled | str) -> str:
    """Tell a person whether a model was compiled, and how alike it is, or why it was not."""
    if isinstance(proof, str):
        return f"no: {proof}"
    alike = "bit for bit" if proof.exact else f"within {proof.largest_difference:.1g}"
    return f"to ONNX, alike {alike} for {proof.rows} rows"


def model_name(text: str) -> str:
    """Check a name for the model store, which gives the version itself."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9_.-]{0,61}[a-z0-9])?", text):
        raise argparse.ArgumentTypeError(
            "expected at most 63 lower-case letters, digits, '_', '.' and '-', the first and the "
            "last a letter or digit"
        )
    return text


def seed(text: str) -> int:
    """Check a seed as NumPy takes it."""
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError("expected a whole number from 0 to 4294967295")
    return value


def tolerance(text: str) -> float:
    """Check by how much numbers may differ."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError("expected a number from 0 to less than 1")
    return value


def share(text: str) -> float:
    """Check a share of the rows."""
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError("expected a number between 0 and 1")
    return value


def build_parser() -> argparse.ArgumentParser:
    """Declare the command line."""
    parser = argparse.ArgumentParser(
        description="Train a model, or take a fitted one, and save it to the model store"
    )
    add = parser.add_argument
    add("--data", type=Path, metavar="FILE", help="table to learn from: CSV (.gz) or Parquet")
    add(
        "--target", nargs="+", action="extend", default=[], metavar="COLUMN", help="what to predict"
    )
    add(
        "--drop",
        nargs="+",
        action="extend",
        default=[],
        metavar="COLUMN",
        help="columns to leave out",
    )
    add(
        "--keep",
        nargs="+",
        action="extend",
        default=[],
        metavar="COLUMN",
        help="columns to use all the same",
    )
    add("--encoding", default="utf-8", help="of a CSV file (%(default)s)")
    add(
        "--missing",
        nargs="+",
        action="extend",
        default=[],
        metavar="MARK",
        help="cells that mean no value, beside empty ones",
    )
    add(
        "--header",
        action=argparse.BooleanOptionalAction,
        help="whether the first line of a CSV file has names; without, it is checked",
    )
    add(
        "--decimal",
        choices=(".", ","),
        help="the decimal mark of a CSV file, where a column leaves it open",
    )
    add(
        "--task",
        choices=("classification", "regression", "clustering", "outlier-detection"),
        help="found out, if not given",
    )
    add("--estimator", metavar="CLASS", help="of scikit-learn; chosen by its score, if not given")
    add(
        "--param",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="of the estimator",
    )
    add("--model", type=Path, metavar="FILE", help="fitted estimator: .skops, .joblib or .pkl")
    add("--reference", type=Path, metavar="FILE", help="table like the one it was fitted on")
    add(
        "--category",
        nargs="*",
        action="extend",
        metavar="COLUMN",
        help="columns of pandas' dtype category in the frame that it was fitted on; none, if alone",
    )
    add("--trust", action="store_true", help="load the model's file though it may run any code")
    add("--name", type=model_name, help="in the model store (iris, or made of the file's name)")
    add("--seed", type=seed, default=42, help="of every random choice (%(default)s)")
    add("--test-size", type=share, default=0.25, help="share of rows held out (%(default)s)")
    add(
        "--tolerance",
        type=tolerance,
        default=1e-12,
        help="by how much numbers of the compiled model may differ, relative and absolute "
        "(%(default)s)",
    )
    return parser


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse what does not go together, and make up a name if none is given."""
    if (args.model is None) != (args.reference is None):
        parser.error("--model and --reference go together")
    if args.model and (args.data or args.estimator or args.param):
        parser.error("--model takes an estimator as it is: without --data, --estimator, --param")
    if args.category is not None and args.model is None:
        parser.error("--category needs --model")
    if args.data is None and args.model is None and (args.target or args.task):
        parser.error("--target and --task need --data")
    if args.param and args.estimator is None:
        parser.error("--param needs --estimator")
    if args.name is None:
        source = args.data or args.model
        stem = source.name.partition(".")[0].lower() if source else "iris"
        args.name = re.sub(r"[^a-z0-9_-]+", "-", stem)[:63].strip("-_") or "model"


def main(argv: list[str] | None = None) -> None:
    """Train or adopt, save, and tell about it."""
    take_any_text()  # for what estimators print, too
    parser = build_parser()
    args = parser.parse_args(argv)
    check(parser, args)
    forbid_usage_reports()
    try:
        if args.model is None:
            train(args)
        else:
            adopt(args)
    except (TrainingError, OSError) as exc:  # as where the store can't be written
        sys.exit(f"train.py: {exc}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
