"""Names of columns, as a person gives and hears them."""

import difflib
from collections import Counter
from collections.abc import Sequence

from serving.console import listed
from training.errors import TrainingError


def check_names(
    names: Sequence[str], targets: Sequence[str], drop: Sequence[str], keep: Sequence[str]
) -> None:
    """Check that columns which are named are there, and are not to be both used and left out.

    Raises:
        TrainingError: they are not.
    """
    if same := twice(names):
        raise TrainingError(f"columns have the same name, rename them: {listed(same)}")
    problems = [f"target {name!r} is named twice" for name in twice(targets)]
    by_lower = {name.lower(): name for name in names}
    for role, named in (("--target", targets), ("--drop", drop), ("--keep", keep)):
        for name in dict.fromkeys(named):
            if name not in names:
                close = [by_lower[key] for key in difflib.get_close_matches(name.lower(), by_lower)]
                hint = f": did you mean {close[0]!r}?" if close else ""
                problems.append(f"there is no column {name!r} for {role}{hint}")
    if problems:
        problems.append(f"the columns are {listed(names)}")
    for role, named in (("--target", targets), ("--keep", keep)):
        both = [name for name in named if name in drop]
        problems.extend(f"column {name!r} is named by {role} and by --drop" for name in both)
    if problems:
        raise TrainingError("\n".join(problems))


def twice(names: Sequence[str]) -> list[str]:
    """Give the names that are there more than once."""
    return [name for name, count in Counter(names).items() if count > 1]


def rows_are(rows: int) -> str:
    """Begin a sentence about a number of rows."""
    return "1 row is" if rows == 1 else f"{rows} rows are"
