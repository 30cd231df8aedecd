"""Trains models that are explained in different ways; run as a module with BENTOML_HOME set.

The folder that is named gets their tables.
"""

import csv
import math
import random
import sys
from pathlib import Path

import train
from tests.families import ask_less

ROWS = 160
Table = dict[str, list[object]]
# By their names: the table, its targets and other columns, and the estimator.
MODELS = {
    "forest": (
        "birds",
        ["--target", "species", "--drop", "sex"],
        ["sklearn.ensemble.RandomForestClassifier", "--param", "n_estimators=20"],
    ),
    "boosting": (
        "birds",
        ["--target", "sex", "--drop", "species"],
        ["sklearn.ensemble.HistGradientBoostingClassifier", "--param", "max_iter=20"],
    ),
    "sizes": ("sizes", ["--target", "mass", "height"], ["sklearn.linear_model.Ridge"]),
    "mass": ("sizes", ["--target", "mass", "--drop", "height"], ["sklearn.linear_model.Ridge"]),
    "clusters": (
        "sizes",
        ["--task", "clustering"],
        ["sklearn.cluster.KMeans", "--param", "n_clusters=3"],
    ),
}


def birds(rng: random.Random) -> Table:
    """Categories, numbers, whole ones and booleans, with gaps; three species and two sexes."""
    species = rng.choices("ABC", k=ROWS)
    bills = [round(rng.gauss(40 + 5 * "ABC".index(each), 3), 1) for each in species]
    years = [rng.randint(2000, 2020) for _ in range(ROWS)]
    of_both = zip(bills, years, strict=True)
    return {
        "island": [rng.choice(("north", "south", each)) for each in species],
        "bill": [None if rng.random() < 0.1 else bill for bill in bills],
        "year": [*years],
        "ringed": [rng.choice(("true", "false")) for _ in range(ROWS)],
        "species": [*species],
        "sex": ["f" if bill + year / 4 < 548 else "m" for bill, year in of_both],
    }


def sizes(rng: random.Random) -> Table:
    """Numbers, of which others are made."""
    rows = [[round(rng.gauss(0, 2), 3) for _ in "abc"] for _ in range(ROWS)]
    return {
        **{name: [row["abc".index(name)] for row in rows] for name in "abc"},
        "mass": [round(3 * a - b + rng.gauss(0, 0.1), 3) for a, b, _ in rows],
        "height": [round(a + 2 * math.sin(c), 3) for a, _, c in rows],
    }


def main() -> None:
    """Write the tables, and train."""
    ask_less(setattr)
    folder, rng = Path(sys.argv[1]), random.Random(7)
    for name, columns in {"birds": birds(rng), "sizes": sizes(rng)}.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([columns, *zip(*columns.values(), strict=True)])
    for name, (table, columns_of, estimator) in MODELS.items():
        data = ["--data", str(folder / f"{table}.csv"), "--name", name]
        train.main([*data, *columns_of, "--estimator", *estimator])


if __name__ == "__main__":
    main()
