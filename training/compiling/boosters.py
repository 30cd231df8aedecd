"""Which parts of an estimator are gradient boosting of other libraries, and who converts them.

None of the libraries is imported: a part tells by its class's module what it is. A class that only
inherits from theirs, or holds a booster of its own, may answer in another way, and is none of them.
"""

from collections.abc import Callable

from serving.model.estimator import Estimator
from serving.model.lightgbm_file import BoosterClassifier, BoosterRegressor
from training.compiling.graph import Graph
from training.compiling.lightgbm import lightgbm
from training.compiling.preparation import Preparation
from training.compiling.xgboost import xgboost

CONVERTERS = {"lightgbm": lightgbm, "xgboost": xgboost}


def booster_converter(
    part: Estimator, preparation: Preparation
) -> Callable[[Graph, Estimator], None] | None:
    """Give what converts a part, if it is such an estimator."""
    convert = CONVERTERS.get(library_of(part))
    if convert is None:
        return None
    return lambda graph, estimator: convert(graph, estimator, preparation)


def library_of(part: Estimator) -> str:
    """Name the package of a part's class, or of the booster that it holds."""
    is_held = isinstance(part, BoosterClassifier | BoosterRegressor)
    kind = type(part.booster) if is_held else type(part)
    return kind.__module__.partition(".")[0]
