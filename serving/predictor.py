"""The story of a batch: ask the model, and when it fails, find out for which rows.

Runs in the batcher's thread. A row for which the estimator raises gets its exception as its
outcome; its neighbours get their predictions. A request with such a row is answered with 500.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from serving.description import Label
from serving.model import Model
from serving.schemas import Prediction, Row

Outcome = Prediction | Exception


class Predictor:
    """Asks a model so that no row can harm another."""

    def __init__(self, model: Model, observe: Callable[[Mapping[Label, int]], None]) -> None:
        """Take the model, and whom to tell how often each label was predicted."""
        self._model = model
        self._observe = observe

    def predict(self, rows: list[Row]) -> list[Outcome]:
        """Give a prediction, or the exception that stands in its way, for each row, in order."""
        outcomes = self._isolate(rows)
        self._observe(
            Counter(outcome.label for outcome in outcomes if isinstance(outcome, Prediction))
        )
        return outcomes

    def _isolate(self, rows: list[Row]) -> list[Outcome]:
        """Halve a failing batch until the failing rows stand alone: few of them cost few calls."""
        try:
            return list(self._model.predict(rows))
        except Exception as exc:
            if len(rows) == 1:
                return [exc]
        middle = len(rows) // 2
        return self._isolate(rows[:middle]) + self._isolate(rows[middle:])


def unwrap(outcomes: Sequence[Outcome]) -> list[Prediction]:
    """Give the predictions of a request's rows.

    Raises:
        Exception: the first that the estimator raised for one of them.
    """
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
    return list(outcomes)  # type: ignore[arg-type]
