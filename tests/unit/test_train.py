"""The command line: tables and fitted estimators, whole and broken, and what a person is told."""

import gzip
import io
import os
import pickle
import re
import runpy
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import bentoml
import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import skops.io
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

import train
from serving.model.description import Description, Metrics
from serving.model.estimator import FittedEstimator
from serving.model.stored import verify
from tests.server import ROOT
from tests.wire.estimators import Fragile
from training import console, publish
from training.describing import batches, probe
from training.describing.describe import rows_of
from training.describing.packages import Needed
from training.fitting.evaluation import Evaluation
from training.learn import iris
from training.table.table import to_table

ROWS = 40


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep files of tests apart, and name them as a person in their folder does."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask a model of few rows, look not for what it needs in another process, draw no card."""
    monkeypatch.setattr(probe, "MAX_PROBED_ROWS", 10)
    monkeypatch.setattr(batches, "BATCH_SIZES", ())
    monkeypatch.setattr(publish, "needed_by", lambda *_: Needed((), ()))
    monkeypatch.setattr(publish, "card", lambda *_: "a card")


def run(command: str) -> Description:
    """Run a command, and give the description of what was saved."""
    before = tags()
    train.main(command.split())
    (saved,) = tags() - before
    return verify(bentoml.models.get(saved)).description


def tags() -> set[str]:
    """List what is in the store; BentoML takes its time for that."""
    files = Path(os.environ["BENTOML_HOME"], "models").glob("*/*/model.yaml")
    return {f"{file.parts[-3]}:{file.parts[-2]}" for file in files}


def refusal(command: str, capsys: pytest.CaptureFixture[str], exit_code: int = 1) -> str:
    """Run a command that has to fail, and give what it says; nothing is saved."""
    before = tags()
    with pytest.raises(SystemExit) as caught:
        train.main(command.split())
    assert tags() == before
    printed = capsys.readouterr()
    assert printed.out == ""
    if exit_code == 2:
        assert caught.value.code == 2
        return printed.err
    # Python prints a string that ends it, and exits with code 1.
    assert isinstance(caught.value.code, str)
    assert caught.value.code.startswith("train.py: ")
    return caught.value.code


# The table that others are made of

Row = Sequence[object]


def row(number: int) -> list[object]:
    """Give a row: a size, a count, a flag, a color and a kind."""
    size = (7 * number) % 41 + 0.5
    kind = "cat" if size + number % 5 > 22 else "dog"
    return [size, number * 3 % 8, number % 3 == 0, ("red", "blue")[number % 2], kind]


HEADER = ["size", "count", "flag", "color", "kind"]
TABLE = [row(number) for number in range(ROWS)]


def text_of(rows: Iterable[Row], header: Sequence[str] = HEADER) -> str:
    """Write rows as CSV."""
    return "".join(",".join(map(str, line)) + "\n" for line in (header, *rows))


def with_column(name: str, values: Iterable[object]) -> str:
    """Write the table as CSV, with a column more before the others."""
    rows = [[value, *line] for value, line in zip(values, TABLE, strict=True)]
    return text_of(rows, [name, *HEADER])


def with_values(name: str, values: Iterable[object]) -> str:
    """Write the table as CSV, with other values in a column."""
    at = HEADER.index(name)
    rows = [[*line[:at], value, *line[at + 1 :]] for value, line in zip(values, TABLE, strict=True)]
    return text_of(rows)


def frame() -> pd.DataFrame:
    """Give the table as estimators elsewhere are fitted on it."""
    return pd.DataFrame(TABLE, columns=HEADER).astype({"color": object, "kind": object})


# The default


def test_without_arguments_the_iris_are_learnt_alike_each_time(quick: None) -> None:
    one, other = run(""), run("")

    assert one.name == "iris"
    assert one.task == "classification"
    assert one.targets == ("species",)
    assert one.classes == ("setosa", "versicolor", "virginica")
    assert one.training == other.training
    assert one.training.rows == 150
    assert one.metrics == other.metrics
    assert one.metrics.values["accuracy"] > 0.9
    assert one.features == other.features
    assert one.created.tzinfo is not None
    assert one.versions["scikit-learn"] == sklearn.__version__


def test_what_was_saved_is_what_bentoml_loads_fitted_on_all_rows(quick: None) -> None:
    run("")

    estimator = bentoml.sklearn.load_model("iris:latest")
    table = to_table(iris(), ["species"])
    values, labels = np.ascontiguousarray(table.frame), table.labels
    expected = make_pipeline(StandardScaler(), LogisticRegression(random_state=42))
    expected.fit(values, labels)
    assert [type(step) for _, step in estimator.steps] == [StandardScaler, LogisticRegression]
    assert (estimator.predict_proba(values) == expected.predict_proba(values)).all()


def test_the_seed_decides_which_rows_are_held_out(quick: None) -> None:
    one, other = run("--seed 1"), run("--seed 2")

    assert one.training == other.training
    assert one.metrics != other.metrics
    assert one.metrics.split == "held out: 38 of 150 rows, stratified, seed 1"


def test_the_share_and_the_name_can_be_chosen(quick: None) -> None:
    description = run("--name flowers --test-size 0.5")

    assert description.name == "flowers"
    assert description.metrics.split.startswith("held out: 75 of 150 rows")


def test_another_estimator_can_be_named_for_the_iris(quick: None) -> None:
    run("--estimator DecisionTreeClassifier --param max_depth=2")

    (tree,) = (step for _, step in bentoml.sklearn.load_model("iris:latest").steps)
    assert tree.get_params()["max_depth"] == 2


def test_a_person_is_told_what_was_trained_and_how_to_serve_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    description = run("")

    told = capsys.readouterr().out
    for expected in (
        f"Saved {bentoml.models.get('iris:latest').tag}\n",
        "pipeline     StandardScaler → LogisticRegression\n",
        "task         classification\n",
        f"150 rows, 4 features, {description.training.fingerprint[:19]}…\n",
        "predicts     species\n",
        "classes      setosa, versicolor, virginica\n",
        "scores       accuracy 0.",
        "a dummy's    accuracy 0.3",
        f"measured on  {description.metrics.split}\n",
        f"scikit-learn {sklearn.__version__}\n",
        "Serve it with: bentoml serve\n",
    ):
        assert expected in told
    assert "needs" not in told
    assert "nan" not in told
    assert description.requirements == ()
    stored = verify(bentoml.models.get("iris:latest"))
    assert stored.card.startswith("<!doctype html>")
    assert "setosa" in stored.card


def test_a_terminal_that_can_not_show_all_is_no_fault(quick: None, tmp_path: Path) -> None:
    file = tmp_path / "blüte.csv"
    header = ["größe", "数", "flag", "色", "🌸 →"]
    file.write_text(text_of(TABLE, header).replace("cat", "猫"), "utf-8")
    command = ["--data", str(file), "--target", "🌸 →", "--estimator", "DecisionTreeClassifier"]
    stream = io.TextIOWrapper(screen := io.BytesIO(), encoding="cp1252", errors="strict")
    with redirect_stdout(stream):
        train.main([*command, "--name", "blossom"])
    told = screen.getvalue().decode("cp1252")
    assert told.startswith(f"Saved {bentoml.models.get('blossom:latest').tag}")
    assert "\\U0001f338 \\u2192" in told
    assert "dog, \\u732b" in told


def test_it_is_a_command_that_needs_no_arguments(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("training.describing.packages.needed_by", lambda *_: Needed((), ()))
    monkeypatch.setattr(sys, "argv", ["train.py"])

    runpy.run_path(train.__file__, run_name="__main__")

    assert capsys.readouterr().out.startswith("Saved iris:")


# Tables


def test_a_table_is_learnt_by_what_does_best_and_named_after_its_file(
    quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("My Pets (2024).csv").write_text(text_of(TABLE))
    train.main(["--data", "My Pets (2024).csv", "--target", "kind"])

    printed = capsys.readouterr()
    assert "Saved my-pets-2024:" in printed.out
    assert "Serve it with: SERVING_MODEL=my-pets-2024 bentoml serve" in printed.out
    for number, name in enumerate(
        ("LogisticRegression", "ExtraTreesClassifier", "HistGradientBoostingClassifier"), 1
    ):
        assert re.search(rf"^{number}/3 {name}: f1_macro \d\.\d{{3}} \(", printed.err, re.M)
    description = verify(bentoml.models.get("my-pets-2024:latest")).description
    assert {feature.name: feature.type for feature in description.features} == {
        "size": "number",
        "count": "integer",
        "flag": "boolean",
        "color": "category",
    }


@pytest.mark.parametrize(
    ("file", "name"),
    [("a.csv.gz", "a"), ("A_b-C.parquet", "a_b-c"), ("_x_.tsv", "x"), ("日本.csv", "model")],
)
def test_any_files_name_makes_a_name_for_the_store(quick: None, file: str, name: str) -> None:
    if file.endswith(".parquet"):
        frame().to_parquet(file)
    elif file.endswith(".gz"):
        Path(file).write_bytes(gzip.compress(text_of(TABLE).encode()))
    else:
        Path(file).write_text(text_of(TABLE))

    assert run(f"--data {file} --target kind --estimator GaussianNB").name == name


def test_columns_are_left_out_or_kept_as_a_person_says(
    quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("pets.csv").write_text(with_column("id", range(ROWS)))

    command = "--data pets.csv --target kind --estimator GaussianNB --drop size count"
    without = run(command)
    assert "column 'id' is left out: it looks like an identifier" in capsys.readouterr().err
    kept = run(f"{command} --drop flag --keep id")

    assert [feature.name for feature in without.features] == ["flag", "color"]
    assert [feature.name for feature in kept.features] == ["id", "color"]
    assert without.ignored == ("id", "size", "count", "kind")
    assert kept.ignored == ("size", "count", "flag", "kind")
    assert without.training.fingerprint != kept.training.fingerprint
    assert "id" not in capsys.readouterr().err


def test_the_task_is_found_out_or_said(quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    Path("pets.csv").write_text(
        with_column("large", [int(float(str(line[0])) > 20) for line in TABLE])
    )
    command = "--data pets.csv --target large --drop kind"

    found = run(command)
    assert "say --task regression if they are numbers" in capsys.readouterr().err
    numbers = run(f"{command} --task regression --estimator Ridge")
    assert "--task" not in capsys.readouterr().err

    assert found.task == "classification"
    assert found.classes == (0, 1)
    assert numbers.task == "regression"
    assert numbers.classes is None


def test_an_estimator_that_is_named_tells_the_task(quick: None) -> None:
    Path("pets.csv").write_text(text_of(TABLE))

    assert run("--data pets.csv --target count --estimator Ridge").task == "regression"
    tree = run("--data pets.csv --target count --estimator DecisionTreeClassifier")
    assert tree.classes == tuple(range(8))


def test_parameters_may_be_given_together_or_one_by_one(quick: None) -> None:
    Path("pets.csv").write_text(text_of(TABLE))

    run(
        "--data pets.csv --target kind --estimator SVC --param C=0.5 kernel=poly --param degree=2 "
        "--seed 7"
    )

    made = bentoml.sklearn.load_model("pets:latest")[-1].get_params()
    assert (made["C"], made["kernel"], made["degree"]) == (0.5, "poly", 2)
    assert made["random_state"] == 7


def test_several_targets_are_learnt_together(
    quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("pets.csv").write_text(text_of(TABLE))

    forest = "--estimator RandomForestClassifier --param n_estimators=5"
    labels = run(f"--data pets.csv --target kind color {forest}")
    numbers = run("--data pets.csv --target size --target count --estimator Ridge")

    assert labels.targets == ("kind", "color")
    assert labels.classes == (("cat", "dog"), ("blue", "red"))
    assert "predicts     kind, color\n" in (told := capsys.readouterr().out)
    assert "subset_accuracy" in told
    assert numbers.targets == ("size", "count")
    assert numbers.task == "regression"


@pytest.mark.parametrize(
    ("estimator", "task"),
    [("KMeans", "clustering"), ("IsolationForest", "outlier-detection")],
)
def test_without_a_target_groups_or_outliers_are_found(
    quick: None, capsys: pytest.CaptureFixture[str], estimator: str, task: str
) -> None:
    Path("pets.csv").write_text(text_of(TABLE))

    description = run(f"--data pets.csv --drop kind --estimator {estimator}")

    assert description.task == task
    assert description.targets == ()
    assert description.classes is None
    assert "predicts" not in capsys.readouterr().out
    assert run(f"--data pets.csv --task {task} --estimator {estimator}").task == task


@pytest.mark.parametrize(
    ("encoding", "separator"), [("cp1252", ";"), ("utf-16", "\t"), ("utf-8-sig", "|")]
)
def test_tables_of_other_encodings_and_delimiters_are_read(
    quick: None, encoding: str, separator: str
) -> None:
    text = text_of(TABLE).replace("blue", "bläu").replace(",", separator)
    Path("pets.csv").write_bytes(text.encode(encoding))

    command = "--data pets.csv --target kind --estimator GaussianNB"
    description = run(command if encoding == "utf-8-sig" else f"{command} --encoding {encoding}")

    (color,) = (feature for feature in description.features if feature.name == "color")
    assert color.type == "category"
    assert set(color.trained.categories) == {"red", "bläu"}


HOW = "--no-header --decimal , --missing NA ? --missing - -999"


def test_a_person_says_how_a_table_is_written(
    quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"{color};{count};1{count}.250;{kind}\n" for _, count, _, color, kind in TABLE]
    Path("pets.csv").write_text("".join(lines).replace("red", "NA").replace(";3;", ";?;"))

    description = run(
        f"--data pets.csv {HOW} --target column_4 --estimator GaussianNB --keep column_1"
    )

    color, count, price = description.features
    assert (color.missing, count.missing, price.missing) == (20, 5, 0)
    assert (count.type, price.type) == ("integer", "integer")
    assert price.model_dump()["trained"]["maximum"] == 17250
    told = capsys.readouterr().err
    for note in (
        "column 'column_1': 'NA' in 20 rows taken for missing",
        "column 'column_2': '?' in 5 rows taken for missing",
        "column 'column_3': ',' is read as the decimal mark and '.' as the mark of thousands",
        "no cell is '-999', which --missing names",
    ):
        assert note in told


def test_a_reference_is_read_as_the_table_of_a_training(
    quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("pets.csv").write_text("x;y;z\n" + "".join(f"{n}.500,5;{n % 7};?\n" for n in range(1, 41)))
    numbers = pd.DataFrame({"x": [n * 1000 + 500.5 for n in range(1, 41)]})
    joblib.dump(LinearRegression().fit(numbers, [n % 7 for n in range(1, 41)]), "mine.joblib")

    command = "--model mine.joblib --reference pets.csv --trust --target y --missing ?"
    (feature,) = run(command).features

    assert feature.model_dump()["trained"]["maximum"] == 40500.5
    told = capsys.readouterr().err
    assert "column 'x': ',' is read as the decimal mark" in told
    assert "'z'" not in told


def test_options_of_csv_files_are_refused_for_parquet(capsys: pytest.CaptureFixture[str]) -> None:
    frame().to_parquet("pets.parquet")

    for option in ("--no-header", "--header", "--decimal ."):
        assert "are for CSV files" in refusal(f"--data pets.parquet --target kind {option}", capsys)


class _Clock:
    """Time that goes on when someone waits, and stops the wait after some rounds."""

    def __init__(self, rounds: int) -> None:
        self.now_s, self.left = 0.0, rounds
        self.over = threading.Event()

    def wait(self, timeout_s: float) -> bool:
        """Wait without waiting."""
        self.left -= 1
        if self.left < 0:
            self.over.set()
            return True
        self.now_s += timeout_s
        return False

    def set(self) -> None:
        """End, but not before all has been told."""
        assert self.over.wait(10)

    def monotonic(self) -> float:
        """Tell the time."""
        return self.now_s


def test_what_takes_long_is_told_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = _Clock(rounds=3)
    monkeypatch.setattr(threading, "Event", lambda: clock)
    monkeypatch.setattr(console, "time", clock)
    monkeypatch.setattr(threading, "Thread", _AtOnce)

    with console.progress("fitting"):
        assert capsys.readouterr().err == "fitting: 10 s\nfitting: 20 s\nfitting: 30 s\n"


class _AtOnce:
    """A thread that is over when it has started."""

    def __init__(self, target: Callable[[], None], daemon: bool) -> None:
        assert daemon
        self.start = target


def test_what_is_soon_over_is_not_told(quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    run("")

    assert capsys.readouterr().err == "1 row is the same as an earlier one\n"


# Options that are wrong, or do not go together


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--test-size", "0"),
        ("--test-size", "1"),
        ("--test-size", "-0.5"),
        ("--test-size", "nan"),
        ("--test-size", "many"),
        ("--seed", "1.5"),
        ("--seed", "-1"),
        ("--seed", str(2**32)),
        ("--name", "NoName"),
        ("--name", "iris:v1"),
        ("--name", ""),
        ("--name", "-x"),
        ("--task", "guessing"),
        ("--decimal", ";"),
    ],
)
def test_an_option_of_a_wrong_value_is_named(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"argument {option}: " in refusal(f"{option}={value}", capsys, exit_code=2)


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("--target kind", "--target and --task need --data"),
        ("--task regression", "--target and --task need --data"),
        ("--param C=1", "--param needs --estimator"),
        ("--data pets.csv --target kind --param C=1", "--param needs --estimator"),
        ("--model m.skops", "--model and --reference go together"),
        ("--reference pets.csv", "--model and --reference go together"),
        ("--model m.skops --reference pets.csv --data pets.csv", "--model takes an estimator"),
        ("--model m.skops --reference pets.csv --estimator SVC", "--model takes an estimator"),
        ("--data", "argument --data: expected one argument"),
        ("--data pets.csv --target", "argument --target: expected at least one argument"),
        ("pets.csv", "unrecognized arguments: pets.csv"),
        ("--nonsense", "unrecognized arguments: --nonsense"),
    ],
)
def test_options_that_do_not_go_together_are_told(
    command: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert complaint in refusal(command, capsys, exit_code=2)


# Tables that are broken, each in its own way

SVC = "--target kind --estimator SVC"
LINES = text_of(TABLE).splitlines(keepends=True)
BROKEN: dict[str, tuple[str | bytes | None, str, list[str]]] = {
    "no file": (None, "--target kind", ["there is no file pets.csv"]),
    "nothing in it": ("", "--target kind", ["pets.csv is empty"]),
    "blanks in it": (" \n\n", "--target kind", ["pets.csv is empty"]),
    "a header alone": (LINES[0], "--target kind", ["has no rows below its header"]),
    "another encoding": (
        text_of(TABLE).replace("blue", "bläu").encode("cp1252"),
        "--target kind",
        ["is not utf-8, see byte", "in line 3", "--encoding cp1252"],
    ),
    "an unknown encoding": (
        text_of(TABLE),
        "--target kind --encoding utf-9",
        ["there is no encoding utf-9"],
    ),
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
    "a line of more columns": (
        "".join([*LINES[:5], "1,2,True,red,cat,9,9\n", *LINES[5:]]),
        "--target kind",
        ["has 7 columns in line 6, but 5 before", "without quotes"],
    ),
    "a header of fewer columns": (
        "".join(["size,count,flag,color\n", *LINES[1:]]),
        "--target color",
        ["more columns than its header"],
    ),
    "a quote without end": (
        "".join([*LINES[:5], '1,2,True,"red, or so,cat\n', *LINES[5:]]),
        "--target kind",
        ["has 6 columns in line 6, but 5 before: its quote is not closed"],
    ),
    "columns of one name": (
        "".join(["size,size,flag,color,kind\n", *LINES[1:]]),
        "--target kind",
        ["columns of the same name, rename them: 'size'"],
    ),
    "no header": (
        "".join(LINES[1:]),
        "--target kind",
        [
            "the first line of pets.csv looks like values",
            "see '0.5'",
            "say --no-header",
            "--header",
        ],
    ),
    "no such target": (
        text_of(TABLE),
        "--target Kinds",
        ["there is no column 'Kinds' for --target: did you mean 'kind'?", "the columns are 'size'"],
    ),
    "no such columns at all": (
        text_of(TABLE),
        "--target kind --drop colour --keep sice",
        [
            "there is no column 'colour' for --drop: did you mean 'color'?",
            "there is no column 'sice' for --keep: did you mean 'size'?",
        ],
    ),
    "a target to be left out": (
        text_of(TABLE),
        "--target kind --drop kind",
        ["column 'kind' is named by --target and by --drop"],
    ),
    "a target twice": (text_of(TABLE), "--target kind kind", ["target 'kind' is named twice"]),
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
    "a regressor for classes": (
        text_of(TABLE),
        "--target kind --estimator Ridge",
        ["target 'kind' holds no numbers, as regression needs: say --task classification"],
    ),
    "groups by no estimator": (
        text_of(TABLE),
        "--task clustering",
        ["no score tells which estimator is best for clustering"],
    ),
    "a target that is always the same": (
        with_values("kind", ["cat"] * ROWS),
        "--target kind",
        ["target 'kind' has the same value in every row: there is nothing to learn"],
    ),
    "a target without values": (
        with_values("kind", [""] * ROWS),
        "--target kind",
        ["target 'kind' has no values"],
    ),
    "a class of one": (
        with_values("kind", ["emu", *(line[-1] for line in TABLE[1:])]),
        "--target kind",
        ["target 'kind' has one row only of 'emu'", "one to learn from and one to be tested on"],
    ),
    "numbers of one row": (
        with_values("kind", ["7", *("1" if line[-1] == "cat" else "2" for line in TABLE[1:])]),
        "--target kind --task classification",
        ["target 'kind' has one row only of 7"],
    ),
    "the answer among the questions": (
        with_column("copy", [{"cat": 1, "dog": 2}[str(line[-1])] for line in TABLE]),
        "--target kind",
        ["column 'copy' leaks the target 'kind'", "--drop copy", "--keep copy"],
    ),
    "the answer in another unit": (
        with_column("inches", [float(str(line[0])) / 2.54 for line in TABLE]),
        "--target size",
        ["column 'inches' leaks the target 'size'"],
    ),
    "numbers and words": (
        with_values("size", ["about 5", *(line[0] for line in TABLE[1:])]),
        "--target kind",
        ["column 'size' mixes numbers with other text", "'about 5' in row 1", "--drop size"],
    ),
    "numbers with units": (
        with_column(
            "price", [*(f"{number * 7 % 11}.5" for number in range(ROWS - 3)), *["5€"] * 3]
        ),
        "--target kind",
        ["column 'price' mixes numbers with other text", "such as '5€' in row 38"],
    ),
    "an infinite number": (
        with_values("size", ["inf", *(line[0] for line in TABLE[1:])]),
        "--target kind",
        ["column 'size' holds an infinite number in row 1"],
    ),
    "an infinite target": (
        with_values("size", ["-inf", *(line[0] for line in TABLE[1:])]),
        "--target size",
        ["target 'size' holds an infinite number in row 1: clean it"],
    ),
    "a number beyond the doubles": (
        with_values("size", ["1e400", *(line[0] for line in TABLE[1:])]),
        "--target kind",
        ["column 'size' holds an infinite number in row 1"],
    ),
    "whole numbers that JSON loses": (
        with_values("count", [2**60 + 1, *(line[1] for line in TABLE[1:])]),
        "--target kind",
        ["column 'count' holds a whole number beyond 2^53 in row 1"],
    ),
    "few rows": (text_of(TABLE[:9]), "--target kind", ["9 rows are too few: 10 are the least"]),
    "one row": (text_of(TABLE[:1]), "--target kind", ["1 row is too few"]),
    "few rows with a target": (
        with_values("kind", [*[""] * (ROWS - 6), *["cat", "dog"] * 3]),
        "--target kind",
        ["6 rows are too few"],
    ),
    "too few rows to hold any out": (
        text_of(TABLE),
        "--target kind --estimator SVC --test-size 0.999",
        ["40 rows are too few to hold out"],
    ),
    "words for a number": (
        text_of(TABLE),
        "--target kind --task regression",
        ["target 'kind' holds no numbers, as regression needs"],
    ),
    "sentences for a class": (
        with_values("kind", [f"it is number {number}" for number in range(ROWS)]),
        "--target kind",
        ["target 'kind' holds 40 different texts in 40 rows, which are no classes"],
    ),
    "measures for classes": (
        text_of(TABLE),
        "--target size --task classification",
        ["different numbers such as 0.5, which are no classes", "--task regression"],
    ),
    "dates for a target": (
        with_values("kind", [f"2024-01-{1 + number % 28:02}" for number in range(ROWS)]),
        "--target kind",
        ["target 'kind' holds neither numbers, nor booleans, nor classes"],
    ),
    "numbers that may be thousandths": (
        with_values("size", [f"{number % 9 + 1}.250" for number in range(ROWS)]).replace(",", ";"),
        "--target kind",
        ["column 'size' holds numbers that can be read in two ways, such as '1.250' in row 1"],
    ),
    "a header in the middle": (
        "a,kind\n" + "x,cat\ny,dog\n" * 20 + "a,kind\n",
        "--target kind",
        ["pets.csv has its header once more, in row 41"],
    ),
    "measures and classes together": (text_of(TABLE), "--target size kind", []),
    "nothing to learn from": (
        text_of(
            [[number, "same", line[-1]] for number, line in enumerate(TABLE)], ["id", "a", "k"]
        ),
        "--target k",
        ["no column is left to learn from", "column 'id' is left out", "column 'a' is left out"],
    ),
    "all columns left out": (
        text_of(TABLE),
        "--target kind --drop size count flag color",
        ["no column is left to learn from"],
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
    "an estimator of another library": (
        text_of(TABLE),
        "--target kind --estimator XGBClassifier",
        ["scikit-learn has no classifier, regressor, clusterer or outlier detector XGBClassifier"],
    ),
    "a transformer": (
        text_of(TABLE),
        "--target kind --estimator StandardScaler",
        ["scikit-learn has no classifier, regressor, clusterer or outlier detector StandardScaler"],
    ),
    "an estimator that groups no new rows": (
        text_of(TABLE),
        "--estimator DBSCAN",
        ["DBSCAN can't predict for new rows"],
    ),
    "an estimator made of others": (
        text_of(TABLE),
        "--target kind --estimator VotingClassifier",
        ["VotingClassifier is made of other estimators (estimators), which can't be given here"],
    ),
    "no such parameter": (
        text_of(TABLE),
        f"{SVC} --param c=1",
        ["SVC has no parameter c: did you mean C?", "it has C, kernel"],
    ),
    "a parameter without a value": (
        text_of(TABLE),
        f"{SVC} --param C",
        ["a parameter is given as name=value, not as C"],
    ),
    "a parameter out of range": (
        text_of(TABLE),
        f"{SVC} --param C=-1",
        ["The 'C' parameter of SVC must be a float in the range (0.0, inf]"],
    ),
    "a parameter of another type": (
        text_of(TABLE),
        f"{SVC} --param kernel=3",
        ["The 'kernel' parameter of SVC must be"],
    ),
    "a parameter that this table does not suit": (
        text_of(TABLE),
        f"{SVC} --param kernel=precomputed",
        ["SVC can't be fitted on this table: Precomputed matrix must be a square matrix"],
    ),
    "a parameter by which fitting goes wrong in its own way": (
        text_of(TABLE),
        "--target kind --estimator KNeighborsClassifier --param metric_params={'a':1}",
        ["KNeighborsClassifier can't be fitted on this table: ", "unexpected keyword argument 'a'"],
    ),
    "an estimator of one target for two": (
        text_of(TABLE),
        "--target kind color --estimator SVC",
        ["SVC can't be fitted on this table: y should be a 1d array"],
    ),
    "an estimator of one feature for many": (
        text_of(TABLE),
        "--target size --estimator IsotonicRegression",
        ["IsotonicRegression can't be fitted on this table"],
    ),
    "rows that an estimator has no answer to": (
        text_of(TABLE),
        "--target kind --estimator RadiusNeighborsClassifier --param radius=0.1",
        ["RadiusNeighborsClassifier can't predict for all rows: No neighbors found"],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_table_is_told_in_words(
    quick: None, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content, options, words = BROKEN[name]
    if content is not None:
        Path("pets.csv").write_bytes(content if isinstance(content, bytes) else content.encode())

    message = refusal(f"--data pets.csv {options}", capsys)

    for expected in words:
        assert expected in message


def test_a_folder_and_an_unknown_kind_of_file_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    Path("pets").mkdir()
    Path("pets.xlsx").write_bytes(b"PK")

    assert "pets is a folder" in refusal("--data pets --target kind", capsys)
    assert "is of no known kind" in refusal("--data pets.xlsx --target kind", capsys)


def test_a_failure_is_a_line_for_a_person_and_an_exit_code_for_a_script(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "train.py", "--data", "none.csv", "--target", "kind"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "train.py: there is no file none.csv\n"


# What is only told

TOLD = {
    "an identifier": (with_column("pet_id", range(100, 100 + ROWS)), "column 'pet_id' is left out"),
    "a constant": (with_column("planet", ["Earth"] * ROWS), "column 'planet' is left out"),
    "a column without values": (
        with_column("note", [""] * ROWS),
        "column 'note' is left out: it has no values",
    ),
    "dates": (
        with_column("born", [f"2024-01-{1 + number % 28:02}" for number in range(ROWS)]),
        "column 'born' is left out: it holds dates or times",
    ),
    "dates that are not ISO": (
        with_column("born", [f"{1 + number % 28:02}/01/2026" for number in range(ROWS)]),
        "column 'born' is left out: it holds dates or times",
    ),
    "times of day": (
        with_column("at", [f"{1 + number % 12}:50 PM" for number in range(ROWS)]),
        "column 'at' is left out: it holds dates or times",
    ),
    "rows without a target": (
        with_values("kind", ["", "", *(line[-1] for line in TABLE[2:])]),
        "2 rows are left out: the target is missing",
    ),
    "rows that occur twice": (text_of([*TABLE, *TABLE[:3]]), "3 rows are the same as an earlier"),
}


@pytest.mark.parametrize("name", TOLD)
def test_what_can_be_left_out_is_told_and_the_rest_is_learnt(
    quick: None, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content, note = TOLD[name]
    Path("pets.csv").write_text(content)

    description = run("--data pets.csv --target kind --estimator GaussianNB")

    assert [feature.name for feature in description.features] == HEADER[:-1]
    assert note in capsys.readouterr().err


# Estimators that were fitted elsewhere


@pytest.fixture
def reference() -> pd.DataFrame:
    """Write a table that stands for what an estimator was fitted on."""
    frame().to_csv("reference.csv", index=False)
    return frame()


NUMBERS = ["size", "count"]
ADOPT = "--reference reference.csv --model mine"


def fitted(reference: pd.DataFrame) -> Any:  # noqa: ANN401 (scikit-learn has no type for it)
    """Fit a classifier on columns with names."""
    return LogisticRegression().fit(reference[NUMBERS], reference["kind"])


def test_a_skops_file_of_known_types_needs_no_trust(quick: None, reference: pd.DataFrame) -> None:
    skops.io.dump(fitted(reference), "mine.skops")

    description = run(f"{ADOPT}.skops --target kind")

    assert description.name == "mine"
    assert [feature.name for feature in description.features] == NUMBERS
    assert description.ignored == ("flag", "color", "kind")
    assert description.classes == ("cat", "dog")
    accuracy = fitted(reference).score(reference[NUMBERS], reference["kind"])
    assert description.metrics.values["accuracy"] == accuracy
    assert description.metrics.dummy["accuracy"] < accuracy
    assert description.metrics.split == (
        "40 rows of the reference, which may be those it was fitted on"
    )


def _doubled(values: Any) -> Any:  # noqa: ANN401
    return values * 2


def test_a_skops_file_of_unknown_types_needs_trust(
    quick: None, reference: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    estimator = make_pipeline(FunctionTransformer(_doubled), LogisticRegression())
    skops.io.dump(estimator.fit(reference[NUMBERS], reference["kind"]), "mine.skops")

    message = refusal(f"{ADOPT}.skops --target kind", capsys)
    assert "has types that skops does not know to be harmless: tests.unit.test_train" in message
    assert "--trust" in message
    assert run(f"{ADOPT}.skops --target kind --trust").classes == ("cat", "dog")


def test_a_pickle_needs_trust(
    quick: None, reference: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    joblib.dump(fitted(reference), "mine.joblib")
    Path("mine.pkl").write_bytes(pickle.dumps(fitted(reference)))

    for ending in ("joblib", "pkl"):
        capsys.readouterr()
        message = refusal(f"{ADOPT}.{ending} --target kind", capsys)
        assert "loading a pickle runs whatever code is in it: add --trust" in message
        assert run(f"{ADOPT}.{ending} --target kind --trust").classes == ("cat", "dog")


def test_the_adopted_estimator_answers_as_before(quick: None, reference: pd.DataFrame) -> None:
    estimator = fitted(reference)
    joblib.dump(estimator, "mine.pkl")

    description = run(f"{ADOPT}.pkl --target kind --trust")

    model = FittedEstimator(bentoml.sklearn.load_model("mine:latest"), description)
    predictions = model.predict(rows_of(to_table(reference[[*NUMBERS, "kind"]], ["kind"])))
    assert [found and found.value for found in predictions] == list(
        estimator.predict(reference[NUMBERS])
    )


def test_without_a_target_nothing_is_scored(
    quick: None, reference: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    skops.io.dump(fitted(reference), "mine.skops")

    description = run(f"{ADOPT}.skops")

    assert description.metrics.split == "none: the reference has no target"
    assert description.metrics.values == {}
    assert description.targets == ("y",)
    assert description.classes == ("cat", "dog")
    assert "scores" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("estimator", "task"),
    [
        (KMeans(2, n_init=1), "clustering"),
        (IsolationForest(n_estimators=5), "outlier-detection"),
    ],
)
def test_what_learns_no_target_is_adopted_by_its_features(
    quick: None,
    reference: pd.DataFrame,
    estimator: Any,  # noqa: ANN401
    task: str,
) -> None:
    joblib.dump(estimator.fit(reference[NUMBERS]), "mine.pkl")

    description = run(f"{ADOPT}.pkl --trust")

    assert description.task == task
    assert description.metrics.values
    assert description.metrics.split.startswith("40 rows of the reference")
    assert description.ignored == ("flag", "color", "kind")


def test_several_targets_are_named_by_the_reference_or_numbered(
    quick: None, reference: pd.DataFrame
) -> None:
    estimator = LinearRegression().fit(reference[["flag"]], reference[NUMBERS])
    joblib.dump(estimator, "mine.pkl")

    assert run(f"{ADOPT}.pkl --trust --target size count").targets == ("size", "count")
    assert run(f"{ADOPT}.pkl --trust").targets == ("y0", "y1")


def test_columns_in_another_order_are_put_in_the_estimators(
    quick: None, reference: pd.DataFrame
) -> None:
    skops.io.dump(fitted(reference), "mine.skops")
    expected = run(f"{ADOPT}.skops --target kind")
    reference[reversed(HEADER)].to_csv("reference.csv", index=False)

    description = run(f"{ADOPT}.skops --target kind")

    assert description.features == expected.features
    assert description.metrics == expected.metrics
    assert description.training == expected.training


def test_a_reference_that_lacks_columns_is_refused(
    reference: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    skops.io.dump(fitted(reference), "mine.skops")
    reference[["color", "size", "kind"]].to_csv("reference.csv", index=False)

    message = refusal(f"{ADOPT}.skops --target kind", capsys)

    assert "reference.csv lacks what the estimator needs: count" in message


def test_a_reference_of_columns_that_can_not_be_served_is_refused(
    reference: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    skops.io.dump(fitted(reference), "mine.skops")
    reference.assign(count=np.nan).to_csv("reference.csv", index=False)

    message = refusal(f"{ADOPT}.skops --target kind", capsys)

    assert "the estimator needs columns that can't be served: ['count']" in message
    assert "column 'count' is left out: it has no values" in message


def test_without_names_the_number_of_features_has_to_be_right(
    quick: None, reference: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    unnamed = LogisticRegression().fit(reference[NUMBERS].to_numpy(), reference["kind"])
    skops.io.dump(unnamed, "mine.skops")

    message = refusal(f"{ADOPT}.skops --target kind", capsys)

    assert "the estimator takes 2 features, but reference.csv has 4 beside the target" in message
    description = run(f"{ADOPT}.skops --target kind --drop flag color")
    assert [feature.name for feature in description.features] == NUMBERS


@pytest.mark.parametrize("option", ["--target", "--drop"])
def test_a_column_that_the_reference_does_not_have_is_told(
    reference: pd.DataFrame, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    skops.io.dump(fitted(reference), "mine.skops")

    message = refusal(f"{ADOPT}.skops {option} kinds", capsys)

    assert f"there is no column 'kinds' for {option}: did you mean 'kind'?" in message


def test_a_target_of_other_classes_than_the_estimators_is_told(
    reference: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    skops.io.dump(fitted(reference), "mine.skops")

    message = refusal(f"{ADOPT}.skops --target color", capsys)

    assert "no value of 'color' is a class of the estimator" in message


@pytest.mark.parametrize("saved", ["old.pkl", "old.skops"])
def test_an_estimator_of_another_minor_version_is_refused(
    reference: pd.DataFrame, saved: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save_as_fitted_with("1.2.3", fitted(reference), Path(saved))

    message = refusal(f"--model {saved} --reference reference.csv --trust", capsys)

    assert f"{saved} was fitted with scikit-learn 1.2.3, but {sklearn.__version__} is" in message
    assert "fit it again" in message


def save_as_fitted_with(version: str, estimator: Any, file: Path) -> None:  # noqa: ANN401
    """Save an estimator as another version of scikit-learn has it."""
    dump = skops.io.dump if file.suffix == ".skops" else joblib.dump
    with pytest.MonkeyPatch.context() as patch:
        state = estimator.__getstate__() | {"_sklearn_version": version}
        patch.setattr(type(estimator), "__getstate__", lambda _: state)
        dump(estimator, file)


def test_another_patch_of_the_same_version_is_taken(quick: None, reference: pd.DataFrame) -> None:
    major, minor, *_ = sklearn.__version__.split(".")
    save_as_fitted_with(f"{major}.{minor}.99", fitted(reference), Path("mine.pkl"))

    assert run(f"{ADOPT}.pkl --trust").classes == ("cat", "dog")


UNUSABLE: dict[str, tuple[Any, str]] = {
    "a dict": ({"a": 1}, "holds a dict without predict"),
    "a transformer": (
        OneHotEncoder().fit([["a"], ["b"]]),
        "holds a OneHotEncoder without predict",
    ),
    "an estimator that is not fitted": (
        LogisticRegression(),
        "the LogisticRegression in mine.pkl is not fitted",
    ),
    "a pipeline that is not fitted": (
        make_pipeline(StandardScaler(), LogisticRegression()),
        "the Pipeline in mine.pkl is not fitted",
    ),
    "a class": (LogisticRegression, "without predict"),
    "a forest of several targets": (
        RandomForestClassifier(2).fit([[1, 2], [3, 4]], [["a", "b"], ["b", "a"]]),
        "predict gave an array of shape",
    ),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_can_not_be_served_is_told(
    reference: pd.DataFrame, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    held, words = UNUSABLE[name]
    joblib.dump(held, "mine.pkl")

    assert words in refusal(f"{ADOPT}.pkl --trust --target kind --drop flag color", capsys)


@pytest.mark.parametrize("ending", [".pkl", ".joblib", ".skops"])
@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04", b"\x80\x05."])
def test_a_damaged_file_is_told(
    reference: pd.DataFrame, ending: str, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(f"mine{ending}").write_bytes(content)

    assert f"mine{ending} can't be loaded: " in refusal(f"{ADOPT}{ending} --trust", capsys)


def test_a_truncated_file_is_told(
    reference: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    for ending, dump in ((".pkl", joblib.dump), (".skops", skops.io.dump)):
        dump(fitted(reference), f"mine{ending}")
        whole = Path(f"mine{ending}").read_bytes()
        Path(f"mine{ending}").write_bytes(whole[: len(whole) // 2])

        assert "can't be loaded: " in refusal(f"{ADOPT}{ending} --trust", capsys)


def test_a_model_that_is_no_file_is_told(
    reference: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "there is no file mine.pkl" in refusal(f"{ADOPT}.pkl", capsys)
    joblib.dump(fitted(reference), "mine.model")
    assert "has none of the endings" in refusal(f"{ADOPT}.model --trust", capsys)


def test_a_broken_reference_is_told(
    reference: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    skops.io.dump(fitted(reference), "mine.skops")
    command = "--model mine.skops --reference"
    Path("few.csv").write_text(text_of(TABLE[:3]))
    Path("mixed.csv").write_text(
        with_values("count", ["about 5", *(line[1] for line in TABLE[1:])])
    )

    assert "there is no file none.csv" in refusal(f"{command} none.csv", capsys)
    assert "3 rows are too few" in refusal(f"{command} few.csv", capsys)
    assert "the estimator does not answer the rows of the table" in refusal(
        f"{command} mixed.csv --target kind", capsys
    )


# Estimators of other libraries


def foreign(monkeypatch: pytest.MonkeyPatch, file: str, source: str) -> Any:  # noqa: ANN401
    """Make an estimator whose module is known in this process, and save it."""
    module = type(sys)("elsewhere")
    monkeypatch.setitem(sys.modules, "elsewhere", module)
    exec(source, module.__dict__)  # noqa: S102 (this file's own code)
    joblib.dump(module.Estimator(), file)


BY_POSITION = """
class Estimator:
    def predict(self, rows):
        return ["cat" if row[0] > 20 else "dog" for row in rows]
"""
LIKE_SCIKIT_LEARN = """
class Estimator:
    classes_ = ["cat", "dog"]
    def fit(self, rows, labels):
        return self
    def predict(self, rows):
        return ["cat" if row[0] > 20 else "dog" for row in rows]
"""


@pytest.mark.parametrize("source", [BY_POSITION, LIKE_SCIKIT_LEARN])
def test_whatever_predicts_is_adopted_if_its_task_is_said(
    quick: None,
    reference: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    foreign(monkeypatch, "mine.pkl", source)

    command = f"{ADOPT}.pkl --trust --target kind --drop flag color"
    assert "the estimator does not tell what it does: say it with --task" in refusal(
        command, capsys
    )
    description = run(f"{command} --task classification")

    assert description.classes == ("cat", "dog")
    assert description.asked.scored_by is None


def test_an_estimator_whose_module_is_nowhere_can_not_be_served(
    reference: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign(monkeypatch, "mine.pkl", BY_POSITION)

    message = refusal(
        f"{ADOPT}.pkl --trust --task classification --target kind --drop flag color", capsys
    )

    assert "the estimator can't be loaded in another process, as serving does it" in message
    assert "No module named 'elsewhere'" in message


def test_files_of_this_folder_that_a_model_needs_are_named_for_the_bento(
    reference: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    estimator = LogisticRegression().fit(reference[NUMBERS].to_numpy(), reference["kind"])
    joblib.dump(Fragile(estimator), "mine.pkl")

    run(f"{ADOPT}.pkl --trust --task classification --target kind --drop flag color")

    printed = capsys.readouterr()
    assert (
        "the model needs tests/wire/estimators.py: name it under include in bentofile.yaml\n"
        in printed.err
    )
    assert "needs   " not in printed.out


@pytest.mark.parametrize(
    ("values", "dummy", "told"),
    [
        ({}, {}, "no score could be computed"),
        ({"accuracy": 0.5}, {"accuracy": 0.5}, "no better than a dummy: accuracy 0.500"),
        ({"r2": -0.1}, {"r2": 0.0}, "no better than a dummy: r2 -0.100"),
        ({"accuracy": 0.6}, {"accuracy": 0.5}, ""),
    ],
)
def test_scores_that_say_little_are_told(
    values: dict[str, float],
    dummy: dict[str, float],
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    metrics = Metrics(split="some", values=values, dummy=dummy)
    publish.warn_of_scores(Evaluation(metrics, None, None, np.array([1])))
    said = capsys.readouterr().err
    assert told in said if told else not said
