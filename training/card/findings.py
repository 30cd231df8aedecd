"""What is found out about a model for its card: how it answers, and what that depends on."""

import warnings
from dataclasses import dataclass

from serving.model.description import Description
from serving.model.estimator import Estimator, FittedEstimator, TableLike
from serving.model.outputs import Outputs, WrongOutputError
from training.card.contributions import Contributions
from training.card.importance import Importances, importances_of
from training.fitting.evaluation import Evaluation


@dataclass(frozen=True, slots=True)
class Findings:
    """The answers to the rows that were scored, and the importance of the features, if known.

    ``contributions`` are of the model that will be served, if it can be explained.
    """

    outputs: Outputs
    importances: Importances | None
    contributions: Contributions | None = None


def find(
    description: Description,
    evaluation: Evaluation,
    seed: int = 42,
    contributions: Contributions | None = None,
) -> Findings:
    """Ask the estimator that was scored; the same arguments find the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # estimators may warn whenever they are asked
        return Findings(
            ask(description, evaluation.estimator, evaluation.frame),
            importances_of(description, evaluation, evaluation.frame, seed),
            contributions,
        )


def ask(description: Description, estimator: Estimator, table: TableLike) -> Outputs:
    """Ask for predictions, and for what the served estimator tells beside them if this does too.

    It was fitted on fewer rows, so that it may know fewer classes.
    """
    try:
        return FittedEstimator(estimator, description).ask(table)
    except (AttributeError, NotImplementedError, ValueError, WrongOutputError):
        asked = description.asked.model_copy(update={"scored_by": None})
        return FittedEstimator(estimator, description.model_copy(update={"asked": asked})).ask(
            table
        )
