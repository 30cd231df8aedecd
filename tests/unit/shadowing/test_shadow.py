"""A shadow answers what it can, tells of the rest by leaving it out, and writes what differs."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.metrics import DIFFERENCES
from serving.model.description import Description
from serving.model.stored import ModelError
from serving.prediction.frames import Part
from serving.settings import Settings
from serving.shadowing import shadow as room
from serving.shadowing.shadow import Shadow
from tests.unit.fakes import SignEstimator, recorded
from tests.unit.model.saved import rewrite_description, stored
from tests.unit.samples import PROBABILITIES, description, number, regression

HAM, SPAM = ("ham", [1.0, 0.0], None), ("spam", [0.25, 0.75], None)
RAISES_AT, EXITS_AT = 7.0, 8.0
INPUT = "31415926"  # a value that must not be told
MAIL = description(name="shadowed", asked=PROBABILITIES)


class Moody(SignEstimator):
    """Gives ham for negative numbers, and fails on others for all rows."""

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Be sure, or fail."""
        if RAISES_AT in features[:, 0]:
            raise ValueError(INPUT)
        if EXITS_AT in features[:, 0]:
            sys.exit(INPUT)
        return np.where(features[:, :1] < 0, (1.0, 0.0), (0.0, 1.0))


def shadow_of(served: Description, shadowed: Description, log: str = "off") -> Shadow:
    """Load a version as the shadow of another."""
    tags = [str(stored(Moody(), each).tag) for each in (served, shadowed)]
    return Shadow(Settings(prediction_log=log), *tags)


def part(*rows: tuple[Any, ...], told: tuple[Any, Any, Any] = HAM, first: int = 0) -> Part:
    """Give rows that were answered alike."""
    return "id-1", [*range(first, first + len(rows))], list(rows), [told] * len(rows)


def test_what_differs_is_counted_by_how_much_and_by_labels_and_written(tmp_path: Path) -> None:
    log = tmp_path / "log"
    shadow = shadow_of(MAIL, MAIL, str(log))
    found = shadow.find(
        [part((-1.0, 2), (1.0, 3), first=5), part((1.0, 4), told=SPAM), part((-2.0, 5), told=SPAM)]
    )
    assert (found.same, found.different, found.written, found.lost) == (1, 3, 3, 0)
    assert sorted(found.labels) == [
        ("ham", "ham", 1),
        ("ham", "spam", 1),
        ("spam", "ham", 1),
        ("spam", "spam", 1),
    ]
    by_bucket = dict(zip((*DIFFERENCES, None), found.differences, strict=True))
    assert {bound: count for bound, count in by_bucket.items() if count} == {1e-12: 1, 1.0: 3}
    assert found.differences_sum == 1 + 0.25 + 0.75
    assert found.seconds > 0
    first, *others = map(json.loads, log.read_text().splitlines())
    assert [(line["row"], line["features"]["a/b ~c"]) for line in (first, *others)] == [
        (6, 3),
        (0, 4),
        (0, 5),
    ]
    version = first.pop("model")["version"]
    assert first.pop("timestamp").endswith("Z")
    assert first.pop("shadow") != version
    assert first == {
        "level": "info",
        "event": "shadow",
        "request_id": "id-1",
        "row": 6,
        "features": {"length": 1.0, "a/b ~c": 3},
        "served": {"prediction": "ham", "probabilities": {"ham": 1.0, "spam": 0.0}},
        "shadowed": {"prediction": "spam", "probabilities": {"ham": 0.0, "spam": 1.0}},
    }


def test_rows_on_which_it_fails_harm_no_others_and_are_told_once_for_each_kind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = recorded(monkeypatch, room).lines
    shadow = shadow_of(MAIL, MAIL)
    for _ in range(2):
        found = shadow.find([part((-1.0, 2), (RAISES_AT, 2), (EXITS_AT, 2), (-1.0, 2))])
        assert (found.same, found.different) == (2, 0)
    assert [line["event"] for line in lines] == ["shadow.failed"] * 2
    assert INPUT not in str(lines)


def test_rows_that_it_does_not_take_are_left_out() -> None:
    narrow = number("length", domain=(-5.0, 5.0)), number("a/b ~c")
    shadow = shadow_of(MAIL, description(name="shadowed", asked=PROBABILITIES, features=narrow))
    found = shadow.find([part((-1.0, 2), (-6.0, 2))])
    assert (found.same, found.different) == (1, 0)
    found = shadow.find([part((-6.0, 2))])
    assert (found.same, found.different, found.seconds > 0) == (0, 0, True)


def test_features_in_another_order_are_found_by_name() -> None:
    turned = description(name="shadowed", asked=PROBABILITIES, features=MAIL.features[::-1])
    found = shadow_of(MAIL, turned).find([part((1.0, -1.0))])  # whose first is now the second
    assert (found.same, found.different) == (1, 0)


def test_lines_that_find_no_disk_are_lost_and_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = recorded(monkeypatch, room).lines
    shadow = shadow_of(MAIL, MAIL, "/nowhere/log")
    for _ in range(2):
        found = shadow.find([part((1.0, 2))])
        assert (found.different, found.written, found.lost) == (1, 0, 1)
    assert [(line["event"], line["reason"]) for line in lines] == [
        ("prediction_log.failed", "No such file or directory")
    ]


def test_what_can_be_no_shadow_is_refused_in_words() -> None:
    with pytest.raises(ModelError, match="can't be its shadow: it has another task"):
        shadow_of(MAIL, regression("kind", name="shadowed"))
    tag = str(stored(Moody(), MAIL).tag)
    with pytest.raises(ModelError, match="is not in the model store"):
        Shadow(Settings(), tag, tag[:-2])
    damaged = stored(Moody(), MAIL)
    rewrite_description(damaged, artifact_sha256="0")
    with pytest.raises(ModelError, match="is damaged"):
        Shadow(Settings(), tag, str(damaged.tag))
