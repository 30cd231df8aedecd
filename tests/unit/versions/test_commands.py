"""What the command does, and that all is as before where it is refused, by whomever."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import bentoml
import pytest

from serving.host.letters import Letters
from serving.model.description import Metrics
from serving.model.state import (
    ModelState,
    Shadow,
    ShadowLetter,
    State,
    StateError,
    one_at_a_time,
    read_state,
)
from serving.model.state import write_state as really_write
from serving.model.stored import ARTIFACT, ModelError
from serving.settings import Settings
from serving.versions import commands
from serving.versions.commands import Versions
from serving.versions.deciding import By, VersionsError
from tests.unit.fakes import SignEstimator
from tests.unit.model.saved import rewrite_description, stored
from tests.unit.samples import description, number, text
from tests.unit.versions.machines import DRAINS, ENDS, REFUSES, SILENT, TAKES, Machine

BY = By("ann@host", datetime(2026, 1, 2, tzinfo=UTC), "trained again")


class Desk:
    """A model with three versions, servers, and the command."""

    def __init__(self, folder: Path, name: str) -> None:
        """Take where the state is kept, and a name that no other test has."""
        self.file = folder / "serving.json"
        self.machine = Machine(self.file)
        self.name = name
        self.told: list[str] = []
        self.settings: dict[str, Any] = {"state_file": self.file}
        self.versions = [self.save() for _ in range(3)]

    def save(self, **changes: Any) -> str:  # noqa: ANN401 (any field)
        """Save one more version."""
        described = description(**{"name": self.name} | changes)
        return str(stored(SignEstimator(), described).tag.version)

    def model(self, version: str) -> bentoml.Model:
        """Give a version of the store."""
        return bentoml.models.get(self.tag(version))

    def tag(self, version: str) -> str:
        """Name a version."""
        return f"{self.name}:{version}"

    @property
    def first(self) -> Path:
        """Where the letters of the first server are."""
        return self.file.parent / "letters-100"

    def command(self, **options: Any) -> Versions:  # noqa: ANN401 (any option)
        """Give the command."""
        settings = Settings(**self.settings)
        return Versions(settings, BY, self.machine.watch, self.told.append, **options)

    def wanted(self) -> ModelState:
        """Give what is wanted now."""
        return read_state(self.file).of(self.name)

    def history(self) -> list[tuple[str, str | None, str | None]]:
        """Give what was decided."""
        return [(each.action, each.before, each.after) for each in self.wanted().history]


@pytest.fixture
def desk(tmp_path: Path, request: pytest.FixtureRequest) -> Desk:
    """Give a model of its own for each test."""
    return Desk(tmp_path, f"m{abs(hash(request.node.name))}")


# What is promoted


def test_a_version_is_promoted_where_no_server_runs_and_the_next_takes_it_up(desk: Desk) -> None:
    old, new, newest = desk.versions
    desk.command().promote(desk.tag(new))
    assert desk.wanted().promoted == (newest, new)
    assert desk.told == [
        f"clients of {desk.tag(newest)} would notice nothing",
        f"{desk.tag(new)} is {desk.name}@champion",
        f"no server is running on this machine with {desk.file}: the next one to start takes it up",
    ]
    desk.settings["model"] = desk.tag(old)  # which the next one would have served
    desk.command().promote(desk.tag(newest))
    assert desk.wanted().promoted == (newest, old, new, newest)


def test_a_server_that_serves_already_what_is_promoted_is_said_to_serve_it(desk: Desk) -> None:
    old, *_ = desk.versions
    desk.machine.serve(desk.name, **{desk.name: old})
    desk.command().promote(desk.tag(old))
    assert desk.told == [f"{desk.tag(old)} is {desk.name}@champion", "server 100 serves it"]


def test_servers_take_what_is_promoted_and_others_go_on(desk: Desk) -> None:
    old, new, newest = desk.versions
    desk.machine.serve(desk.name, **{desk.name: old})
    desk.machine.serve("other", other="x")
    desk.command().alias(f"{desk.name}@next", desk.tag(old))
    desk.machine.serve(f"{desk.name}@next", **{desk.name: old})
    desk.command().promote(desk.tag(new))
    assert desk.told[-3:] == [
        f"{desk.tag(new)} is {desk.name}@champion",
        "server 100 serves it",
        f"server 300 goes on with {desk.tag(old)}",
    ]
    assert desk.history() == [("alias next", None, old), ("promote", old, new)]
    desk.command().promote(f"{desk.name}:latest")
    assert desk.wanted().promoted == (old, new, newest)
    assert [each.models for each in desk.machine.servers.values()] == [
        {desk.name: newest},
        {"other": "x"},
        {desk.name: old},
    ]


def test_a_server_whose_settings_name_a_version_takes_what_is_promoted_over_it(desk: Desk) -> None:
    old, new, _ = desk.versions
    desk.machine.serve(desk.tag(old), **{desk.name: old})
    desk.command().promote(desk.tag(new))
    assert desk.machine.servers[desk.first].models == {desk.name: new}


def test_what_is_the_champion_already_is_told(desk: Desk) -> None:
    old, new, _ = desk.versions
    desk.machine.serve(desk.name, **{desk.name: old})
    desk.command().promote(desk.tag(new))
    desk.command().promote(f"{desk.name}@champion")
    assert desk.told[-1] == f"{desk.tag(new)} is the champion already"
    assert len(desk.wanted().history) == 1


def test_what_a_server_has_not_taken_can_be_promoted_once_more(desk: Desk) -> None:
    old, new, _ = desk.versions
    really_write(desk.file, State(models={desk.name: ModelState(promoted=(old, new))}))
    desk.machine.serve(desk.name, **{desk.name: old})
    desk.command().promote(desk.tag(new))
    assert desk.machine.servers[desk.first].models == {desk.name: new}
    assert desk.wanted().promoted == (old, new)


# What is refused before anything is written


def damage(model: bentoml.Model) -> None:
    """Change a file of a version."""
    with (Path(model.path) / ARTIFACT).open("ab") as file:
        file.write(b"\0")


@pytest.mark.parametrize("verb", ["promote", "alias", "shadow"])
def test_what_can_t_be_served_is_refused_before_anything_is_written(desk: Desk, verb: str) -> None:
    old, new, _ = desk.versions
    desk.machine.serve(desk.name, **{desk.name: old})

    def do(version: str) -> None:
        match verb:
            case "promote":
                desk.command().promote(desk.tag(version))
            case "alias":
                desk.command().alias(f"{desk.name}@next", desk.tag(version))
            case _:
                desk.command().shadow(desk.tag(version), 100)

    damage(desk.model(new))
    with pytest.raises(ModelError, match="is damaged: saved_model"):
        do(new)
    with pytest.raises(ModelError, match=f"{old[:-1]} is not in the model store"):
        do(old[:-1])
    with pytest.raises(ModelError, match=rf"no {desk.name}@other"):
        desk.command().promote(f"{desk.name}@other")
    assert not desk.file.exists()


def test_what_would_break_clients_is_told_and_refused_unless_it_may(desk: Desk) -> None:
    old = desk.versions[-1]
    features = (number("length"), number("a/b ~c"), text("note"))
    new = desk.save(features=features, classes=("ham", "spam", "x"))
    desk.machine.serve(desk.name, **{desk.name: old})
    told = "would break clients .feature 'note' has to be given; classes that are new: \"x\".: "
    with pytest.raises(VersionsError, match=f"{told}--breaking lets it"):
        desk.command().promote(desk.tag(new))
    assert desk.told == [
        f"clients of {desk.tag(old)} would notice:",
        "  breaking: feature 'note' has to be given",
        '  breaking: classes that are new: "x"',
    ]
    assert not desk.file.exists()
    desk.command().promote(desk.tag(new), may_break=True)
    assert desk.wanted().promoted == (old, new)


def test_beside_what_is_gone_from_the_store_nothing_is_called_harmless(desk: Desk) -> None:
    old, new, _ = desk.versions
    desk.machine.serve(desk.name, **{desk.name: old})
    bentoml.models.delete(desk.tag(old))
    with pytest.raises(VersionsError, match="what they would notice can't be told: model "):
        desk.command().promote(desk.tag(new))


def test_a_worse_version_is_refused_if_a_margin_is_given(desk: Desk) -> None:
    old = desk.versions[-1]
    split = description().metrics.split
    new = desk.save(metrics=Metrics(split=split, values={"accuracy": 0.5}, dummy={}))
    desk.machine.serve(desk.name, **{desk.name: old})
    with pytest.raises(VersionsError, match="not promoted: it is worse by more than 0"):
        desk.command().promote(desk.tag(new), margin=0.125)
    assert not desk.file.exists()
    desk.command().promote(desk.tag(new), margin=0.25)
    assert desk.wanted().promoted == (old, new)


def test_what_is_only_a_warning_is_a_note(desk: Desk) -> None:
    new = desk.versions[1]
    rewrite_description(desk.model(new), requirements=["numpy==0.0.1"])
    desk.command().promote(desk.tag(new))
    assert desk.told[0].startswith(f"note: model {desk.tag(new)} was fitted with numpy==0.0.1")


def test_nobody_else_changes_the_state_meanwhile(desk: Desk) -> None:
    with one_at_a_time(desk.file), pytest.raises(StateError, match="by another command: try again"):
        desk.command().promote(desk.tag(desk.versions[0]))


# What is taken back


@pytest.mark.parametrize(
    ("fate", "reason"),
    [
        (REFUSES, "server 100 has refused it: a new worker ended with 1"),
        (SILENT, "server 100 did not do it within 7 s"),
        (ENDS, "server 100 ended meanwhile"),
    ],
)
def test_what_a_server_does_not_take_is_taken_back(desk: Desk, fate: str, reason: str) -> None:
    old, new, _ = desk.versions
    desk.machine.serve(desk.name, **{desk.name: old}, fate=fate)
    with pytest.raises(VersionsError) as caught:
        desk.command(patience_s=7).promote(desk.tag(new))
    assert str(caught.value) == f"{desk.tag(new)} does not serve, all is as before: {reason}"
    assert desk.wanted().promoted == ()
    assert desk.history() == [("promote", old, new), ("refused", new, old)]
    assert desk.wanted().history[-1].why == reason
    assert read_state(desk.file).revision == 2


def test_of_two_servers_one_that_ends_has_no_say_and_one_that_refuses_has(desk: Desk) -> None:
    old, new, newest = desk.versions
    desk.machine.serve(desk.name, **{desk.name: old})
    desk.machine.serve(desk.name, **{desk.name: old}, fate=ENDS)
    desk.command().promote(desk.tag(new))
    assert desk.wanted().promoted == (old, new)
    desk.machine.serve(desk.name, **{desk.name: new}, fate=REFUSES)
    with pytest.raises(VersionsError, match="server 200 has refused it"):
        desk.command().promote(desk.tag(newest))
    assert desk.wanted().promoted == (old, new)


def test_who_waits_does_so_until_no_old_worker_is_left(desk: Desk) -> None:
    old, new, newest = desk.versions
    desk.machine.serve(desk.name, **{desk.name: old}, fate=DRAINS)
    desk.command().promote(desk.tag(new))
    assert desk.wanted().promoted == (old, new)
    with pytest.raises(VersionsError, match="server 100 did not do it within"):
        desk.command(waits=True).promote(desk.tag(newest))
    assert desk.machine.now_s > Settings().start_timeout_s


def test_who_gives_up_leaves_all_as_before(desk: Desk) -> None:
    old, new, _ = desk.versions
    desk.machine.serve(desk.name, **{desk.name: old}, fate=SILENT)

    def interrupt() -> None:
        raise KeyboardInterrupt

    desk.machine.happens = interrupt
    with pytest.raises(KeyboardInterrupt):
        desk.command().promote(desk.tag(new))
    assert desk.wanted().promoted == ()
    assert desk.wanted().history[-1].why == "interrupted"


@pytest.mark.parametrize("others", [None, State(revision=77)])
def test_what_others_have_written_meanwhile_is_not_taken_back(
    desk: Desk, others: State | None
) -> None:
    old, new, newest = desk.versions
    desk.machine.serve(desk.name, **{desk.name: old}, fate=SILENT)
    desk.machine.happens = lambda: (
        desk.file.unlink(missing_ok=True) if others is None else really_write(desk.file, others)
    )
    really_write(desk.file, State(revision=1, models={desk.name: ModelState(promoted=(newest,))}))
    with pytest.raises(VersionsError, match="was changed by others meanwhile"):
        desk.command(patience_s=7).promote(desk.tag(new))
    assert read_state(desk.file) == (others or State())


def test_a_state_that_can_t_be_written_changes_nothing_or_is_told(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, _ = desk.versions
    desk.machine.serve(desk.name, **{desk.name: old}, fate=REFUSES)
    writes: list[Callable[[Path, State], None]] = [really_write]

    def write(file: Path, state: State) -> None:
        if not writes:
            raise StateError(f"{file} can't be written (No space left on device)")
        writes.pop()(file, state)

    monkeypatch.setattr(commands, "write_state", write)
    with pytest.raises(VersionsError) as caught:
        desk.command().promote(desk.tag(new))
    assert "a new worker ended with 1; and the state can't be taken back" in str(caught.value)
    assert "No space left" in str(caught.value)
    assert desk.wanted().promoted == (old, new)
    with pytest.raises(StateError, match="No space left"):
        desk.command().promote(desk.tag(new))


# The way back


def test_a_rollback_is_told_but_not_asked_about(desk: Desk) -> None:
    old = desk.versions[-1]
    new = desk.save(features=(number("length"),))
    desk.machine.serve(desk.name, **{desk.name: old})
    desk.command().promote(desk.tag(new), may_break=True)
    desk.command().rollback(desk.name)
    assert "  breaking: feature 'a/b ~c' has to be given" in desk.told
    assert desk.machine.servers[desk.first].models == {desk.name: old}
    with pytest.raises(VersionsError, match="can't be rolled back"):
        desk.command().rollback(desk.name)


@pytest.mark.parametrize("is_gone", [True, False])
def test_there_is_no_way_back_to_what_can_t_be_served(desk: Desk, is_gone: bool) -> None:
    old, new, _ = desk.versions
    desk.machine.serve(desk.name, **{desk.name: old})
    desk.command().promote(desk.tag(new))
    if is_gone:
        bentoml.models.delete(desk.tag(old))
    else:
        damage(desk.model(old))
    before = desk.wanted()
    with pytest.raises(ModelError, match="is not in the model store" if is_gone else "is damaged"):
        desk.command().rollback(desk.name)
    assert desk.wanted() == before


# Aliases


def test_an_alias_that_nobody_serves_is_given_and_taken(desk: Desk) -> None:
    old = desk.versions[0]
    new = desk.save(features=(number("length"),))
    for version in (old, new):  # which would break clients, if there were any
        desk.command().alias(f"{desk.name}@next", desk.tag(version))
        assert desk.wanted().aliases == {"next": version}
    desk.command().alias(f"{desk.name}@next", None)
    assert desk.wanted().aliases == {}
    assert desk.told[-1] == f"{desk.name}@next is gone"


def test_servers_of_an_alias_take_what_it_stands_for(desk: Desk) -> None:
    old, new, _ = desk.versions
    alias = f"{desk.name}@next"
    desk.command().alias(alias, desk.tag(old))
    desk.machine.serve(alias, **{desk.name: old})
    desk.command().alias(alias, desk.tag(new))
    assert desk.machine.servers[desk.first].models == {desk.name: new}
    with pytest.raises(VersionsError, match=f"server 100 serves {alias}"):
        desk.command().alias(alias, None)
    desk.machine.fates[desk.first] = REFUSES
    with pytest.raises(VersionsError, match="has refused it"):
        desk.command().alias(alias, desk.tag(old))
    assert desk.wanted().aliases == {"next": new}
    desk.machine.fates[desk.first] = TAKES
    other = desk.save(classes=("ham", "x"))
    with pytest.raises(VersionsError, match="would break clients"):
        desk.command().alias(alias, desk.tag(other))


# Shadows


def test_a_shadow_is_another_version_of_the_same_contract(desk: Desk) -> None:
    old, new, _ = desk.versions
    desk.machine.serve(desk.name, **{desk.name: old})
    with pytest.raises(VersionsError, match="is what answers: it can't shadow itself"):
        desk.command().shadow(desk.tag(old), 100)
    other = desk.save(features=(number("length"),))
    with pytest.raises(VersionsError, match="it has other features: 'a/b ~c' is no feature"):
        desk.command().shadow(desk.tag(other), 100)
    assert not desk.file.exists()
    desk.machine.servers.clear()
    desk.settings["model"] = desk.tag(old)
    desk.command().shadow(desk.tag(new), 25)
    assert desk.told[-1].startswith("no server is running on this machine")
    shadow = desk.wanted().shadow
    assert shadow is not None
    assert (shadow.version, shadow.share) == (new, 25)
    desk.command().stop(desk.name)
    assert desk.wanted().shadow is None
    with pytest.raises(VersionsError, match="has no shadow"):
        desk.command().stop(desk.name)


@pytest.mark.parametrize(
    ("state", "reason"),
    [("running", ""), ("refused", "it can't be unpickled"), ("starting", "it ended with 3")],
)
def test_a_shadow_is_waited_for_and_taken_back_where_a_worker_can_t_have_it(
    desk: Desk, state: Literal["running", "refused", "starting"], reason: str
) -> None:
    old, new, newest = desk.versions
    folder = desk.machine.serve(desk.name, **{desk.name: old})
    workers = {str(os.getpid()): {desk.name: old}}
    desk.machine.servers[folder] = desk.machine.servers[folder].model_copy(
        update={"workers": workers}
    )
    desk.command().alias(f"{desk.name}@next", desk.tag(new))
    desk.machine.serve(f"{desk.name}@next", **{desk.name: new})  # which it can't shadow
    stale = ShadowLetter(
        worker=os.getpid(), revision=1, model=desk.name, version=new, state="running"
    )
    told = [
        stale,
        stale.model_copy(update={"revision": 2, "state": "starting"}),
        stale.model_copy(update={"revision": 2, "state": state, "reason": reason}),
    ]
    desk.machine.happens = lambda: Letters(folder).tell_shadow(told.pop(0))
    if not reason:
        desk.command().shadow(desk.tag(new), 100)
        assert desk.told[-2:] == [
            f"{desk.tag(new)} is the shadow of {desk.name}",
            "server 100 asks it, too",
        ]
        desk.machine.happens = lambda: None
        with pytest.raises(
            VersionsError, match="server 100 and server 200 did not do it within 5 s"
        ):
            desk.command(patience_s=5).shadow(desk.tag(newest), 50)
        assert desk.wanted().shadow == Shadow(version=new, share=100)
        return
    with pytest.raises(VersionsError) as caught:
        desk.command().shadow(desk.tag(new), 100)
    why = f"server 100 can't have it: {reason}"
    assert str(caught.value) == f"{desk.tag(new)} is no shadow, all is as before: {why}"
    assert desk.wanted().shadow is None
    assert desk.history()[1:] == [("shadow", None, new), ("refused", new, None)]


def test_what_shadowed_and_is_promoted_shadows_no_more(desk: Desk) -> None:
    old, new, _ = desk.versions
    desk.command().shadow(desk.tag(new), 100)
    desk.command().promote(desk.tag(old))
    assert desk.wanted().shadow is not None
    desk.command().promote(desk.tag(new))
    assert desk.wanted().shadow is None
    desk.command().shadow(desk.tag(old), 100)
    desk.command().rollback(desk.name)
    assert desk.wanted().shadow is None


def test_who_interrupts_before_anything_is_written_leaves_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "write_state", interrupted)
    with pytest.raises(KeyboardInterrupt):
        desk.command().promote(desk.tag(desk.versions[0]))
    assert not desk.file.exists()
