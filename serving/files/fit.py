"""Whether a table's columns fit a model: all that is wrong with their names, told at once.

Columns that the model does not know are no mistake: they are given back, and it does not look at
them.
"""

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from serving.console import listed
from serving.files.source import TableError
from serving.model.features import Feature


@dataclass(frozen=True, slots=True)
class Fit:
    """Where in a table each feature's column stands, and those columns that are given back."""

    features: tuple[int, ...]
    kept: tuple[int, ...]
    notes: tuple[str, ...] = ()


def check_names(
    names: Sequence[str],
    features: Sequence[Feature],
    kept: Sequence[str] | None,
    answers: Sequence[str],
    problems: Sequence[str] = (),
) -> Fit:
    """Find the columns of the features, and those named in ``kept``: all, where that is None.

    ``answers`` are the names of the columns that the model's answers get. ``problems`` have what
    else is wrong with the columns.

    Raises:
        TableError: columns are missing, there twice, or named as an answer is; or ``problems``.
    """
    wanted = [feature.name for feature in features]
    back = list(names if kept is None else dict.fromkeys(kept))
    counts = Counter(names)
    absent = [name for name in wanted if name not in counts]
    told = [_missing(name, names, "the model's column", wanted) for name in absent]
    told += [_missing(name, names, "the column") for name in back if name not in counts]
    if same := [n for n, count in counts.items() if count > 1 and (n in wanted or n in back)]:
        told.append(f"columns have the same name, rename them: {listed(same)}")
    if same := [name for name in back if name in answers]:
        told.append(
            f"{_columns(same)} named as an answer is: rename what is, or leave it out of the "
            "columns that are given back (--columns)"
        )
    told += problems
    if told:
        if any(name not in counts for name in (*wanted, *back)):
            told.append(f"the columns are {listed(names)}")
        raise TableError("\n".join(told))
    place = {name: at for at, name in enumerate(names)}
    others = [name for name in names if name not in set(wanted)]
    notes = (f"{_columns(others)} nothing that the model looks at",) if others else ()
    return Fit(tuple(place[name] for name in wanted), tuple(place[name] for name in back), notes)


def _missing(name: str, names: Sequence[str], what: str, wanted: Sequence[str] = ()) -> str:
    # Who lacks one column did not call it by the name of another that is wanted.
    others = {each.lower() for each in wanted} - {name.lower()}
    by_lower = {each.lower(): each for each in names if each.lower() not in others}
    close = difflib.get_close_matches(name.lower(), by_lower, 1)
    hint = f": did you mean {by_lower[close[0]]!r}?" if close else ""
    return f"{what} {name!r} is missing{hint}"


def _columns(names: Sequence[str]) -> str:
    """Begin a sentence about columns."""
    return f"column {names[0]!r} is" if len(names) == 1 else f"the columns {listed(names)} are"
