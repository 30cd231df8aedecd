"""A pipeline that tells its last step which columns are categories.

They come first (`pipeline`), but how many columns follow is known only when all are prepared, and
some libraries are told by an argument of ``fit``. Only training needs it: what is kept is a plain
pipeline of the same steps.
"""

from collections.abc import Sequence
from typing import Any

from sklearn.pipeline import Pipeline

from serving.model.estimator import Estimator, TableLike
from serving.model.outputs import Array
from serving.model.wrapped import CodedLabels
from training.fitting.families import family_of


class TellingPipeline(Pipeline):
    """Prepares, then tells and fits the last step; the first ``categories`` columns are such."""

    def __init__(
        self,
        steps: Sequence[tuple[str, Estimator]],
        categories: int = 0,
        memory: Any = None,  # noqa: ANN401 (scikit-learn's own, as the rest)
        verbose: bool = False,
    ) -> None:
        """Take the steps of a pipeline."""
        super().__init__(steps, memory=memory, verbose=verbose)
        self.categories = categories

    def fit(self, rows: TableLike, labels: Array | None = None) -> "TellingPipeline":
        """Fit all steps."""
        prepared = self[:-1].fit_transform(rows, labels)
        last = self[-1]
        tells = family_of(last).tells
        if tells is None:
            last.fit(prepared, labels)
            return self
        told = tells(self.categories, prepared.shape[1])
        prefix = "estimator__" if isinstance(last, CodedLabels) else ""
        last.set_params(**{f"{prefix}{name}": value for name, value in told.params.items()})
        last.fit(prepared, labels, **told.arguments)
        return self

    def plain(self) -> Pipeline:
        """Give a pipeline of the same steps that needs nothing of training."""
        return Pipeline(self.steps)
