"""What becomes of the desired state: promoted, rolled back, named, shadowed, taken back.

Pure: a state comes in and another goes out, one revision on, with a line of history. Nothing is
looked up here. Refuses what can't be decided in that state.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from serving.model.description import Description
from serving.model.state import CHAMPION, Change, ModelState, Shadow, State

MAX_HISTORY = 200
MAX_PROMOTED = 100  # that a rollback can come to


class VersionsError(Exception):
    """What is refused, or has failed; the message says why, and what to do."""


class By(NamedTuple):
    """Who decides, when and why."""

    who: str
    time: datetime
    why: str = ""


def promote(state: State, name: str, version: str, served: Sequence[str], by: By) -> State:
    """Make a version the champion.

    What is ``served`` now, the oldest first, comes to stand on the way back: also a version that a
    server's settings name, as this one is promoted over it. What answers is no shadow any more.
    """
    model = state.of(name)
    champion = model.promoted[-1:]
    over = tuple(each for each in served if each not in (*model.promoted, version))
    if champion and champion[0] in served:
        way = (*model.promoted[:-1], *over, *champion)
    else:
        way = (*model.promoted, *over)
    before = next(iter(way[-1:]), None)
    if before != version:
        way = (*way, version)
    first, *rest = way
    return _with(
        state,
        name,
        _change("promote", before, version, by),
        # The first stays: who has set it in a server has set where that began.
        promoted=(first, *rest[-(MAX_PROMOTED - 1) :]),
        shadow=_but(model.shadow, version),
    )


def rollback(state: State, name: str, by: By) -> State:
    """Make the version before the champion the champion.

    Raises:
        VersionsError: there is none.
    """
    before, after = way_back(state, name)
    model = state.of(name)
    update = {"promoted": model.promoted[:-1], "shadow": _but(model.shadow, after)}
    return _with(state, name, _change("rollback", before, after, by), **update)


def _but(shadow: Shadow | None, version: str) -> Shadow | None:
    """Give a shadow, if it is none of what answers by now."""
    return None if shadow is None or shadow.version == version else shadow


def way_back(state: State, name: str) -> tuple[str, str]:
    """Give the champion, and the version that was it before.

    Raises:
        VersionsError: there is none.
    """
    promoted = state.of(name).promoted
    if len(promoted) < 2:
        what = f"{name}:{promoted[0]} is the first" if promoted else "nothing was promoted"
        raise VersionsError(f"{name} can't be rolled back: {what}")
    return promoted[-1], promoted[-2]


def alias(state: State, name: str, alias_: str, version: str | None, by: By) -> State:
    """Let an alias stand for a version, or for nothing.

    Raises:
        VersionsError: it is the champion's, or there is none to remove.
    """
    if alias_ == CHAMPION:
        raise VersionsError(f"{name}@{CHAMPION} is what was promoted last: `promote` moves it")
    model = state.of(name)
    before = model.aliases.get(alias_)
    if before is None and version is None:
        raise VersionsError(f"there is no {name}@{alias_}")
    others = {each: of for each, of in model.aliases.items() if each != alias_}
    aliases = others if version is None else others | {alias_: version}
    return _with(state, name, _change(f"alias {alias_}", before, version, by), aliases=aliases)


def shadow(state: State, name: str, wanted: Shadow | None, by: By) -> State:
    """Let a version be asked as well, or none.

    Raises:
        VersionsError: there is none to end.
    """
    before = state.of(name).shadow
    if before is None and wanted is None:
        raise VersionsError(f"{name} has no shadow")
    was, will_be = (each.version if each else None for each in (before, wanted))
    action = "shadow" if wanted else "stop"
    return _with(state, name, _change(action, was, will_be, by), shadow=wanted)


def taken_back(state: State, name: str, before: ModelState, reason: str, by: By) -> State:
    """Give back what was wanted of a model before its last change, which stays in history."""
    last = state.of(name).history[-1]
    change = _change("refused", last.after, last.before, by._replace(why=reason))
    kept = before.model_dump(exclude={"history"})
    return _with(state, name, change, **(kept | {"shadow": before.shadow}))


def _change(action: str, before: str | None, after: str | None, by: By) -> Change:
    return Change(time=by.time, action=action, before=before, after=after, who=by.who, why=by.why)


def _with(state: State, name: str, change: Change, **update: Any) -> State:  # noqa: ANN401 (its fields)
    model = state.of(name)
    history = (*model.history, change)[-MAX_HISTORY:]
    decided = model.model_copy(update={**update, "history": history})
    return State(revision=state.revision + 1, models={**state.models, name: decided})


def why_not_again(state: State, name: str, version: str) -> str:
    """Tell why nobody but a person may promote a version: one has put another in its place."""
    for change in reversed(state.of(name).history):
        if change.after == version:
            return ""
        if change.action in {"promote", "rollback"} and change.before == version:
            how = (
                "rolled it back"
                if change.action == "rollback"
                else f"promoted {change.after} over it"
            )
            return f"{change.who} has {how}, at {change.time:%Y-%m-%d %H:%M}"
    return ""


def why_worse(old: Description, new: Description, margin: float) -> str:
    """Tell why a version can't be promoted by its score: it is worse, or can't be compared.

    The first score counts, on rows that were held out in the same way.
    """
    from serving.model.scores import BETTER  # which brings scikit-learn, and only this needs it

    if (old.task, old.targets) != (new.task, new.targets):
        return "its score can't be compared: it predicts something else"
    was, now = (next(iter(each.metrics.values.items()), None) for each in (old, new))
    if was is None or now is None or was[0] != now[0] or was[0] not in BETTER:
        told = " and ".join(each[0] if each else "none" for each in (was, now))
        return f"its score can't be compared: of these versions there are {told}"
    if _manner(old.metrics.split) != _manner(new.metrics.split):
        return (
            f"its score can't be compared: one is of rows {old.metrics.split!r}, "
            f"the other of {new.metrics.split!r}"
        )
    loss = was[1] - now[1] if BETTER[was[0]] == "higher" else now[1] - was[1]
    if loss > margin:
        return f"it is worse by more than {margin:g}: {was[0]} {now[1]:.6g}, before {was[1]:.6g}"
    return ""


def _manner(split: str) -> str:
    """Tell how rows were chosen, however many, and by whatever seed."""
    return re.sub(r"\d+", "", split)
