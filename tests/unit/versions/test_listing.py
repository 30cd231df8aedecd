"""What is told of versions and of what was decided about them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from serving.model.state import Change, ModelState, Shadow, State
from serving.model.stored import DESCRIPTION, ModelError
from serving.versions.listing import history, history_lines, version_lines, versions
from tests.unit.fakes import SignEstimator
from tests.unit.model.saved import stored
from tests.unit.samples import clustering, description
from tests.unit.versions.machines import status

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def test_versions_are_told_with_their_roles_and_who_serves_them() -> None:
    mail = [stored(SignEstimator(), description(name="listed")) for _ in range(3)]
    old, new, bad = (str(model.tag.version) for model in mail)
    (Path(mail[2].path) / DESCRIPTION).write_text("{")
    unscored = clustering(name="grouped", metrics={"split": "none", "values": {}, "dummy": {}})
    other = str(stored(SignEstimator(), unscored).tag.version)
    wanted = ModelState(
        promoted=(old, new),
        aliases={"next": new, "b": new, "c": "x"},
        shadow=Shadow(version=old, share=2.5),
    )
    state = State(models={"listed": wanted})
    file = Path("serving.json")
    servers = {
        Path(str(pid)): status(file, ["listed"], {"listed": version}, parent=pid)
        for pid, version in ((30, new), (4, new), (5, old), (6, "x"))
    }
    told = versions(state, servers, "listed")
    assert told == [{"name": "listed", "versions": told[0]["versions"]}]
    assert told[0]["versions"][1] == {
        "version": new,
        "is_gone": False,
        "created": "2024-05-06T07:08:09+00:00",
        "score": {"name": "accuracy", "value": 0.75},
        "problem": None,
        "champion": True,
        "aliases": ["b", "next"],
        "shadow": None,
        "served_by": [4, 30],
    }
    created = "2024-05-06T07:08:09+00:00"
    cells = [line.split() for line in version_lines(told + versions(state, servers, "grouped"))]
    assert cells == [
        ["MODEL", "CREATED", "SCORE", "IS", "SERVED", "BY"],
        [f"listed:{old}", created, "accuracy", "0.7500", "shadow", "of", "2.5", "%", "5"],
        [f"listed:{new}", created, "accuracy", "0.7500", "champion,", "b,", "next", "4,", "30"],
        [f"listed:{bad}", "damaged"],
        ["listed:x", "c,", "gone", "from", "the", "store", "6"],
        [f"grouped:{other}", created],
    ]
    assert {"listed", "grouped"} <= {model["name"] for model in versions(state, servers)}
    with pytest.raises(ModelError, match="no model nobody"):
        versions(state, servers, "nobody")


def test_history_is_told_from_its_beginning() -> None:
    changes = [
        Change(time=NOON, action="promote", before="a", after="b", who="ann@host", why="better"),
        Change(time=NOON, action="alias next", before=None, after="c", who="bob@host"),
    ]
    state = State(models={"mail": ModelState(history=tuple(changes))})
    assert history(state, "mail")[0] == {
        "time": "2026-01-02T12:00:00Z",
        "action": "promote",
        "before": "a",
        "after": "b",
        "who": "ann@host",
        "why": "better",
    }
    assert history_lines(history(state, "mail")) == [
        "TIME                  WHO       WHAT        FROM  TO  WHY",
        "2026-01-02T12:00:00Z  ann@host  promote     a     b   better",
        "2026-01-02T12:00:00Z  bob@host  alias next        c",
    ]
    assert history_lines(history(state, "other")) == ["TIME  WHO  WHAT  FROM  TO  WHY"]
