"""Logged predictions and labels that come later: joined, counted, and scored as by scikit-learn."""

import csv
import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from sklearn import metrics

from serving.model.about import About
from serving.model.description import Description, Label
from serving.model.outputs import Prediction
from serving.outcomes.__main__ import main
from serving.outcomes.reading import number_of
from tests.unit import samples
from tests.unit.fakes import SignEstimator
from tests.unit.model.saved import stored
from tests.unit.samples import MIXED, PROBABILITIES, SCORES, description, regression, text

HAM, SPAM = Prediction("ham"), Prediction("spam")
HEADER = ["request_id", "kind"]
NOON, NEXT_DAY = "2026-11-25T12:00:00.000001Z", "2026-11-26T12:00:00Z"
ROWS = 60
RANDOM = np.random.default_rng(5)


class Desk:
    """A log and labels in a folder, and the command run on them."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Take where the files are, and what reads the command's output."""
        self.log, self.labels = folder / "log", folder / "labels.csv"
        self._capsys = capsys

    def label(self, header: Sequence[str], *rows: Sequence[object]) -> None:
        """Write the labels."""
        with self.labels.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])

    def run(self, *options: str) -> str:
        """Run the command, and give what it prints."""
        main([*options, str(self.log), str(self.labels)])
        return self._capsys.readouterr().out

    def report(self, *options: str) -> Any:  # noqa: ANN401 (JSON)
        """Run the command, and give its JSON."""
        return json.loads(self.run("--json", *options))

    def refusal(self, *options: str) -> str:
        """Run the command, which has to end with one line, and give that."""
        with pytest.raises(SystemExit) as caught:
            self.run(*options)
        out, err = self._capsys.readouterr()
        assert (caught.value.code, out, err.count("\n")) == (2, "", 1)
        return err.removeprefix("python -m serving.outcomes: ").strip()


def keep(described: Description) -> About:
    """Put a model in the store, and give what its log lines tell of it."""
    return About(described, str(stored(SignEstimator(), described).tag.version))


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    """Give a folder for a log and labels."""
    return Desk(tmp_path, capsys)


@pytest.fixture
def mail() -> About:
    """Put a classifier of mail in the store."""
    return keep(description())


def logged(about: About, said: Prediction, id_: str = "r0", **changes: object) -> bytes:
    """Give a line as the prediction log has it."""
    line = {"timestamp": NOON, "event": "prediction", "request_id": id_, "row": 0, "features": {}}
    return orjson.dumps(line | changes | {"model": about.named} | about.document(said)) + b"\n"


def days(report: Any) -> list[tuple[str, int]]:  # noqa: ANN401 (JSON)
    """Give the days of the only version, with their rows."""
    (version,) = report["versions"]
    return [(day["date"], day["rows"]) for day in version["days"]]


def test_the_rows_of_a_request_are_told_apart_or_refused(desk: Desk, mail: About) -> None:
    desk.log.write_bytes(b"".join(logged(mail, HAM, "r", row=row) for row in range(3)))
    desk.label(
        ["request_id", "row", "kind"], ("r", 0, "ham"), ("r", "1.0", "ham"), ("r", 2, "spam")
    )
    (version,) = desk.report()["versions"]
    assert (version["rows"], version["scores"]["accuracy"]) == (3, pytest.approx(2 / 3))
    desk.label(HEADER, ("r", "ham"))
    assert desk.refusal().startswith("request r has several rows, and the labels have no column")
    desk.log.write_bytes(desk.log.read_bytes() + logged(mail, HAM, "one"))
    desk.label(HEADER, ("one", "ham"))
    assert days(desk.report()) == [("2026-11-25", 1)]


def test_what_meets_nothing_or_contradicts_is_counted_and_left_out(desk: Desk, mail: About) -> None:
    again = (("same", HAM), ("same", HAM), ("other", HAM), ("other", SPAM), ("other", HAM))
    lines = [logged(mail, HAM, f"r{at}") for at in range(6)]
    lines += [logged(mail, of, request_id, timestamp=NEXT_DAY) for request_id, of in again]
    desk.log.write_bytes(b"".join(lines))
    told = [("r0", "ham"), ("r0", "ham"), ("r1", "ham"), ("r1", "spam"), ("r2", ""), ("r3", "Ham")]
    desk.label(HEADER, *told, ("r4", "spam"), ("same", "ham"), ("other", "ham"), ("nobody", "ham"))
    report = desk.report()
    assert report["counts"] == {
        "predictions": 11,
        "labels": 10,
        "predictions whose label is told more than once": 1,
        "predictions whose labels contradict each other": 1,
        "predictions whose label is empty": 1,
        "predictions whose label is no class of the model, or no number": 1,
        "predictions without a label": 1,
        "predictions told again": 1,
        "predictions that contradict each other": 3,
        "labels without a prediction": 1,
        "labels of several predictions": 2,
    }
    (version,) = report["versions"]
    assert (version["rows"], version["scores"]["accuracy"]) == (3, pytest.approx(2 / 3))


def test_each_prediction_of_a_value_has_its_label_but_the_same_line_counts_once(desk: Desk) -> None:
    about = keep(description(features=(text("id"),)))
    first, other = (
        logged(about, HAM, "same", row=row, features={"id": of}) for row, of in enumerate("ab")
    )
    later = logged(about, HAM, "same", features={"id": "a"}, timestamp=NEXT_DAY)
    desk.log.write_bytes(first + other + later + other)
    desk.label(["kind", "id"], ("ham", "a"), ("spam", "b"), ("ham", "c"))
    report = desk.report("--by", "id")
    assert report["counts"]["predictions told again"] == 1
    assert report["counts"]["labels of several predictions"] == 2
    assert days(report) == [("2026-11-25", 2), ("2026-11-26", 1)]


@pytest.mark.parametrize(
    ("by", "value", "cells"),
    [
        ("length", 5.0, ["5", "5.0", " 5e0"]),
        ("count", 2**53 + 1, [str(2**53 + 1)]),
        ("is a/b ~c", True, ["true", "True"]),
        ("colour", "01", ["01"]),
        ("ünï", "a,\n b", ["a,\n b"]),
    ],
)
def test_a_value_is_found_as_its_type_is_written_and_no_other_is(
    desk: Desk, by: str, value: object, cells: list[str]
) -> None:
    about = keep(description(features=MIXED))
    lines = [logged(about, HAM, f"r{at}", features={by: of}) for at, of in enumerate((value, None))]
    desk.log.write_bytes(b"".join(lines))
    for cell in cells:
        others = [(other, "spam") for other in ("1", "?", "", 2**53)]
        desk.label([by, "kind"], (cell, "ham"), *others)
        report = desk.report("--by", by)
        assert report["versions"][0]["scores"]["accuracy"] == 1
        assert report["counts"]["predictions without a label"] == 1
        assert report["counts"]["labels without a prediction"] == 4


def test_days_are_those_of_utc(desk: Desk, mail: About) -> None:
    moments = [
        "2026-11-25T23:59:59.999999Z",
        "2026-11-26T00:00:00.000000Z",
        "2026-11-26T01:30:00+02:00",
        "2026-11-26T23:30:00-01:00",
        "2026-11-26T12:00:00",
    ]
    lines = [logged(mail, HAM, f"r{at}", timestamp=moment) for at, moment in enumerate(moments)]
    desk.log.write_bytes(b"".join(lines))
    desk.label(HEADER, *((f"r{at}", "ham") for at in range(len(moments))))
    report = desk.report()
    assert days(report) == [("2026-11-25", 2), ("2026-11-26", 1), ("2026-11-27", 1)]
    assert report["counts"]["damaged lines of the log"] == 1


def test_each_version_is_told_beside_its_training_and_one_left_out_with_the_reason(
    desk: Desk, mail: About
) -> None:
    other = keep(description(name="letters", targets=("sender",)))
    groups = keep(samples.clustering(name="groups"))
    gone = About(description(), mail.version[:-1])
    lines = [logged(about, HAM, f"r{at}") for at, about in enumerate((gone, gone, mail, other))]
    lines += [logged(mail, SPAM, "r4", timestamp=NEXT_DAY), logged(groups, Prediction(1))]
    desk.log.write_bytes(b"".join(lines))
    desk.label(HEADER, *((f"r{at}", "ham") for at in range(5)))
    once = "which the labels do not have once each"
    assert desk.run().splitlines() == [
        "6 predictions",
        "5 labels",
        f"2 predictions not scored: model mail:{gone.version} is not in the model store",
        f"1 predictions not scored: model letters:{other.version} predicts sender, {once}",
        f"1 predictions not scored: model groups:{groups.version} predicts no target, {once}",
        "3 labels without a prediction",
        "",
        f"mail:{mail.version}",
        "  training: held out: 3 of 12 rows",
        "              rows  accuracy  balanced_accuracy  f1_macro",
        "  training             0.750                  -         -",
        "  all days       2     0.500              0.500     0.333",
        "  2026-11-25     1     1.000              1.000     1.000",
        "  2026-11-26     1     0.000              0.000     0.000",
    ]
    named = desk.report("--target", "kind")["versions"]
    assert [version["model"]["name"] for version in named] == ["mail", "letters"]
    assert named[0]["training"]["scores"] == {"accuracy": 0.75}


def test_a_log_may_be_in_parts_gzipped_torn_and_among_other_lines(desk: Desk, mail: About) -> None:
    lines = [logged(mail, HAM, f"r{at}") for at in range(3)]
    old, cut = desk.log.with_name("old.gz"), desk.log.with_name("cut.gz")
    old.write_bytes(gzip.compress(lines[0]))
    cut.write_bytes(old.read_bytes()[:-9])
    odd = lines[2].replace(b'"prediction":"ham"', b'"prediction":"eggs"')
    other = b'{"event":"request.finished","request_id":"r2"}\n[]\n'
    desk.log.write_bytes(b"Starting\n" + other + odd + lines[1] + lines[2][:-40])
    desk.label(HEADER, *((f"r{at}", "ham") for at in range(3)))
    report = desk.report(str(old))
    assert days(report) == [("2026-11-25", 2)]
    assert report["counts"] == {"predictions": 3, "damaged lines of the log": 3, "labels": 3}
    assert "end-of-stream" in desk.refusal(str(cut))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "labels.csv has 0 columns 'request_id': its header is [] by commas"),
        (b"request_id;kind\nr0;ham\n", "its header is ['request_id;kind'] by commas"),
        (b"request_id,kind,kind\nr0,ham,ham\n", "predicts kind, which the labels do not have once"),
        (b"request_id,row,row,kind\nr0,0,1,ham\n", "labels.csv has 2 columns 'row'"),
        (b"request_id,kind\nr0,ham\nr1\n", "after line 3: 1 cells, and the header has 2"),
        (b'request_id,kind\nr0,"ham\n', "labels.csv, after line 2: unexpected end of data"),
        (b"request_id,kind\nr0,h\xe4m\n", "labels.csv, after line 0: 'utf-8' codec can't decode"),
        (
            b"request_id,row,kind\nr0,first,ham\n",
            "scored: 1 predictions; 1 labels; 1 predictions w",
        ),
        (b"request_id,kind\nr0,eggs\n", "1 predictions whose label is no class of the model"),
    ],
)
def test_labels_that_can_not_be_used_are_refused_with_a_line(
    desk: Desk, mail: About, content: bytes, told: str
) -> None:
    desk.log.write_bytes(logged(mail, HAM))
    desk.labels.write_bytes(content)
    assert told in desk.refusal()


def test_files_that_are_not_there_or_tell_nothing_are_told(desk: Desk) -> None:
    assert desk.refusal() == f"[Errno 2] No such file or directory: '{desk.labels}'"
    desk.labels.write_bytes(b'\xef\xbb\xbf"request_id",note,kind\r\n\r\nr0,"a, b",ham\r\n')
    desk.log.write_bytes(b"")
    assert desk.refusal().startswith("nothing can be scored: 0 predictions; 1 labels")
    assert "has 0 columns 'id'" in desk.refusal("--by", "id")
    assert "has 0 columns 'label'" in desk.refusal("--target", "label")


def test_what_is_no_number_is_no_label_of_a_regression() -> None:
    for cell in ("n/a", "nan", "inf", "1_0", "1,5", "true", "", "9" * 400):
        assert number_of(cell) is None
    assert [number_of(cell) for cell in (" 2", "2e1", str(2**53 + 1))] == [2, 20, 2**53 + 1]


def draw(classes: Sequence[Label]) -> list[Label]:
    """Draw a label for each row."""
    return [classes[at] for at in RANDOM.integers(0, len(classes), ROWS)]


def scored(
    desk: Desk,
    described: Description,
    said: Sequence[Prediction],
    truth: Sequence[Sequence[object]],
) -> Any:  # noqa: ANN401 (JSON)
    """Give the scores of predictions by what is true of each target."""
    about = keep(described)
    desk.log.write_bytes(b"".join(logged(about, of, f"r{at}") for at, of in enumerate(said)))
    rows = ((*of, "", f"r{at}") for at, of in enumerate(truth))
    desk.label([*described.targets, "note", "request_id"], *rows)
    (version,) = desk.report()["versions"]
    assert version["rows"] == ROWS
    return version["scores"]


@pytest.mark.parametrize(
    ("classes", "written"),
    [
        (('"quoted"', "a, b", "ünï"), str),
        (("1", "2"), str),
        ((0, 1), str),
        ((3, 5, 8), float),
        ((-1.0, 1.0, 2.0), lambda label: f"{label:g}"),
        ((False, True), str),
        ((False, True), int),
    ],
)
def test_a_classifier_has_the_scores_of_scikit_learn(
    desk: Desk, classes: tuple[Label, ...], written: Callable[[Label], object]
) -> None:
    shares: Any = RANDOM.random((ROWS, len(classes)))
    shares /= shares.sum(axis=1, keepdims=True)
    truth, answers = draw(classes), [classes[at] for at in shares.argmax(axis=1)]
    said = list(map(Prediction, answers, shares.tolist()))
    is_second = np.array(truth) == classes[1]
    described = description(classes, asked=PROBABILITIES)
    assert scored(desk, described, said, [(written(label),) for label in truth]) == {
        "accuracy": metrics.accuracy_score(truth, answers),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, answers),
        "f1_macro": metrics.f1_score(truth, answers, average="macro"),
        "log_loss": metrics.log_loss(truth, shares, labels=classes),
        "roc_auc": metrics.roc_auc_score(is_second, shares[:, 1])
        if len(classes) == 2
        else metrics.roc_auc_score(truth, shares, multi_class="ovr"),
    }


def test_what_decides_instead_of_probabilities_has_an_area_alone(desk: Desk) -> None:
    sides, truth = RANDOM.normal(size=ROWS).tolist(), draw(("ham", "spam"))
    for asked in (SCORES, samples.asked(scored_by=SCORES.scored_by)):
        told = [[-side, side] if asked.scores_by_class else side for side in sides]
        said = [Prediction("ham", None, of) for of in told]
        scores = scored(desk, description(asked=asked), said, [(label,) for label in truth])
        assert list(scores) == ["accuracy", "balanced_accuracy", "f1_macro", "roc_auc"]
        assert scores["roc_auc"] == metrics.roc_auc_score(np.array(truth) == "spam", sides)


@pytest.mark.parametrize("targets", [("price",), ("price", "weight")])
def test_numbers_have_the_scores_of_scikit_learn(desk: Desk, targets: tuple[str, ...]) -> None:
    truth = RANDOM.normal(size=(ROWS, len(targets)))
    answers = truth + RANDOM.normal(size=truth.shape)
    said = [Prediction(of if len(targets) > 1 else of[0]) for of in answers.tolist()]
    assert scored(desk, regression(*targets), said, truth.tolist()) == {
        "r2": metrics.r2_score(truth, answers),
        "mean_absolute_error": metrics.mean_absolute_error(truth, answers),
        "root_mean_squared_error": metrics.root_mean_squared_error(truth, answers),
    }


def test_several_labels_are_scored_together_and_each(desk: Desk) -> None:
    classes = (0, 1), ("a", "b", "c")
    truth = list(zip(draw(classes[0]), draw(classes[1]), strict=True))
    answers = list(zip(draw(classes[0]), draw(classes[1]), strict=True))
    described = samples.several_labels(*classes, asked=PROBABILITIES)
    said = [Prediction(list(of), [[0.5, 0.5], [0.25, 0.5, 0.25]]) for of in answers]
    right = np.array(answers, object) == np.array(truth, object)
    assert scored(desk, described, said, truth) == {
        "subset_accuracy": right.all(axis=1).mean(),
        "mean_accuracy": right.mean(),
    }
