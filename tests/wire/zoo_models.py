"""Saves models of the zoo; run as a module with BENTOML_HOME set and their names as arguments.

Prints as JSON what each says in process of some rows.
"""

import json
import sys
import warnings

from serving.model.description import Metrics
from serving.model.store import save
from tests.wire.models import seen_by
from tests.zoo import in_process, specimens
from training.describing.describe import describe, rows_of

UNMEASURED = Metrics(split="none", values={}, dummy={})
ROWS = 30


def main() -> None:
    """Fit, describe, save, and ask."""
    warnings.simplefilter("ignore")
    told = {}
    for number, specimen in enumerate(specimens()):
        if specimen.name in sys.argv[1:]:
            estimator, table = specimen.fit()
            tag = f"zoo-{number}"
            description = describe(tag, estimator, table, UNMEASURED, seed=0)
            reference = seen_by(estimator, description, table)
            save(estimator, description.model_copy(update={"reference": reference}), card="")
            rows = rows_of(table)[:ROWS]
            answers = [in_process(estimator, table, row) for row in rows]
            told[specimen.name] = {"model": tag, "rows": rows, "answers": answers}
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
