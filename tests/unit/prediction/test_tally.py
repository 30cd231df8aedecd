"""The tally: rows in the bins of training as metrics, of all workers, and compared with it."""

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.parser import text_string_to_metric_families
from scipy.stats import chi2

from serving.exposition import exposition, series_key, totals
from serving.metrics import FEATURE_VALUES
from serving.model.about import About
from serving.prediction.tally import ROWS_AT_ONCE, Tally
from serving.settings import metrics_folder
from serving.telemetry import Predicted
from tests.unit.fakes import StillClock
from tests.unit.prediction.watched import (
    NAMES,
    RARE,
    SPAM,
    about,
    counted,
    predicted,
    watch,
)

UNKNOWN = "an unknown colour"


@pytest.fixture
def mail(request: pytest.FixtureRequest) -> About:
    """Give a model of this test's own."""
    return about(request.node.name)


@pytest.fixture
def tally(mail: About) -> Iterator[Tally]:
    """Tally it."""
    tally = Tally(mail, watch(mail), metrics_folder())
    yield tally
    tally.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StillClock:
    """Give the time that it is for a tally."""
    clock = StillClock(time.time() // 60 * 60)
    monkeypatch.setattr(time, "time", clock)
    return clock


def count(tally: Tally, *events: Predicted) -> None:
    """Count what was answered."""
    for event in events:
        tally.take(event.rows, event.predictions)
    tally.count()


Told = dict[tuple[str, str], float]


def told(name: str, owner: str) -> Told:
    """Give a metric of one model as it is told: by feature or target, and bin."""
    found = {}
    for family in text_string_to_metric_families(exposition().decode()):
        for sample in family.samples:
            if sample.name == name and sample.labels["model_name"] == owner:
                labels = sample.labels
                thing = labels.get("feature", labels.get("target", ""))
                found[thing, labels.get("bin", "")] = sample.value
    return found


def test_all_series_are_there_from_the_start_and_none_comes_later(
    mail: About, tally: Tally
) -> None:
    def series() -> dict[str, Told]:
        return {name: told(name, mail.name) for name, _ in NAMES.values()}

    at_first = series()
    assert at_first == {
        name: {
            (each.name, bin_name): 0
            for each in watch(mail).all
            if each.kind is kind
            for bin_name in each.bins.names
        }
        for kind, (name, _) in NAMES.items()
    }
    rows = [(1.0, f"colour {number}") for number in range(10_000)]
    count(tally, predicted(mail, rows))
    assert {name: set(values) for name, values in series().items()} == {
        name: set(values) for name, values in at_first.items()
    }
    assert counted(mail)["colour"] == {"unseen": 10_000}


def test_rows_are_counted_by_where_they_fall(mail: About, tally: Tally) -> None:
    rows = [(-0.5, "red"), (2.0, "blue"), (2.1, RARE), (10.0, UNKNOWN), (11, "red"), (None, "red")]
    count(tally, predicted(mail, rows[:4]), predicted(mail, []), predicted(mail, rows[4:], SPAM))
    assert counted(mail) == {
        "length": {"below": 1, "0": 1, "1": 1, "2": 1, "above": 1, "missing": 1},
        "colour": {"red": 3, "blue": 1, "rare": 1, "unseen": 1},
        "prediction": {"ham": 4, "spam": 2},
        "confidence": {"0": 4, "1": 2},
    }
    for text in (exposition().decode(), str(tally.report(60))):
        assert UNKNOWN not in text
        assert RARE not in text


def test_many_rows_are_counted_in_parts_and_each_once(mail: About, tally: Tally) -> None:
    rows = [(float(number % 10), "blue") for number in range(2 * ROWS_AT_ONCE + 17)]
    count(tally, predicted(mail, rows[:5]), predicted(mail, rows[5:]))
    for counts in counted(mail).values():
        assert sum(counts.values()) == len(rows)


def test_what_they_are_compared_with_is_told_beside_them(mail: About, tally: Tally) -> None:
    assert told("serving_feature_reference_ratio", mail.name) == {
        ("length", "below"): 0,
        ("length", "0"): 0.3,
        ("length", "1"): 0.3,
        ("length", "2"): 0.3,
        ("length", "above"): 0,
        ("length", "missing"): 0.1,
        ("colour", "red"): 0.6,
        ("colour", "blue"): 0.38,
        ("colour", "rare"): 0.02,
        ("colour", "unseen"): 0,
    }
    one_in = 0.001 / 2  # for two features
    for kind, rows, degrees in (
        ("feature", 100, {"length": 5, "colour": 3}),
        ("prediction", 25, {"kind": 1}),
        ("confidence", 25, {"kind": 1}),
    ):
        name = f"serving_{kind}_reference"
        assert told(f"{name}_rows", mail.name) == {(each, ""): rows for each in degrees}
        assert told(f"{name}_chi2", mail.name) == pytest.approx(
            {(each, ""): chi2.isf(one_in, count) for each, count in degrees.items()}
        )
    assert told("serving_drift_share_chi2", mail.name) == {
        ("", ""): pytest.approx(chi2.isf(one_in, 1))
    }


# All workers


Work = Callable[[str, int], None]


@pytest.fixture
def another_worker_counts(mail: About) -> Iterator[Work]:
    """Give what counts red or blue mail in a worker that is no more."""
    folder = metrics_folder()
    assert folder is not None
    file = folder / f"counter_{2**22 + 1}.db"
    values = MmapedDict(str(file))  # type: ignore[no-untyped-call]

    def count(colour: str, rows: int) -> None:
        labels = {**mail_labels(mail), "bin": colour}
        (documentation,) = {family.documentation for family in FEATURE_VALUES.describe()}
        names = "serving_feature_values", "serving_feature_values_total"
        key = mmap_key(*names, list(labels), list(labels.values()), documentation)
        values.write_value(key, float(rows), 0.0)  # type: ignore[no-untyped-call]

    yield count
    values.close()  # type: ignore[no-untyped-call]
    file.unlink()


def mail_labels(mail: About) -> dict[str, str]:
    return {"model_name": mail.name, "version": "v1", "feature": "colour"}


def colours(report: dict[str, Any]) -> dict[str, int]:
    """Give the rows by colour that a report tells."""
    (colour,) = (each for each in report["features"] if each["name"] == "colour")
    return {each["bin"]: each["rows"] for each in colour["bins"] if each["rows"]}


def test_totals_are_those_of_all_workers(
    mail: About, tally: Tally, another_worker_counts: Work
) -> None:
    count(tally, predicted(mail, [(1.0, "red")] * 3))
    another_worker_counts("red", 40)
    another_worker_counts("blue", 2)
    found = totals([FEATURE_VALUES])
    keys = {
        name: series_key(FEATURE_VALUES, {**mail_labels(mail), "bin": name})
        for name in ("red", "blue", "rare")
    }
    assert {name: found[key] for name, key in keys.items()} == {"red": 43, "blue": 2, "rare": 0}
    assert colours(tally.report(60)) == {"red": 43, "blue": 2}


def test_a_worker_that_is_alone_has_totals_too(
    mail: About, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR")
    tally = Tally(mail, watch(mail), metrics_folder())
    count(tally, predicted(mail, [(1.0, "red")] * 3))
    assert colours(tally.report(60)) == {"red": 3}
    tally.close()


# A window


def test_a_report_tells_of_the_window_alone_and_of_less_while_the_server_is_younger(
    mail: About, clock: StillClock
) -> None:
    start_s = clock.now_s
    tally = Tally(mail, watch(mail), metrics_folder())
    for minute in range(180):  # a red one in each of the first two hours, a blue one in the third
        clock.now_s = start_s + 60 * minute + 0.5
        tally.note(clock.now_s)
        colour = "red" if minute < 120 else "blue"
        count(tally, predicted(mail, [(1.0, colour)]))
    clock.now_s += 59
    hour, two, day = (tally.report(60 * minutes) for minutes in (60, 120, 1440))
    assert colours(hour) == {"blue": 60, "red": 1}  # the first that was noted before the window
    assert colours(two) == {"blue": 60, "red": 61}
    assert (colours(day), day["rows"]) == ({"blue": 60, "red": 120}, 180)
    assert (hour["model"], hour["features_left_out"]) == ({"name": mail.name, "version": "v1"}, 0)
    assert datetime.fromisoformat(day["since"]).timestamp() == start_s
    assert datetime.fromisoformat(day["until"]).timestamp() == int(clock.now_s)
    tally.close()


def test_a_minute_is_noted_once_for_all_workers_and_a_later_one_knows_it(
    mail: About, tally: Tally, clock: StillClock
) -> None:
    count(tally, predicted(mail, [(1.0, "red")] * 3))
    successor = Tally(mail, watch(mail), metrics_folder())
    clock.now_s += 1
    for each in (tally, successor):
        assert colours(each.report(3600)) == {"red": 3}
    successor.close()


def test_after_a_reload_with_fewer_features_a_report_is_of_those(mail: About, tally: Tally) -> None:
    count(tally, predicted(mail, [(1.0, "red")] * 3))
    fewer = Tally(mail, watch(mail, 1), metrics_folder())
    count(tally, predicted(mail, [(1.0, "blue")]))
    report = fewer.report(3600)
    assert (colours(report), report["features_left_out"]) == ({"blue": 1}, 1)
    assert colours(tally.report(3600)) == {"red": 3, "blue": 1}
    fewer.close()


def test_a_history_that_can_not_be_kept_is_told(mail: About, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Tally(mail, watch(mail), tmp_path / "nowhere")
