"""What clients would notice if another version answered: what they may send, and what they get.

A difference is breaking if what was right to send would be refused, or taken for something else, or
if an answer would lack what it had, or hold what no client can know. `serving.model.rows` is what
accepts, by name and by position; whether a body that one version takes is refused by another is
found by asking the features themselves.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from math import ceil, floor
from typing import NamedTuple

from serving.model.description import Description, Explained, Label
from serving.model.domains import Choices, Interval, Lengths
from serving.model.features import MAX_TOLD, Feature, Number, Value

# Beyond this the arithmetic of estimators ends, elsewhere with each training (floats of 32 bits at
# 3e38); nobody sends such numbers.
FAR = 1e36
_OF_JSON = {"integer": "number", "category": "string", "text": "string"}


class Noticed(NamedTuple):
    """Something that a client would notice, and whether it may break it."""

    text: str
    breaking: bool


def changes(old: Description, new: Description) -> list[Noticed]:
    """Tell all that a client of one version would notice of another, what breaks first."""
    told = [*_asked(old, new), *_sent(old, new), *_answered(old, new)]
    return sorted(told, key=lambda noticed: not noticed.breaking)


def why_no_shadow(old: Description, new: Description) -> str:
    """Tell why a version can't be asked for the rows of another, by name, and compared."""
    if old.task != new.task:
        return "it has another task"
    if old.targets != new.targets:
        return "it has other targets"
    mine, its = ({f.name: _json_type(f) for f in each.features} for each in (old, new))
    if mine != its:
        told = [noticed.text for noticed in _sent(old, new) if noticed.breaking]
        return f"it has other features: {'; '.join(told)}"
    return ""


def _json_type(feature: Feature) -> str:
    """Name the JSON type of a feature's values."""
    return _OF_JSON.get(feature.type, feature.type)


def _asked(old: Description, new: Description) -> Iterator[Noticed]:
    if old.name != new.name:
        yield Noticed(f"it calls itself {new.name}, not {old.name}", breaking=True)
    if old.task != new.task:
        yield Noticed(f"the task is {new.task}, not {old.task}", breaking=True)
    if old.targets != new.targets:
        told = f"it predicts {_listed(new.targets)}, not {_listed(old.targets)}"
        yield Noticed(told, breaking=True)


def _sent(old: Description, new: Description) -> Iterator[Noticed]:
    """Compare what may be sent."""
    before = {feature.name: feature for feature in old.features}
    after = {feature.name: feature for feature in new.features}
    renamed = dict(_renamed(old, new))
    for was, name in renamed.items():
        yield Noticed(f"feature {was!r} is called {name!r}", breaking=True)
    for name in _besides(before, after, renamed):
        rest = "; objects may go on naming it" if name in new.ignored else ""
        yield Noticed(f"{name!r} is no feature any more{rest}", breaking=True)
    for name in _besides(after, before, renamed.values()):
        rest = ", which was ignored" if name in old.ignored else ""
        yield Noticed(f"feature {name!r} has to be given{rest}", breaking=True)
    both = [name for name in before if name in after]
    order = [name for name in after if name in before]
    if both != order:
        told = f"arrays of values go by another order: {_listed(order)}"
        yield Noticed(told, breaking=True)
    for name in both:
        yield from _taken(before[name], after[name])
    for name in old.ignored:
        if name not in new.ignored and name not in after:
            yield Noticed(f"column {name!r} is not ignored any more, but refused", breaking=True)
    for name in new.ignored:
        if name not in old.ignored and name not in before:
            yield Noticed(f"column {name!r} may be sent, and is ignored", breaking=False)
    unlike = [name for name in both if _usual(before[name]) != _usual(after[name])]
    if unlike:
        told = f"warnings of values unlike those of training are others: {_listed(unlike)}"
        yield Noticed(told, breaking=False)


def _renamed(old: Description, new: Description) -> Iterator[tuple[str, str]]:
    """Find features that have another name at the same place, and the same type in JSON."""
    if len(old.features) == len(new.features):
        before, after = ({f.name for f in d.features} for d in (old, new))
        for was, now in zip(old.features, new.features, strict=True):
            is_other = was.name not in after and now.name not in before
            if is_other and _json_type(was) == _json_type(now):
                yield was.name, now.name


def _besides(names: Iterable[str], *others: Iterable[str]) -> list[str]:
    return [name for name in names if not any(name in other for other in others)]


def _taken(old: Feature, new: Feature) -> Iterator[Noticed]:
    """Compare the values that a feature takes."""
    refuses_some, takes_more = not _takes_all(new, old), not _takes_all(old, new)
    if refuses_some or takes_more:
        now, before = _words(new), _words(old)
        told = f"{now} (before: {before})" if now != before else "other rare values"
        yield Noticed(f"feature {new.name!r} takes {told}", breaking=refuses_some)
    elif isinstance(new.domain, Interval) and new.domain != old.domain:
        told = f"{_words(new)} (before: {_words(old)})"
        yield Noticed(f"feature {new.name!r} takes {told}", breaking=False)
    elif old.type != new.type:
        yield Noticed(f"feature {new.name!r} is of type {new.type}, not {old.type}", breaking=False)


def _takes_all(feature: Feature, of: Feature) -> bool:
    """Tell whether a feature takes all values of another: each, or the ends of an interval."""
    if of.nullable and not feature.nullable:
        return False
    is_listed = isinstance(of.domain, Choices)
    if isinstance(feature.domain, Choices) and not is_listed:
        return False
    if feature.type == "integer" and of.type == "number" and not is_listed:
        return False
    return not any(feature.mistake(value) for value in _told_of(of))


def _told_of(feature: Feature) -> Sequence[Value]:
    """Give all values that a feature takes, or those at the ends."""
    match feature.domain:
        case Choices():
            known: Sequence[Value] = feature.known or ()
            return [value for value in known if not feature.mistake(value)]
        case Interval(minimum=low, maximum=high):
            low, high = max(low, -FAR), min(high, FAR)
            return (ceil(low), floor(high)) if feature.type == "integer" else (low, high)
        case Lengths(min_length=shortest, max_length=longest):
            return ("x" * shortest, "x" * longest)
    return (False, True)


def _words(feature: Feature) -> str:
    """Say what a feature takes, of rare values no more than how many there are."""
    match feature.domain:
        case Choices(values=values, rare=rare):
            few = f" and {rare} that few rows had" if rare else ""
            words = f"{_listed(values)}{few}" if values else f"{rare} values that few rows had"
            if feature.trained is None:
                words = f"{rare} values that training has seen"
        case Interval(minimum=low, maximum=high):
            kind = "whole numbers" if feature.type == "integer" else "numbers"
            words = f"{kind} from {low!r} to {high!r}"
        case Lengths(min_length=shortest, max_length=longest):
            words = f"strings of {shortest} to {longest} characters"
        case _:
            words = "booleans"
    return f"{words}, or null" if feature.nullable else words


def _usual(feature: Feature) -> object:
    """Give that of a feature on which it depends what is warned of."""
    if isinstance(feature, Number):
        return feature.trained, feature.known
    if feature.trained is None:
        return None
    if feature.type == "category":
        return set(feature.trained.categories)
    if feature.type == "boolean":
        return {value for value, rows in feature.trained.categories.items() if rows}
    return feature.trained


def _answered(old: Description, new: Description) -> Iterator[Noticed]:
    """Compare what is answered."""
    had, has = _sureness(old), _sureness(new)
    if had and had != has:
        told = f"answers have {has} (before: {had})" if has else f"answers have no {had}"
        yield Noticed(told, breaking=True)
    elif had != has:  # a member more harms no reader of JSON
        yield Noticed(f"answers have {has}, too", breaking=False)
    yield from _explained(old.explained, new.explained)
    if old.targets != new.targets:
        return
    by_target = zip_longest(old.classes_by_target, new.classes_by_target, fillvalue=())
    for target, (before, after) in zip(new.targets, by_target, strict=False):
        of = f" of {target}" if len(new.targets) > 1 else ""
        yield from _classes(before, after, of, is_by_class=bool(had and has))


def _classes(
    old: Sequence[Label], new: Sequence[Label], of: str, *, is_by_class: bool
) -> Iterator[Noticed]:
    """Compare the classes of a target; they differ, too, if JSON writes them otherwise."""
    before, after = ([json.dumps(label, ensure_ascii=False) for label in ls] for ls in (old, new))
    if more := [label for label in after if label not in before]:
        yield Noticed(f"classes{of} that are new: {_listed(more)}", breaking=True)
    if less := [label for label in before if label not in after]:
        told = f"classes{of} that are answered no more: {_listed(less)}"
        yield Noticed(told, breaking=is_by_class)  # each had its probability or score
    both = [label for label in before if label in after]
    if both != [label for label in after if label in before]:
        told = f"classes{of} stand in another order: {_listed(after)}"
        yield Noticed(told, breaking=is_by_class)


def _sureness(description: Description) -> str:
    """Say what answers tell beside the prediction."""
    match description.asked.scored_by:
        case "predict_proba":
            return "probabilities"
        case "decision_function" if description.task == "outlier-detection":
            return "score"
        case "decision_function":
            by_class = description.asked.scores_by_class
            return "scores by class" if by_class else "list of scores"
    return ""


def _explained(old: Explained | str, new: Explained | str) -> Iterator[Noticed]:
    """Compare what answers tell to who asks for explanations."""
    if isinstance(new, str):
        if isinstance(old, Explained):  # who asks for one gets no answer at all
            yield Noticed(f"predictions are not explained any more: {new}", breaking=True)
    elif isinstance(old, str):
        yield Noticed("predictions can be explained", breaking=False)
    else:
        if old.output != new.output:
            told = f"explanations are of the {new.output} (before: {old.output})"
            yield Noticed(told, breaking=False)
        if old.exact != new.exact:
            now = "exact" if new.exact else "estimates, with standard errors"
            yield Noticed(f"contributions are {now}", breaking=False)


def _listed(values: Sequence[object]) -> str:
    """List values, not too many of them."""
    told = [str(value) for value in values[:MAX_TOLD]]
    if len(values) > MAX_TOLD:
        told.append(f"{len(values) - MAX_TOLD} more")
    return ", ".join(told) or "nothing"
