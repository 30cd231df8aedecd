"""A fitted estimator becomes a model of the store: described, compiled, with a card.

What was saved is told to the person who asked for it.
"""

from collections.abc import Mapping
from contextlib import suppress

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from serving.console import show
from serving.model.about import About
from serving.model.code import module_of
from serving.model.description import Compiled, Description, Explained, ExplainingMethod, Metrics
from serving.model.estimator import Estimator, FittedEstimator
from serving.model.features import Row
from serving.model.state import StateError, read_state
from serving.model.store import save
from serving.model.wrapped import unwrapped
from serving.settings import load_settings
from training.card.card import card
from training.card.contributions import contributions_of
from training.card.findings import find
from training.compiling.proof import compile_estimator
from training.compiling.shortcut import with_shortcut
from training.console import progress, tell
from training.describing.columns import counted
from training.describing.describe import answerable, describe, rows_of
from training.describing.evidence import Evidence
from training.describing.packages import needed_by
from training.errors import TrainingError
from training.expected import expected, part_of
from training.explaining.case import served
from training.explaining.explain import explain
from training.fitting.evaluation import Evaluation
from training.fitting.pipeline import one_job
from training.options import Options
from training.table.table import Table

WAYS: Mapping[ExplainingMethod, str] = {
    "linear": "as a sum over its columns",
    "trees": "by its trees",
    "enumeration": "by asking for all coalitions of columns",
    "sampled": "by asking along permutations of columns",
}


def described(
    options: Options,
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
            return describe(options.name, estimator, table, metrics, options.seed, evidence)
    except TrainingError as exc:
        count = counted(estimator)
        if count in {None, len(table.types)} or table.is_example:
            raise
        raise TrainingError(
            f"the estimator takes {count} features, but {options.reference} has {len(table.types)} "
            "beside the target: name the target with --target, and leave columns out with --drop"
        ) from exc


def publish(
    options: Options,
    description: Description,
    estimator: Estimator,
    table: Table,
    evaluation: Evaluation,
) -> Description:
    """Compile an estimator, find out how it is explained, write its card, save all, and tell of it.

    Raises:
        TrainingError: it can't be loaded elsewhere.
    """
    description = description.model_copy(update={"code": options.code.files})
    needed = needed_by(estimator, description, rows_of(table), options.code.folder)
    for file in needed.files:
        tell(f"the model needs {file}: bring it along with --code")
    with progress("compiling"), threadpool_limits(limits=1):
        proof, graph = compile_estimator(
            estimator, description, rows_of(table), options.tolerance, options.seed
        )
        if graph is None:
            description = with_shortcut(estimator, description, rows_of(table), options.seed)
    description = description.model_copy(
        update={"requirements": needed.packages, "compiled": proof}
    )
    with progress("explaining"):
        explained, kept = explain(
            estimator,
            description,
            rows_of(table),
            keeps_background=not options.no_background,
            seed=options.seed,
            graph=graph,
        )
    description = description.model_copy(update={"explained": explained})
    fitted = FittedEstimator(estimator, description)
    example = fitted.warm_up()
    answer = About(description, version="").document(example)
    steps = steps_of(estimator)
    with progress("writing the model card"), threadpool_limits(limits=1):
        rows = scored_rows(estimator, description, table, evaluation)
        model = served(fitted, graph)
        contributions = contributions_of(model, description, kept, rows, options.seed)
        found = find(description, evaluation, options.seed, contributions)
        page = card(description, evaluation, found, steps, answer, table.notes)
        description = description.model_copy(
            update={"reference": expected(estimator, description, table, evaluation, found)}
        )
    tag = save(estimator, description, page, graph, options.code.folder, kept)
    show(summary(str(tag), description, steps))
    warn_of_scores(evaluation)
    return description


def scored_rows(
    estimator: Estimator, description: Description, table: Table, evaluation: Evaluation
) -> list[Row]:
    """Give the rows that were scored, of those that requests can have."""
    if evaluation.estimator is not estimator:  # but one that was fitted without them
        table = part_of(table, evaluation.frame.index)
    return rows_of(answerable(table, description))


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
    return " → ".join(type(unwrapped(step)).__name__ for _, step in steps)


def summary(tag: str, description: Description, steps: str) -> str:
    """Tell a person what was saved."""
    metrics, training = description.metrics, description.training
    rows = f"{training.rows} rows" if training else "rows that are not known"
    digest = f", {training.fingerprint[:19]}…" if training else ""
    lines = {
        "pipeline": steps,
        "task": description.task,
        "data": f"{rows}, {len(description.features)} features{digest}",
        "predicts": ", ".join(description.targets),
    }
    if description.classes:
        lines["classes"] = ", ".join(map(str, description.classes))
    lines["scores"] = ", ".join(f"{name} {value:.3f}" for name, value in metrics.values.items())
    lines["a dummy's"] = ", ".join(f"{name} {value:.3f}" for name, value in metrics.dummy.items())
    lines["measured on"] = metrics.split
    lines["compiled"] = compiled_line(description.compiled)
    lines["explained"] = explained_line(description.explained)
    lines["code"] = ", ".join(sorted(set(map(module_of, description.code))))
    lines["needs"] = ", ".join(description.requirements)
    lines["scikit-learn"] = description.versions["scikit-learn"]
    told = (f"  {label:<13}{value}" for label, value in lines.items() if value)
    return "\n".join((f"Saved {tag}", *told, f"Serve it with: {what_serves(tag)}"))


def what_serves(tag: str) -> str:
    """Give the command that has a new version answer: a name means what was promoted last."""
    name = tag.partition(":")[0]
    with suppress(SystemExit, StateError):  # what is wrong there, who serves it is told
        if read_state(load_settings().state_path).of(name).promoted:
            return f"python -m serving.versions promote {tag}"
    return "bentoml serve" if name == "iris" else f"SERVING_MODEL={name} bentoml serve"


def compiled_line(proof: Compiled | str) -> str:
    """Tell a person whether a model was compiled, and how alike it is, or why it was not."""
    if isinstance(proof, str):
        return f"no: {proof}"
    alike = "bit for bit" if proof.exact else f"within {proof.largest_difference:.1g}"
    return f"to ONNX, alike {alike} for {proof.rows} rows"


def explained_line(explained: Explained | str) -> str:
    """Tell a person how predictions are explained, or why they are not."""
    if isinstance(explained, str):
        return f"no: {explained}"
    whose = {"training": "of training", "published": "made of what is published"}
    return (
        f"{'exactly' if explained.exact else 'nearly'}, {WAYS[explained.method]}, "
        f"against {explained.background_rows} rows {whose[explained.background]}"
        + (f" ({explained.why_sampled})" if explained.why_sampled else "")
    )
