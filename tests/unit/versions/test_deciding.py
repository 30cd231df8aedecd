"""What becomes of the desired state, and what can't be decided."""

from datetime import UTC, datetime
from typing import Any

import pytest

from serving.model.description import Description, Metrics
from serving.model.state import Change, ModelState, Shadow, State
from serving.versions.deciding import (
    MAX_HISTORY,
    MAX_PROMOTED,
    By,
    VersionsError,
    alias,
    promote,
    rollback,
    shadow,
    taken_back,
    why_not_again,
    why_worse,
)
from tests.unit.samples import (
    boolean,
    description,
    number,
    outlier_detection,
    regression,
)

BY = By("ann@host", datetime(2026, 1, 2, tzinfo=UTC), "trained again")
LENGTH, COLOURS = number("length"), boolean("colours")


def of(*promoted: str, **more: Any) -> State:  # noqa: ANN401 (any field)
    """Give a state in which these were promoted."""
    return State(revision=7, models={"mail": ModelState(promoted=promoted, **more)})


@pytest.mark.parametrize(
    ("promoted", "served", "expected"),
    [
        ((), ["a"], ("a", "new")),
        ((), ["new"], ("new",)),
        ((), ["a", "b"], ("a", "b", "new")),  # by two servers, which found the newest then
        (("a", "b"), ["b"], ("a", "b", "new")),
        (("a", "b"), ["x", "b"], ("a", "x", "b", "new")),  # one server's settings name x
        (("a", "b"), ["x"], ("a", "b", "x", "new")),
        (("a", "new"), ["a"], ("a", "new")),  # which a server has not taken yet
        (("new", "b"), ["b"], ("new", "b", "new")),
    ],
    ids=str,
)
def test_what_is_promoted_over_comes_to_stand_on_the_way_back(
    promoted: tuple[str, ...], served: list[str], expected: tuple[str, ...]
) -> None:
    after = promote(of(*promoted), "mail", "new", served, BY)
    assert after.of("mail").promoted == expected
    assert after.revision == 8
    assert after.of("mail").of_alias("champion") == "new"


def test_a_rollback_goes_one_step_back_at_a_time_and_no_further() -> None:
    state = of()
    for version in ("b", "c"):
        state = promote(state, "mail", version, ["a" if version == "b" else "b"], BY)
    for version in ("b", "a"):
        state = rollback(state, "mail", BY)
        assert state.of("mail").promoted[-1] == version
    with pytest.raises(VersionsError, match="mail can't be rolled back: mail:a is the first"):
        rollback(state, "mail", BY)
    with pytest.raises(VersionsError, match="nothing was promoted"):
        rollback(State(), "mail", BY)
    assert [(each.action, each.before, each.after) for each in state.of("mail").history] == [
        ("promote", "a", "b"),
        ("promote", "b", "c"),
        ("rollback", "c", "b"),
        ("rollback", "b", "a"),
    ]


def test_the_way_back_is_bounded_but_its_beginning_stays() -> None:
    state = of("first")
    for number_ in range(2 * MAX_PROMOTED):
        state = promote(state, "mail", f"v{number_}", state.of("mail").promoted[-1:], BY)
    promoted = state.of("mail").promoted
    assert len(promoted) == MAX_PROMOTED
    assert (promoted[0], promoted[-1]) == ("first", f"v{2 * MAX_PROMOTED - 1}")
    assert len(state.of("mail").history) <= MAX_HISTORY


def test_history_is_bounded_and_tells_who_when_and_why() -> None:
    state = State()
    for at in range(MAX_HISTORY + 1):
        state = alias(state, "mail", "next", f"v{at}", BY)
    history = state.of("mail").history
    assert len(history) == MAX_HISTORY
    assert history[-1] == Change(
        time=BY.time,
        action="alias next",
        before=f"v{MAX_HISTORY - 1}",
        after=f"v{MAX_HISTORY}",
        who="ann@host",
        why="trained again",
    )


def test_an_alias_is_moved_and_removed_but_not_the_champion_s() -> None:
    state = alias(of("a"), "mail", "next", "b", BY)
    assert state.of("mail").aliases == {"next": "b"}
    assert alias(state, "mail", "next", None, BY).of("mail").aliases == {}
    with pytest.raises(VersionsError, match="there is no mail@other"):
        alias(state, "mail", "other", None, BY)
    with pytest.raises(VersionsError, match="is what was promoted last: `promote` moves it"):
        alias(state, "mail", "champion", "b", BY)


def test_a_shadow_begins_changes_and_ends() -> None:
    state = shadow(of("a"), "mail", Shadow(version="b", share=10), BY)
    state = shadow(state, "mail", Shadow(version="c"), BY)
    assert state.of("mail").shadow == Shadow(version="c", share=100)
    state = shadow(state, "mail", None, BY)
    assert state.of("mail").shadow is None
    with pytest.raises(VersionsError, match="mail has no shadow"):
        shadow(state, "mail", None, BY)
    assert [each.action for each in state.of("mail").history] == ["shadow", "shadow", "stop"]


def test_what_is_taken_back_leaves_all_as_it_was_and_is_told_in_history() -> None:
    before = of("a", aliases={"next": "b"}, shadow=Shadow(version="s"))
    after = promote(before, "mail", "b", ["a"], BY)
    back = taken_back(after, "mail", before.of("mail"), "it hangs", BY)
    assert back.revision == after.revision + 1
    told = back.of("mail").history
    assert back.of("mail") == before.of("mail").model_copy(update={"history": told})
    assert [(each.action, each.before, each.after, each.why) for each in told] == [
        ("promote", "a", "b", "trained again"),
        ("refused", "b", "a", "it hangs"),
    ]
    assert State.model_validate_json(back.model_dump_json()) == back


def test_other_models_stay_as_they_are() -> None:
    other = ModelState(promoted=("x",))
    state = State(revision=1, models={"other": other})
    assert promote(state, "mail", "b", ["a"], BY).of("other") == other


# Scores


def scored(
    split: str = "held out: 3 of 12 rows, stratified, seed 42",
    of: Description | None = None,
    **values: float,
) -> Description:
    """Describe a model with these scores."""
    metrics = Metrics(split=split, values=values, dummy={})
    return (of or description()).model_copy(update={"metrics": metrics})


@pytest.mark.parametrize(
    ("old", "new", "margin", "reason"),
    [
        (scored(accuracy=0.75), scored(accuracy=0.75), 0, ""),
        (scored(accuracy=0.75), scored(accuracy=0.875), 0, ""),
        (scored(accuracy=0.75), scored(accuracy=0.5), 0.25, ""),
        (
            scored(accuracy=0.75),
            scored(accuracy=0.5),
            0.125,
            "it is worse by more than 0.125: accuracy 0.5, before 0.75",
        ),
        (
            scored(of=regression("y"), mean_absolute_error=1),
            scored(of=regression("y"), mean_absolute_error=2),
            0.5,
            "it is worse by more than 0.5: mean_absolute_error 2, before 1",
        ),
        (scored(log_loss=2), scored(log_loss=1), 0, ""),
        (
            scored(accuracy=0.75),
            scored("held out: 9 of 36 rows, stratified, seed 1", accuracy=0.75),
            0,
            "",
        ),
        (
            scored(accuracy=0.75),
            scored("12 rows of the reference, which may be those", accuracy=0.75),
            9,
            "its score can't be compared: one is of rows 'held out: 3 of 12 rows, stratified, seed "
            "42', the other of '12 rows of the reference, which may be those'",
        ),
        (
            scored(accuracy=0.75),
            scored(f1_macro=0.75),
            9,
            "its score can't be compared: of these versions there are accuracy and f1_macro",
        ),
        (
            scored(accuracy=0.75),
            scored(),
            9,
            "its score can't be compared: of these versions there are accuracy and none",
        ),
        (
            scored(of=outlier_detection(), outlier_share=0.1),
            scored(of=outlier_detection(), outlier_share=0.1),
            9,
            "its score can't be compared: of these versions there are outlier_share and "
            "outlier_share",
        ),
        (
            scored(of=regression("y"), r2=1),
            scored(of=regression("z"), r2=1),
            9,
            "its score can't be compared: it predicts something else",
        ),
    ],
)
def test_a_version_is_held_against_the_score_of_another(
    old: Description, new: Description, margin: float, reason: str
) -> None:
    assert why_worse(old, new, margin) == reason


# Shadows


def test_what_answers_is_no_shadow_any_more() -> None:
    asked = Shadow(version="new", share=20.0)
    assert promote(of("a", shadow=asked), "mail", "new", ["a"], BY).of("mail").shadow is None
    assert promote(of("a", shadow=asked), "mail", "b", ["a"], BY).of("mail").shadow == asked


def test_what_a_person_has_replaced_a_person_alone_promotes_again() -> None:
    state = promote(of("a"), "mail", "new", ["a"], BY)
    assert why_not_again(state, "mail", "new") == ""
    state = rollback(state, "mail", BY)
    told = "ann@host has rolled it back, at 2026-01-02 00:00"
    assert why_not_again(state, "mail", "new") == told
    assert why_not_again(state, "mail", "a") == why_not_again(state, "mail", "other") == ""
    state = promote(state, "mail", "new", ["a"], BY)
    assert why_not_again(state, "mail", "new") == ""
    state = promote(state, "mail", "a", ["new"], BY)
    told = "ann@host has promoted a over it, at 2026-01-02 00:00"
    assert why_not_again(state, "mail", "new") == told
