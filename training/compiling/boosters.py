"""Which parts of an estimator are gradient boosting of other libraries, and who converts them.

None of the libraries is imported: a part tells by its classes' modules what it is.
"""

from collections.abc import Callable

from serving.model.estimator import Estimator
from training.compiling.graph import Graph
from training.compiling.lightgbm import lightgbm
from training.compiling.preparation import Preparation
from training.compiling.xgboost import xgboost

CONVERTERS = {"lightgbm": lightgbm, "xgboost": xgboost}


def booster_converter(
    part: Estimator, preparation: Preparation
) -> Callable[[Graph, Estimator], None] | None:
    """Give what converts a part, if it is such an estimator."""
    kinds = (*type(part).__mro__, type(getattr(part, "booster", None)))  # or it holds a booster
    modules = {kind.__module__.partition(".")[0] for kind in kinds}
    for module, convert in CONVERTERS.items():
        if module in modules:
            return lambda graph, estimator: convert(graph, estimator, preparation)
    return None
