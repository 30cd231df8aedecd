"""What Prometheus records of drift: exact, of several servers, and nothing where nobody asks."""

import re
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml  # type: ignore[import-untyped]

from tests.server import ROW, TWO_WORKERS, Server, eventually, serving
from tests.system.monitoring import RECORDINGS, Document, prometheus, recordings
from tests.system.rules import Mutants, mutants, promtool, unnoticed

UNIT_TESTS = RECORDINGS.with_name("drift-test.yml")
COUNTED = r"serving_(feature|prediction|confidence)(?:_values)?_total"
RATIO = r"serving_(feature|prediction|confidence)_reference_ratio"
ROWS = r"serving_(feature|prediction|confidence)_reference_rows"
Of = tuple[str, str]  # which kind, and of which feature or target


def test_what_is_recorded_is_whole_rows_and_what_numpy_makes_of_them() -> None:
    tested = promtool("test", "rules", UNIT_TESTS)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def mutants_of_recording(rule: Document) -> Mutants:
    """Give a rule that records with each number, label and condition changed, and its window."""
    yield from mutants(rule, r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])")
    if window := rule.get("labels", {}).get("window"):
        other = {"1h": "24h", "24h": "1h"}[window]
        yield f"{window} is {other}", rule | {"expr": rule["expr"].replace(window, other)}


@pytest.mark.parametrize("place", range(len(recordings())))
def test_a_recording_that_is_changed_fails_a_test(place: int, tmp_path: Path) -> None:
    unit_tests = yaml.safe_load(UNIT_TESTS.read_text())
    changed = mutants_of_recording(recordings()[place])
    assert unnoticed(tmp_path, unit_tests, recordings(), place, changed) == []


def in_bins(server: Server, metric: str) -> dict[Of, dict[str, float]]:
    """Read a metric of all that is watched, by bin."""
    found: dict[Of, dict[str, float]] = {}
    for sample in server.metrics():
        if named := re.fullmatch(metric, sample.name):
            of = named[1], sample.labels.get("feature", sample.labels.get("target", ""))
            found.setdefault(of, {})[sample.labels.get("bin", "")] = sample.value
    return found


def psi(rows: list[float], training: list[float]) -> float:
    """Compute the population stability index of rows by bin."""
    now, then = (
        (np.array(each) + 0.5) / (sum(each) + 0.5 * len(each)) for each in (rows, training)
    )
    return float(((now - then) * np.log(now / then)).sum())


def test_what_is_recorded_of_two_servers_is_what_numpy_makes_of_the_rows_sent(
    home: Path, tmp_path: Path
) -> None:
    with (
        serving(home, tmp_path / "a", **TWO_WORKERS) as one,
        serving(home, tmp_path / "b") as other,
        prometheus(tmp_path, one.port, other.port) as watching,
    ):

        def recorded(name: str) -> dict[tuple[Of, str], float]:
            return {
                ((labels["kind"], labels.get("name", "")), labels["window"]): series.points[0][1]
                for series in watching.now(name)
                if (labels := series.labels)
            }

        for _ in range(12):  # over connections of their own, so both workers have some
            httpx.post(f"{one.url}/predict/batch", json={"data": [ROW] * 15})
        other.http.post("/predict/batch", json={"data": [[9.5, 3.0, 4.0, 1.0]] * 70})
        training, rows = in_bins(one, RATIO), in_bins(one, ROWS)
        every = {(of, window) for of in training for window in ("1h", "24h")}
        all_rows = dict.fromkeys(every, 250.0)
        eventually("all rows", lambda: recorded("job_name:serving_drift_rows:increase") == all_rows)
        counted = in_bins(one, COUNTED), in_bins(other, COUNTED)
        expected = {
            of: psi(
                [sum(each[of][name] for each in counted) for name in bins],
                [ratio * rows[of][""] for ratio in bins.values()],
            )
            for of, bins in training.items()
        }

        def is_expected() -> bool:
            indices = recorded("job_name:serving_drift_psi:sum")
            return indices.keys() == every and all(
                abs(index - expected[of]) < 1e-9 for (of, _), index in indices.items()
            )

        eventually("the index of all rows", is_expected)
