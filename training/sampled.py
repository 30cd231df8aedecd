"""The rows that show what an estimator takes, in the place of a table like the one of training."""

from collections.abc import Sequence
from dataclasses import replace

from serving.model.description import Categories, Description
from serving.model.estimator import Estimator
from training.advice import BRING_A_TABLE
from training.describing.around import rows_around
from training.describing.columns import Column, Columns, is_named, names_in, same_names
from training.describing.evidence import Evidence
from training.describing.told import agreed, told_by
from training.errors import TrainingError
from training.loading.signature import Sample
from training.options import Options, agreed_task
from training.table.columns import FeatureType
from training.table.table import Table, check_served, to_table

NOTE = (
    "no table was given: what training saw is not known, and the estimator was asked for rows made "
    "up around the input example"
)


def sampled_table(
    sample: Sample | str, options: Options, estimator: Estimator
) -> tuple[Table, Evidence]:
    """Give rows around those of an example, and what it and the estimator tell.

    Raises:
        TrainingError: there is no example, or not of what the estimator takes.
    """
    if isinstance(sample, str):
        raise TrainingError(f"{sample}: {BRING_A_TABLE}")
    if options.category or options.drop or options.keep:
        raise TrainingError(f"--category, --drop and --keep are of a table: {BRING_A_TABLE}")
    task = agreed_task(options.task, estimator, "the estimator is")
    if task is None:
        raise TrainingError("the estimator does not tell what it does: say it with --task")
    example, own = sample.frame, names_in(estimator)
    names = [str(name) for name in example.columns]
    if own is not None and len(own) == len(names) and names == [f"x{n}" for n in range(len(own))]:
        example, names = example.set_axis(own, axis="columns"), own
    wanted = names if own is None else same_names(own, names)
    if missing := [name for name in wanted if name not in names]:
        raise TrainingError(
            f"the input example lacks what the estimator needs, {', '.join(missing)}: "
            f"{BRING_A_TABLE}"
        )
    example = example[wanted]
    told = told_by(estimator, Columns.of(example, options.category))
    example = agreed(example, told)
    frame = rows_around(example, sample.gaps, told, options.seed)
    table = to_table(frame, task=task, keep=wanted)
    check_served(table, wanted)
    types = {name: _type_of(kind, told.get(name, Column())) for name, kind in table.types.items()}
    said: dict[str, Categories] | None = None if options.category is None else {}
    dtypes = {name: dtype for name, dtype in sample.dtypes.items() if name in wanted}
    evidence = Evidence(is_named(estimator), said, told, dtypes)
    ignored = tuple(name for name in names if name not in wanted)
    return replace(table, types=types, notes=(NOTE,), ignored=ignored, is_example=True), evidence


def _type_of(kind: FeatureType, told: Column) -> FeatureType:
    """Tell categories from texts: of a few rows only who knows the categories can."""
    if kind not in {"category", "text"}:
        return kind
    return "category" if told.values else "text"


def with_targets(
    description: Description, sample: Sample | str, said: Sequence[str]
) -> Description:
    """Name what is predicted, as a person says, or else the signature of a sample.

    Raises:
        TrainingError: a person names more or less than that.
    """
    count = len(description.targets)
    if said and len(said) != count:
        raise TrainingError(f"--target names {len(said)}, but the estimator predicts {count}")
    told = sample.targets if isinstance(sample, Sample) else ()
    names = tuple(said) or told
    if len(set(names)) != count:
        return description
    return description.model_copy(update={"targets": names})
