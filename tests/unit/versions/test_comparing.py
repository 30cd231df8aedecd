"""What shadows have said is read from what workers count, and told to people and programs."""

import os
import shutil
from pathlib import Path

import pytest

from serving.metrics import DIFFERENCES, DURATION
from serving.model.stored import ModelError
from serving.prediction.findings import Counts
from serving.prediction.frames import Findings
from serving.versions.comparing import Comparison, lines
from tests.unit.fakes import service_labels

FOLDER = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])  # of this process, which is the worker


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Give a model of this test's own, of which something was counted."""
    name: str = request.node.name
    by_bucket = [0] * (len(DIFFERENCES) + 1)
    by_bucket[0], by_bucket[3], by_bucket[-1] = 90, 9, 1
    labels = [("ham", "ham", 90), ("spam", "ham", 10)]
    counts = Counts(name, "v1", "v2")
    counts.found(Findings(75, 25, by_bucket, 2.5, labels, 0.2, 0, 0), rows=103)
    counts.ended("dropped", 7)
    for seconds in (0.001, 0.003):
        DURATION.labels(
            endpoint="/predict",
            http_response_code=200,
            model_name=name,
            version="v1",
            **service_labels(name),
        ).observe(seconds)
    return name


def test_all_that_was_counted_is_there_for_programs(name: str, tmp_path: Path) -> None:
    other = shutil.copytree(FOLDER, tmp_path / "metrics")  # of another server
    (document,) = Comparison(name, [FOLDER, other, tmp_path / "gone"]).documents()
    assert document == {
        "version": "v1",
        "shadow": "v2",
        "rows": {"same": 150, "different": 50, "failed": 6, "dropped": 14},
        "different_ratio": 0.25,
        "labels": [
            {"served": "ham", "shadowed": "ham", "rows": 180},
            {"served": "spam", "shadowed": "ham", "rows": 20},
        ],
        "differences": {"0.5": 1e-12, "0.9": 1e-12, "0.99": 1e-9, "1": None},
        "request_seconds": 0.002,
        "shadow_row_seconds": 0.002,
    }


def test_it_is_a_table_for_people(name: str) -> None:
    assert lines(name, Comparison(name, [FOLDER]).documents()) == [
        f"{name}:v1 answers, v2 is its shadow",
        "  rows: 75 same, 25 different (25.00% of those compared), 3 failed, 7 dropped",
        "  ANSWERED  SHADOW  ROWS",
        "  ham       ham       90",
        "  spam      ham       10",
        "  differences of numbers: 50% at most 1e-12, 90% at most 1e-12, 99% at most 1e-09, "
        "100% above 1",
        "  on average a request took 2.000 ms, a row of the shadow 2.000 ms",
    ]


def test_a_shadow_that_has_compared_nothing_yet_tells_no_more(
    request: pytest.FixtureRequest,
) -> None:
    name = request.node.name
    Counts(name, "v1", "v2").ended("dropped", 5)
    assert lines(name, Comparison(name, [FOLDER]).documents()) == [
        f"{name}:v1 answers, v2 is its shadow",
        "  rows: 0 same, 0 different, 0 failed, 5 dropped",
    ]


def test_where_there_is_no_shadow_that_is_said() -> None:
    told = "nothing was counted of a shadow of mail in servers that run on this machine"
    assert lines("mail", Comparison("mail", []).documents()) == [told]


def test_what_can_not_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="can't be read: Not a directory"):
        Comparison("mail", [tmp_path / "file" / "metrics"])
