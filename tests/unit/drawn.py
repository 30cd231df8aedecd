"""What hypothesis draws for several test files: any JSON, any feature, values that are near it."""

import math
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from serving.model.domains import Choices, Frequencies, Lengths
from serving.model.features import Feature, Number
from tests.unit.samples import (
    LIMIT,
    boolean,
    category,
    closed_category,
    integer,
    number,
    text,
    unknown,
)

NAMES = ("length", "a/b ~c", "ünï")
WORDS = ("", "red", "blue", "a longer word", "ünï")

_leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3)
)
json_values: st.SearchStrategy[Any] = (
    _leaves
    | st.lists(_leaves, max_size=4)
    | st.dictionaries(st.sampled_from([*NAMES, "data", "~"]), _leaves, max_size=3)
)
_words = st.lists(st.sampled_from(WORDS), unique=True, max_size=3).map(tuple)


def _intervals(
    ends: st.SearchStrategy[float],
) -> st.SearchStrategy[tuple[tuple[float, float], tuple[float, float]]]:
    """Draw a range seen in training, within a domain."""

    def nested(four: list[float]) -> tuple[tuple[float, float], tuple[float, float]]:
        low, first, last, high = sorted(four)
        return (first, last), (low, high)

    return st.lists(ends, min_size=4, max_size=4).map(nested)


def features(name: str = "x") -> st.SearchStrategy[Feature]:
    """Draw a feature of any type; of some it is not known what training saw."""
    drawn = st.tuples(_known_features(name), st.integers(0, 3))
    return drawn.map(lambda one: one[0] if one[1] else unknown(one[0]))


@st.composite
def _known_features(draw: st.DrawFn, name: str) -> Feature:
    nullable = draw(st.booleans())
    kind = draw(
        st.sampled_from(["number", "integer", "codes", "boolean", "category", "closed", "text"])
    )
    match kind:
        case "number":
            trained, domain = draw(_intervals(st.floats(-LIMIT, LIMIT) | st.integers(-9, 9)))
            return number(name, trained, domain, nullable=nullable)
        case "integer":
            wide = st.sampled_from([-(2**53), 2**53])
            trained, domain = draw(_intervals(st.integers(-9, 9) | wide))
            return integer(name, trained, domain, nullable=nullable)
        case "codes":
            known = tuple(sorted(draw(st.sets(st.integers(-9, 9), min_size=1, max_size=4))))
            codes = integer(name, (known[0], known[-1]), (-LIMIT, LIMIT), nullable=nullable)
            rare = len(known) - draw(st.integers(0, len(known)))
            closed = {"domain": Choices(values=known[: len(known) - rare], rare=rare)}
            return codes.model_copy(update={"known": known} | draw(st.sampled_from([{}, closed])))
        case "boolean":
            counts = {"false": draw(st.integers(0, 1)), "true": 4}
            trained_ = Frequencies(categories=counts, rare_categories=0, rare_rows=0)
            return boolean(name, nullable=nullable).model_copy(update={"trained": trained_})
        case "category":
            limit = draw(st.integers(0, 15))
            seen = tuple(word for word in draw(_words) if len(word) <= limit)
            domain_ = Lengths(min_length=0, max_length=limit)
            return category(name, seen, domain_, nullable=nullable)
        case "closed":
            values = draw(_words.filter(bool))
            return closed_category(name, values, values[: draw(st.integers(0, 3))])
    lengths = sorted(draw(st.lists(st.integers(0, 15), min_size=4, max_size=4)))
    return text(name, (lengths[1], lengths[2]), (lengths[0], lengths[3]), nullable=nullable)


@st.composite
def near(draw: st.DrawFn, feature: Feature) -> Any:  # noqa: ANN401 (any JSON)
    """Draw a value that a feature takes, or nearly takes, and now and then anything."""
    match draw(st.sampled_from(["as it is", "near", "near", "near", "any"])):
        case "as it is":
            return feature.example
        case "any":
            return draw(json_values)
    if isinstance(feature, Number):
        ends = [
            end
            for interval in (feature.trained, feature.bounds)
            if interval is not None
            for end in interval.ends
        ]
        beyond = [math.nextafter(end, way) for end in ends for way in (-math.inf, math.inf)]
        whole = [int(end) + step for end in ends for step in (-1, 0, 1)]
        some = st.sampled_from([*ends, *beyond, *whole])
        return draw(some | st.integers(-10, 10) | st.integers(-10, 10).map(float))
    if feature.type == "boolean":
        return draw(st.booleans())
    return draw(st.sampled_from(WORDS) | st.text(max_size=16))


@st.composite
def instances(draw: st.DrawFn, of: Sequence[Feature], more: Sequence[str] = ("x",)) -> Any:  # noqa: ANN401 (any JSON)
    """Draw an instance by place or by name, with little wrong, and now and then with more names."""
    form = draw(st.sampled_from(["by place", "by place", "by name", "by name", "any"]))
    if form == "any":
        return draw(json_values)
    values = [draw(near(f)) if draw(st.integers(0, 2)) == 0 else f.example for f in of]
    if form == "by place":
        return values[: draw(st.sampled_from([len(of), len(of), len(of) - 1]))]
    named = {feature.name: value for feature, value in zip(of, values, strict=True)}
    others = st.dictionaries(st.sampled_from([*named, *more]), json_values, max_size=1)
    return draw(others) | named if draw(st.booleans()) else named | draw(others)
