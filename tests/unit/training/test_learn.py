"""A table becomes a model: what is learnt, what is told, and what is refused."""

import re
from pathlib import Path

import bentoml
import numpy as np
import pytest
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from serving.model.wrapped import CodedLabels
from tests.unit.training.pets import (
    HEADER,
    ROWS,
    TABLE,
    frame,
    refusal,
    run,
    text_of,
    with_column,
    with_values,
)
from training.learn import iris
from training.table.table import to_table

pytestmark = pytest.mark.usefixtures("folder")

PETS = "--data pets.csv --target kind --estimator GaussianNB"


def test_without_arguments_the_iris_are_learnt_from_all_rows(
    quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    description = run("")

    assert description.name == "iris"
    assert description.task == "classification"
    assert description.targets == ("species",)
    assert description.classes == ("setosa", "versicolor", "virginica")
    assert description.training is not None
    assert description.training.rows == 150
    assert description.metrics.values["accuracy"] > 0.9
    assert description.metrics.split == "held out: 38 of 150 rows, stratified, seed 42"
    assert description.created.tzinfo is not None
    assert description.versions["scikit-learn"] == sklearn.__version__
    assert capsys.readouterr().err == "1 row is the same as an earlier one\n"
    estimator = bentoml.sklearn.load_model("iris:latest")
    table = to_table(iris(), ["species"])
    values, labels = np.ascontiguousarray(table.frame), table.labels
    expected = make_pipeline(StandardScaler(), LogisticRegression(random_state=42))
    expected.fit(values, labels)
    assert [type(step) for _, step in estimator.steps] == [StandardScaler, LogisticRegression]
    assert (estimator.predict_proba(values) == expected.predict_proba(values)).all()


def test_an_estimator_of_another_library_is_learnt_with_labels_that_it_does_not_take(
    quick: None,
) -> None:
    Path("pets.csv").write_text(text_of(TABLE))
    description = run(
        "--data pets.csv --target kind --estimator xgboost.XGBClassifier --param n_estimators=3"
    )
    assert description.classes == ("cat", "dog")
    assert description.asked.scored_by == "predict_proba"
    estimator = bentoml.sklearn.load_model("pets:latest")
    assert type(estimator) is Pipeline
    assert type(estimator[-1]) is CodedLabels
    rows = np.array([line[:-1] for line in TABLE], dtype=object)
    assert set(estimator.predict(rows)) == {"cat", "dog"}


@pytest.mark.slow
def test_all_is_learnt_alike_each_time_but_the_seed_decides_which_rows_are_held_out(
    quick: None,
) -> None:
    one, same, other = run("--seed 1"), run("--seed 1"), run("--seed 2")

    assert one.training == same.training == other.training
    assert one.metrics == same.metrics != other.metrics
    assert one.features == same.features


def test_the_estimator_the_share_and_the_name_can_be_chosen(quick: None) -> None:
    description = run(
        "--name flowers --test-size 0.5 --estimator DecisionTreeClassifier --param max_depth=2"
    )

    assert description.name == "flowers"
    assert description.metrics.split.startswith("held out: 75 of 150 rows")
    (tree,) = (step for _, step in bentoml.sklearn.load_model("flowers:latest").steps)
    assert tree.get_params()["max_depth"] == 2


@pytest.mark.slow
def test_a_table_is_learnt_by_what_does_best(
    quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("pets.csv").write_text(text_of(TABLE))

    description = run("--data pets.csv --target kind")

    told = capsys.readouterr().err
    for number, name in enumerate(
        ("LogisticRegression", "ExtraTreesClassifier", "HistGradientBoostingClassifier"), 1
    ):
        assert re.search(rf"^{number}/3 {name}: f1_macro \d\.\d{{3}} \(", told, re.M)
    assert {feature.name: feature.type for feature in description.features} == {
        "size": "number",
        "count": "integer",
        "flag": "boolean",
        "color": "category",
    }


def test_columns_are_left_out_or_kept_as_a_person_says(
    quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("pets.csv").write_text(with_column("id", range(ROWS)))

    kept = run(f"{PETS} --drop size count --drop flag --keep id")

    assert [feature.name for feature in kept.features] == ["id", "color"]
    assert kept.ignored == ("size", "count", "flag", "kind")
    assert "id" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "task", "classes"),
    [
        ("--task regression --estimator Ridge", "regression", None),
        ("--estimator Ridge", "regression", None),
        ("--estimator DecisionTreeClassifier", "classification", tuple(range(8))),
    ],
)
def test_the_task_is_said_or_an_estimator_that_is_named_tells_it(
    quick: None,
    options: str,
    task: str,
    classes: tuple[int, ...] | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("pets.csv").write_text(text_of(TABLE))

    description = run(f"--data pets.csv --target count {options}")

    assert (description.task, description.classes) == (task, classes)
    assert "--task" not in capsys.readouterr().err


def test_parameters_may_be_given_together_or_one_by_one(quick: None) -> None:
    Path("pets.csv").write_text(text_of(TABLE))

    run(
        "--data pets.csv --target kind --estimator SVC --param C=0.5 kernel=poly --param degree=2 "
        "--seed 7"
    )

    made = bentoml.sklearn.load_model("pets:latest")[-1].get_params()
    assert (made["C"], made["kernel"], made["degree"]) == (0.5, "poly", 2)
    assert made["random_state"] == 7


def test_several_classes_are_learnt_together(
    quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("pets.csv").write_text(text_of(TABLE))

    labels = run("--data pets.csv --target kind color --estimator DecisionTreeClassifier")

    assert labels.targets == ("kind", "color")
    assert labels.classes == (("cat", "dog"), ("blue", "red"))
    assert "predicts     kind, color\n" in (told := capsys.readouterr().out)
    assert "subset_accuracy" in told


def test_several_numbers_are_learnt_together(quick: None) -> None:
    Path("pets.csv").write_text(text_of(TABLE))

    numbers = run("--data pets.csv --target size --target count --estimator Ridge")

    assert numbers.targets == ("size", "count")
    assert numbers.task == "regression"


@pytest.mark.parametrize(
    ("options", "task"),
    [
        ("--estimator KMeans", "clustering"),
        ("--estimator KMeans --task clustering", "clustering"),
        ("--estimator IsolationForest --param n_estimators=5", "outlier-detection"),
    ],
)
def test_without_a_target_groups_or_outliers_are_found(
    quick: None, capsys: pytest.CaptureFixture[str], options: str, task: str
) -> None:
    Path("pets.csv").write_text(text_of(TABLE))

    description = run(f"--data pets.csv --drop kind {options}")

    assert description.task == task
    assert description.targets == ()
    assert description.classes is None
    assert "predicts" not in capsys.readouterr().out


HOW = "--no-header --decimal , --missing NA ? --missing - -999 --encoding utf-16"


def test_a_person_says_how_a_table_is_written(
    quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"{color}\t{count}\t1{count}.250\t{kind}\n" for _, count, _, color, kind in TABLE]
    text = "".join(lines).replace("red", "NA").replace("blue", "bläu").replace("\t3\t", "\t?\t")
    Path("pets.csv").write_text(text, "utf-16")

    description = run(
        f"--data pets.csv {HOW} --target column_4 --estimator GaussianNB --keep column_1"
    )

    color, count, price = description.features
    assert (color.missing, count.missing, price.missing) == (20, 5, 0)
    assert (count.type, price.type) == ("integer", "integer")
    assert color.model_dump()["trained"]["categories"] == {"bläu": 20}
    assert price.model_dump()["trained"]["maximum"] == 17250
    told = capsys.readouterr().err
    for note in (
        "column 'column_1': 'NA' in 20 rows taken for missing",
        "column 'column_2': '?' in 5 rows taken for missing",
        "column 'column_3': ',' is read as the decimal mark and '.' as the mark of thousands",
        "no cell is '-999', which --missing names",
    ):
        assert note in told


def test_options_of_csv_files_are_refused_for_parquet(capsys: pytest.CaptureFixture[str]) -> None:
    frame().to_parquet("pets.parquet")

    for option in ("--no-header", "--header", "--decimal ."):
        assert "are for CSV files" in refusal(f"--data pets.parquet --target kind {option}", capsys)


def test_what_can_be_left_out_is_told_and_the_rest_is_learnt(
    quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    days = [f"2024-01-{1 + number % 28:02}" for number in range(ROWS)]
    Path("pets.csv").write_text(with_column("born", days))

    description = run(PETS)

    assert [feature.name for feature in description.features] == HEADER[:-1]
    assert "column 'born' is left out: it holds dates or times" in capsys.readouterr().err


BROKEN: dict[str, tuple[str | bytes | None, str, list[str]]] = {
    "no file": (None, "--target kind", ["there is no file pets.csv"]),
    "not even text": (b"PK\x03\x04\xff\xfe\x00\x00" * 99, "--target kind", ["is not utf-8"]),
    "zeros": (b"\0" * 999, "--target kind", []),
    "a page of the web": (
        "<!doctype html>\n<html><body>Sign in</body></html>\n" * 20,
        "--target kind",
        ["the first line of pets.csv looks like values", "see '<!doctype html>'"],
    ),
    "JSON": (
        '[{"size": 1, "kind": "cat"},\n {"size": 2, "kind": "dog"}]\n',
        "--target kind",
        [],
    ),
    "no such column": (
        text_of(TABLE),
        "--target Kinds --drop colour",
        [
            "there is no column 'Kinds' for --target: did you mean 'kind'?",
            "there is no column 'colour' for --drop: did you mean 'color'?",
        ],
    ),
    "no target": (text_of(TABLE), "", ["name what is to be learnt with --target"]),
    "an estimator that needs a target": (
        text_of(TABLE),
        "--estimator SVC",
        ["to learn, a target is needed: name its column with --target"],
    ),
    "an estimator that takes no target": (
        text_of(TABLE),
        "--target kind --estimator KMeans",
        ["clustering learns no target: leave out --target"],
    ),
    "an estimator for another task": (
        text_of(TABLE),
        "--target kind --task classification --estimator IsolationForest",
        ["IsolationForest is for outlier-detection, not for classification"],
    ),
    "groups by no estimator": (
        text_of(TABLE),
        "--task clustering",
        ["no score tells which estimator is best for clustering"],
    ),
    "numbers with units": (
        with_column(
            "price", [*(f"{number * 7 % 11}.5" for number in range(ROWS - 3)), *["5€"] * 3]
        ),
        "--target kind",
        ["column 'price' mixes numbers with other text", "such as '5€' in row 38"],
    ),
    "a number beyond the doubles": (
        with_values("size", ["1e400", *(line[0] for line in TABLE[1:])]),
        "--target kind",
        ["column 'size' holds an infinite number in row 1"],
    ),
    "several things": (
        with_values("size", ["inf", *(line[0] for line in TABLE[1:])]).replace("dog", "cat"),
        "--target kind",
        ["column 'size' holds an infinite number", "target 'kind' has the same value"],
    ),
    "an unknown estimator": (
        text_of(TABLE),
        "--target kind --estimator LogisticRegresion",
        ["LogisticRegresion: did you mean LogisticRegression"],
    ),
    "a parameter of another name": (
        text_of(TABLE),
        "--target kind --estimator SVC --param c=1",
        ["SVC has no parameter c: did you mean C?", "it has C, kernel"],
    ),
    "a parameter that this table does not suit": (
        text_of(TABLE),
        "--target kind --estimator SVC --param kernel=precomputed",
        ["SVC can't be fitted on this table: Precomputed matrix must be a square matrix"],
    ),
    "rows that an estimator has no answer to": (
        text_of(TABLE),
        "--target kind --estimator RadiusNeighborsClassifier --param radius=0.1",
        ["RadiusNeighborsClassifier can't predict for all rows: No neighbors found"],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_can_not_be_learnt_is_told_in_words(
    quick: None, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content, options, words = BROKEN[name]
    if content is not None:
        Path("pets.csv").write_bytes(content if isinstance(content, bytes) else content.encode())

    message = refusal(f"--data pets.csv {options}", capsys)

    for expected in words:
        assert expected in message
