"""Train a model, or take one that was fitted elsewhere: describe it, and save it to the store.

With no arguments it fits a classifier on the iris data that scikit-learn ships and saves it as
``iris:<version>``. ``--data`` and ``--target`` do the same with a table of your own; ``--model``
and ``--reference`` take an estimator as it is. The estimator that training saves is fitted on all
rows; its scores are those of the same pipeline fitted without the held-out ones.

Here is the command line. What is done stands in ``training``: start at ``learn`` or ``adopt``.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from serving.console import take_any_text
from serving.host.process import forbid_usage_reports
from training.adopt import adopt
from training.errors import TrainingError
from training.learn import learn
from training.loading.bento import PREFIX
from training.loading.code import Code
from training.loading.folders import is_folder, name_of
from training.options import Options

SEVERAL: dict[str, Any] = {"nargs": "+", "action": "extend", "default": []}


def build_parser() -> argparse.ArgumentParser:
    """Declare the command line."""
    parser = argparse.ArgumentParser(
        description="Train a model, or take a fitted one, and save it to the model store"
    )
    take_a_table(parser)
    take_an_estimator(parser)
    add = parser.add_argument
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
    add(
        "--no-background",
        action="store_true",
        help="keep no rows of the table for explanations, which are then compared with rows made "
        "up of what is published of each column",
    )
    return parser


def take_a_table(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a table, and of what is to be learnt from it."""
    add = parser.add_argument
    add("--data", type=Path, metavar="FILE", help="table to learn from: CSV (.gz) or Parquet")
    add("--target", **SEVERAL, metavar="COLUMN", help="what to predict")
    add("--drop", **SEVERAL, metavar="COLUMN", help="columns to leave out")
    add("--keep", **SEVERAL, metavar="COLUMN", help="columns to use all the same")
    add("--encoding", default="utf-8", help="of a CSV file (%(default)s)")
    add("--missing", **SEVERAL, metavar="MARK", help="cells that mean no value, beside empty ones")
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


def take_an_estimator(parser: argparse.ArgumentParser) -> None:
    """Declare the options of an estimator: one to be fitted, or one that is."""
    add = parser.add_argument
    add(
        "--estimator",
        metavar="CLASS",
        help="of scikit-learn, or module.Class of any; chosen by its score, if not given",
    )
    add("--param", **SEVERAL, metavar="NAME=VALUE", help="of the estimator")
    add(
        "--candidates",
        choices=("boosters",),
        help="compare XGBoost, LightGBM and CatBoost, too, as far as they are installed",
    )
    add(
        "--model",
        metavar="FILE",
        help="fitted estimator: .skops, .joblib or .pkl; .json or .ubj of XGBoost, .txt of "
        "LightGBM, .cbm of CatBoost; .onnx; bento:TAG of the model store; or the folder of a "
        "model of MLflow",
    )
    add("--reference", type=Path, metavar="FILE", help="table like the one it was fitted on")
    add(
        "--category",
        nargs="*",
        action="extend",
        metavar="COLUMN",
        help="columns of pandas' dtype category in the frame that it was fitted on; none, if alone",
    )
    add(
        "--classes",
        **SEVERAL,
        metavar="LABEL",
        help="labels of a classifier that gives codes, in the order of these: 0, 1, 2 …",
    )
    add(
        "--code",
        **SEVERAL,
        type=Path,
        metavar="PATH",
        help="modules of your own, kept with the model: files of Python, folders of packages",
    )
    add("--trust", action="store_true", help="load the model's file though it may run any code")


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


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse what does not go together, and make up a name if none is given."""
    brings_its_own = args.model is not None and is_folder(args.model)
    if (args.model is None) != (args.reference is None) and not brings_its_own:
        parser.error("--model and --reference go together, but for a model of MLflow")
    if args.model and (args.data or args.estimator or args.param):
        parser.error("--model takes an estimator as it is: without --data, --estimator, --param")
    if args.model is None and (args.classes or args.category is not None):
        parser.error(f"--{'classes' if args.classes else 'category'} needs --model")
    if args.data is None and args.model is None and (args.target or args.task):
        parser.error("--target and --task need --data")
    if args.param and args.estimator is None:
        parser.error("--param needs --estimator")
    if args.candidates and (args.data is None or args.estimator):
        parser.error("--candidates needs --data, and no --estimator")
    if args.name is None:
        source = args.data or args.model
        stem = Path(source).name.partition(".")[0].lower() if source else "iris"
        if args.model and args.model.startswith(PREFIX):
            stem = args.model.removeprefix(PREFIX).partition(":")[0]
        if brings_its_own:
            stem = name_of(args.model).lower()
        args.name = re.sub(r"[^a-z0-9_.-]+", "-", stem)[:63].strip("-_.") or "model"


def main(argv: list[str] | None = None) -> None:
    """Learn or adopt, save, and tell about it."""
    take_any_text()  # for what estimators print, too
    parser = build_parser()
    args = parser.parse_args(argv)
    check(parser, args)
    forbid_usage_reports()
    try:
        with Code() as code:
            code.add(args.code)
            options = Options(**vars(args) | {"code": code})
            if options.fitted is None:
                learn(options)
            else:
                adopt(*options.fitted, options)
    except (TrainingError, OSError) as exc:  # as where the store can't be written
        sys.exit(f"train.py: {exc}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
