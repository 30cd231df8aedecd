"""What clients would notice of another version, held against what is really taken and answered."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.model.changes import changes, why_no_shadow
from serving.model.description import Description, Explained
from serving.model.domains import Choices, Lengths
from serving.model.features import Feature, Number
from serving.model.rows import Rows
from serving.problems import Problem
from tests.unit.drawn import NAMES, features, instances, near
from tests.unit.model.saved import explained_by
from tests.unit.samples import (
    EACH_TASK,
    PROBABILITIES,
    SCORES,
    asked,
    boolean,
    category,
    closed_category,
    clustering,
    description,
    integer,
    number,
    outlier_detection,
    regression,
    several_labels,
    text,
)

EXPLAINED = explained_by(b"")
MORE = ("id", "kind")
CODES = integer("x", (1, 3)).model_copy(
    update={"known": (1, 2, 3), "domain": Choices(values=(1, 2), rare=1)}
)


def told(old: Description, new: Description) -> list[str]:
    """Give what is told, marked with `!` where it breaks."""
    return ["!" * noticed.breaking + noticed.text for noticed in changes(old, new)]


def of(*features: Feature, **more: Any) -> Description:  # noqa: ANN401 (any field)
    """Describe a model of these features."""
    return description(features=features, **more)


@pytest.mark.parametrize("task", EACH_TASK)
def test_of_the_same_model_trained_again_nothing_is_noticed(task: str) -> None:
    again = EACH_TASK[task].model_copy(update={"requirements": ("numpy",)})
    assert told(EACH_TASK[task], again) == []


# What is sent


@st.composite
def another(draw: st.DrawFn, feature: Feature) -> Feature:
    """Draw a feature that is like another but for one thing, or altogether another."""
    drawn = draw(features(feature.name))
    match draw(st.sampled_from(["it", "it", "name", "null", "type", "domain", "any"])):
        case "it":
            return feature
        case "name":
            return feature.model_copy(update={"name": "new"})
        case "null":
            return feature.model_copy(update={"nullable": not feature.nullable})
        case "type" if isinstance(feature, Number):
            kind = "number" if feature.type == "integer" else "integer"
            return feature.model_copy(update={"type": kind})
        case "domain" if isinstance(feature, Number) and isinstance(drawn, Number):
            some = draw(st.sampled_from([feature, drawn]))
            known = drawn.known if isinstance(some.domain, Choices) else feature.known
            return feature.model_copy(update={"domain": some.domain, "known": known})
    return drawn


@st.composite
def versions(draw: st.DrawFn) -> tuple[Description, Description]:
    """Draw two versions of a model, and give what they take."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=1, max_size=3))
    old = [draw(features(name)) for name in names]
    new = {feature.name: feature for feature in [draw(another(feature)) for feature in old]}
    order = list(new.values())
    match draw(st.sampled_from(["same", "same", "same", "other order", "one less"])):
        case "other order":
            order = draw(st.permutations(order))
        case "one less":
            order = order[:-1] or order
    ignored = st.lists(st.sampled_from([*MORE, *NAMES]), unique=True)
    left = [
        tuple(name for name in draw(ignored) if name not in {f.name for f in each})
        for each in (old, order)
    ]
    return of(*old, ignored=left[0]), of(*order, ignored=left[1])


def taken(description: Description, item: object) -> bool:
    """Tell whether a version takes an instance."""
    try:
        Rows(description.features, 1, description.ignored).one(item, ())
    except Problem:
        return False
    return True


@settings(max_examples=100)
@given(versions(), st.data())
def test_what_one_version_takes_and_another_refuses_is_never_called_harmless(
    drawn: tuple[Description, Description], data: st.DataObject
) -> None:
    old, new = drawn
    breaks = any(noticed.breaking for noticed in changes(old, new))
    for like in (old, new):
        for _ in range(4):
            item = data.draw(instances(like.features, (*MORE, *old.ignored)))
            if taken(old, item) and not taken(new, item):
                assert breaks, item


@settings(max_examples=400)
@given(features().flatmap(lambda old: st.tuples(st.just(old), another(old))), st.data())
def test_of_a_feature_all_that_it_takes_no_more_is_told(
    pair: tuple[Feature, Feature], data: st.DataObject
) -> None:
    old, new = pair
    noticed = changes(of(old), of(new.model_copy(update={"name": old.name})))
    breaks = any(each.breaking for each in noticed)
    for value in [*data.draw(st.lists(near(old) | near(new), min_size=6, max_size=6)), None]:
        if not old.mistake(value):
            assert breaks or not new.mistake(value), value
            if not noticed:
                assert bool(old.unlike(value)) == bool(new.unlike(value)), value


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            number("x", domain=(0, 9)),
            number("x", domain=(0, 8.5)),
            "!takes numbers from 0 to 8.5 (before: numbers from 0 to 9)",
        ),
        (
            number("x", domain=(0, 9)),
            number("x", domain=(-1, 9)),
            "takes numbers from -1 to 9 (before: numbers from 0 to 9)",
        ),
        (
            integer("x", domain=(0, 9)),
            number("x", domain=(0, 9)),
            "takes numbers from 0 to 9 (before: whole numbers from 0 to 9)",
        ),
        (
            number("x", domain=(0, 9)),
            integer("x", domain=(0, 9)),
            "!takes whole numbers from 0 to 9 (before: numbers from 0 to 9)",
        ),
        (
            integer("x", (1, 3), domain=(0, 9)),
            CODES,
            "!takes 1, 2 and 1 that few rows had (before: whole numbers from 0 to 9)",
        ),
        (
            integer("x", (1, 3), domain=(1, 3)),
            CODES.model_copy(update={"known": (1, 3), "domain": Choices(values=(1, 3), rare=0)}),
            "!takes 1, 3 (before: whole numbers from 1 to 3)",
        ),
        (
            CODES,
            integer("x", (1, 3), domain=(0, 9)),
            "takes whole numbers from 0 to 9 (before: 1, 2 and 1 that few rows had)",
        ),
        (
            text("x"),
            text("x", domain=(1, 40)),
            "!takes strings of 1 to 40 characters (before: strings of 0 to 30 characters)",
        ),
        (
            number("x", domain=(0, 9)),
            number("x", domain=(1, 99)),
            "!takes numbers from 1 to 99 (before: numbers from 0 to 9)",
        ),
        (
            number("x", domain=(-1e306, 1e306)),
            number("x", domain=(-1e37, 1e37)),
            "takes numbers from -1e+37 to 1e+37 (before: numbers from -1e+306 to 1e+306)",
        ),
        (
            number("x", domain=(-1e306, 1e306)),
            number("x", domain=(-1e35, 1e35)),
            "!takes numbers from -1e+35 to 1e+35 (before: numbers from -1e+306 to 1e+306)",
        ),
        (
            text("x"),
            text("x", nullable=True),
            "takes strings of 0 to 30 characters, or null (before: strings of 0 to 30 characters)",
        ),
        (
            boolean("x", nullable=True),
            boolean("x"),
            "!takes booleans (before: booleans, or null)",
        ),
        (
            category("x", domain=Lengths(min_length=0, max_length=30)),
            text("x"),
            "is of type text, not category",
        ),
        (
            boolean("x"),
            integer("x", domain=(0, 1)),
            "!takes whole numbers from 0 to 1 (before: booleans)",
        ),
        (
            closed_category("x", ("red", "blue", "rare")),
            closed_category("x", ("red", "blue", "seldom")),
            "!takes other rare values",
        ),
        (
            closed_category("x", ("red", "blue"), ("red", "blue")),
            closed_category("x", ("red", "blue", "green"), ("red", "blue", "green")),
            "takes red, blue, green (before: red, blue)",
        ),
    ],
)
def test_what_a_feature_takes_is_compared(old: Feature, new: Feature, expected: str) -> None:
    noticed = [line for line in told(of(old), of(new)) if "unlike those of training" not in line]
    mark = "!" * expected.startswith("!")
    assert noticed == [f"{mark}feature 'x' {expected.removeprefix('!')}"]


LENGTH, COUNT, FLAG = number("length"), integer("count"), boolean("flag")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (of(LENGTH), of(LENGTH, COUNT), ["!feature 'count' has to be given"]),
        (
            of(LENGTH, ignored=("count",)),
            of(LENGTH, COUNT),
            ["!feature 'count' has to be given, which was ignored"],
        ),
        (of(LENGTH, COUNT), of(LENGTH), ["!'count' is no feature any more"]),
        (
            of(LENGTH, COUNT),
            of(LENGTH, ignored=("count",)),
            ["!'count' is no feature any more; objects may go on naming it"],
        ),
        (of(COUNT), of(LENGTH), ["!feature 'count' is called 'length'"]),
        (
            of(COUNT),
            of(FLAG),
            ["!'count' is no feature any more", "!feature 'flag' has to be given"],
        ),
        (
            of(LENGTH, COUNT),
            of(COUNT, LENGTH),
            ["!arrays of values go by another order: count, length"],
        ),
        (
            of(LENGTH, ignored=("id",)),
            of(LENGTH, ignored=("day",)),
            [
                "!column 'id' is not ignored any more, but refused",
                "column 'day' may be sent, and is ignored",
            ],
        ),
        (
            of(LENGTH),
            of(number("length", trained=(1, 2))),
            ["warnings of values unlike those of training are others: length"],
        ),
        (
            of(CODES.model_copy(update={"domain": LENGTH.domain})),
            of(CODES.model_copy(update={"domain": LENGTH.domain, "known": (1, 3)})),
            ["warnings of values unlike those of training are others: x"],
        ),
    ],
)
def test_names_order_and_ignored_columns_are_compared(
    old: Description, new: Description, expected: list[str]
) -> None:
    assert told(old, new) == expected


# What is answered


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (description(), clustering(), ["!the task is clustering, not classification"]),
        (description(), description(name="post"), ["!it calls itself post, not mail"]),
        (regression("a", "b"), regression("b", "a"), ["!it predicts b, a, not a, b"]),
        (description(), description(("ham", "spam", "ünï")), ['!classes that are new: "ünï"']),
        (description(), description(("ham",)), ['classes that are answered no more: "spam"']),
        (
            description(asked=PROBABILITIES),
            description(("ham",), asked=PROBABILITIES),
            ['!classes that are answered no more: "spam"'],
        ),
        (
            description((0, 1)),
            description((False, 1)),
            ["!classes that are new: false", "classes that are answered no more: 0"],
        ),
        (
            description(asked=PROBABILITIES),
            description(("spam", "ham"), asked=PROBABILITIES),
            ['!classes stand in another order: "spam", "ham"'],
        ),
        (
            several_labels((0, 1), ("a", "b")),
            several_labels((0, 1), ("a", "c")),
            [
                '!classes of label 1 that are new: "c"',
                'classes of label 1 that are answered no more: "b"',
            ],
        ),
        (
            description(asked=PROBABILITIES),
            description(),
            ["!answers have no probabilities"],
        ),
        (description(), description(asked=SCORES), ["answers have scores by class, too"]),
        (
            description(asked=SCORES),
            description(asked=asked(scored_by="decision_function")),
            ["!answers have list of scores (before: scores by class)"],
        ),
        (
            outlier_detection(),
            outlier_detection(asked=asked()),
            ["!answers have no score"],
        ),
    ],
)
def test_answers_are_compared(old: Description, new: Description, expected: list[str]) -> None:
    noticed = told(old, new)
    if "!the task" in expected[0]:
        assert noticed[0] == expected[0]
    else:
        assert noticed == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (EXPLAINED, EXPLAINED.model_copy(update={"method": "linear", "rows": 9}), []),
        ("it is old", "a cluster is no number", []),
        ("it is old", EXPLAINED, ["predictions can be explained"]),
        (EXPLAINED, "it is slow", ["!predictions are not explained any more: it is slow"]),
        (
            EXPLAINED,
            explained_by(b"", output="log-odds"),
            ["explanations are of the log-odds (before: probability)"],
        ),
        (
            EXPLAINED,
            explained_by(b"", method="sampled", exact=False),
            ["contributions are estimates, with standard errors"],
        ),
    ],
)
def test_explanations_are_compared(
    old: Explained | str, new: Explained | str, expected: list[str]
) -> None:
    assert told(description(explained=old), description(explained=new)) == expected


# What may be asked beside another


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        (of(number("length"), boolean("new")), ""),
        (of(integer("length"), boolean("new")), ""),
        (of(boolean("new"), number("length")), ""),
        (description(("other", "classes"), (number("length"), boolean("new"))), ""),
        (of(number("length")), "it has other features: 'new' is no feature any more"),
        (
            of(number("length"), text("new")),
            "it has other features: feature 'new' takes strings of 0 to 30 characters "
            "(before: booleans)",
        ),
        (regression("kind", features=(number("length"), boolean("new"))), "it has another task"),
        (of(number("length"), boolean("new"), targets=("x",)), "it has other targets"),
    ],
)
def test_a_shadow_is_asked_for_the_same_and_answers_the_same(new: Description, reason: str) -> None:
    assert why_no_shadow(of(number("length"), boolean("new")), new) == reason
