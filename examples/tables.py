"""Write the table of an example as CSV: penguins, diabetes, cancer or digits.

The penguins come from the palmerpenguins package (Horst, Hill and Gorman, 2020), the others from
scikit-learn.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from palmerpenguins import load_penguins
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits


def diabetes() -> pd.DataFrame:
    """Ten measures of 442 patients, and how their diabetes progressed within a year."""
    data = load_diabetes(as_frame=True, scaled=False)
    return data.data.assign(progression=data.target)


def cancer() -> pd.DataFrame:
    """Thirty measures of cell nuclei from 569 tumours, and the diagnosis."""
    data = load_breast_cancer(as_frame=True)
    return data.data.assign(diagnosis=data.target_names[data.target])


def digits() -> pd.DataFrame:
    """The 64 pixels of 1,797 images of handwritten digits, and the digit."""
    data = load_digits(as_frame=True)
    return data.data.astype(int).assign(digit=data.target)


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "penguins": load_penguins,  # measures, island and sex of 344 penguins, and the species
    "diabetes": diabetes,
    "cancer": cancer,
    "digits": digits,
}


def main() -> None:
    """Write one table into the current folder."""
    parser = argparse.ArgumentParser(description="Write the table of an example as CSV")
    parser.add_argument("name", choices=TABLES)
    name = parser.parse_args().name
    file = Path(f"{name}.csv")
    TABLES[name]().to_csv(file, index=False)
    print(f"Wrote {file}")


if __name__ == "__main__":
    main()
