"""Fit an estimator as you would anywhere else, and save it with the table it was fitted on."""

import skops.io
from sklearn.datasets import load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis


def main() -> None:
    """Write wine.skops and wine.csv into the current folder."""
    data = load_wine(as_frame=True)
    cultivar = data.target_names[data.target]
    estimator = LinearDiscriminantAnalysis().fit(data.data, cultivar)
    skops.io.dump(estimator, "wine.skops")
    data.data.assign(cultivar=cultivar).to_csv("wine.csv", index=False)
    print("Wrote wine.skops and wine.csv")


if __name__ == "__main__":
    main()
