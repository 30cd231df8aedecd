"""What is counted of a shadow: each row once, differences and times by bucket, few pairs."""

import pytest

from serving.metrics import DIFFERENCES, MAX_NAMED_SERIES
from serving.prediction.findings import Counts
from serving.prediction.frames import Findings
from tests.unit.fakes import sample

NOTHING = Findings(0, 0, [0] * (len(DIFFERENCES) + 1), 0.0, [], 0.0, 0, 0)


@pytest.fixture
def owner(request: pytest.FixtureRequest) -> dict[str, str]:
    """Give the labels of a shadow of this test's own."""
    return {"model_name": request.node.name, "version": "v1", "shadow": "v2"}


@pytest.fixture
def counts(owner: dict[str, str]) -> Counts:
    """Count it."""
    return Counts(*owner.values())


def rows(owner: dict[str, str]) -> dict[str, float]:
    """Give the rows by their result."""
    results = ("same", "different", "failed", "dropped")
    return {name: sample("serving_shadow_rows_total", **owner, result=name) for name in results}


def test_each_row_of_a_frame_is_counted_once(counts: Counts, owner: dict[str, str]) -> None:
    by_bucket = [0] * len(NOTHING.differences)
    by_bucket[0], by_bucket[-2], by_bucket[-1] = 3, 1, 1
    counts.found(
        NOTHING._replace(
            same=3, different=2, differences=by_bucket, differences_sum=7.5, seconds=0.02
        ),
        rows=6,
    )
    counts.ended("dropped", 4)
    assert rows(owner) == {"same": 3, "different": 2, "failed": 1, "dropped": 4}
    name = "serving_shadow_difference"
    told = [sample(f"{name}_bucket", **owner, le=le) for le in ("1e-12", "0.1", "1.0", "+Inf")]
    assert told == [3, 3, 4, 5]
    assert (sample(f"{name}_count", **owner), sample(f"{name}_sum", **owner)) == (5, 7.5)
    name = "serving_shadow_duration_seconds"
    told = [sample(f"{name}_bucket", **owner, le=le) for le in ("0.002", "0.005", "+Inf")]
    assert told == [0, 5, 5]
    assert sample(f"{name}_sum", **owner) == 0.02


def test_of_rows_that_all_failed_no_time_is_told(counts: Counts, owner: dict[str, str]) -> None:
    counts.found(NOTHING._replace(seconds=0.5), rows=3)
    assert rows(owner) == {"same": 0, "different": 0, "failed": 3, "dropped": 0}
    assert sample("serving_shadow_duration_seconds_count", **owner) == 0


def test_pairs_of_labels_beyond_the_first_hundred_are_one(
    counts: Counts, owner: dict[str, str]
) -> None:
    for number in (*range(MAX_NAMED_SERIES + 5), 0):
        counts.found(NOTHING._replace(same=2, labels=[(str(number), "ham", 2)]), rows=2)
    name = "serving_shadow_labels_total"
    assert sample(name, **owner, served="0", shadowed="ham") == 4
    assert sample(name, **owner, served="99", shadowed="ham") == 2
    assert sample(name, **owner, served="100", shadowed="ham") == 0
    assert sample(name, **owner, served="other", shadowed="other") == 10


def test_lines_of_the_prediction_log_are_counted_with_the_others(counts: Counts) -> None:
    name = "serving_prediction_log_total"
    before = {result: sample(name, result=result) for result in ("written", "lost")}
    counts.found(NOTHING._replace(written=3, lost=2), rows=0)
    assert sample(name, result="written") == before["written"] + 3
    assert sample(name, result="lost") == before["lost"] + 2
