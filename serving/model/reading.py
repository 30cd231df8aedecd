"""How training read the cells of a table in text, so that others are read alike.

What means that a value is missing, and how the numbers of a column are written.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ConfigDict, Field

from serving.model.domains import Frozen

# Marks of missing values among numbers and booleans: what pandas takes for such, but the empty
# cell. In a column of text a word is a word, NA and None too.
USUAL = (
    *("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)
BLANKS = " \u00a0\u2009\u202f"  # plain, no-break, thin, narrow no-break
APOSTROPHES = "'\u2019"
EXPONENT = "(?:[eE][-+]?[0-9]+)?"
INFINITE = "(?i:inf|infinity)"


@dataclass(frozen=True, slots=True)
class Style:
    """A way to write numbers: the decimal mark, and what stands between thousands, if anything.

    All kinds of blanks are one, and all kinds of apostrophes.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    decimal: str
    thousands: str = ""

    @property
    def pattern(self) -> str:
        """What fits it; where thousands are parted, four digits may stand together, not five."""
        mark, between = re.escape(self.decimal), re.escape(self.thousands)
        whole = f"[0-9]{{1,4}}|[1-9][0-9]{{0,2}}(?:{between}[0-9]{{3}})+" if between else "[0-9]+"
        number = rf"(?:(?:{whole})(?:{mark}[0-9]*)?|{mark}[0-9]+){EXPONENT}"
        return f"(?:[-+]?(?:{number}|{INFINITE}))"

    def __str__(self) -> str:
        """Tell in words how numbers are read."""
        names = {".": "'.'", ",": "','", " ": "a blank", "'": "an apostrophe"}
        roles = {"decimal mark": self.decimal.strip("."), "mark of thousands": self.thousands}
        told = [f"{names[mark]} {{}} as the {role}" for role, mark in roles.items() if mark]
        return " and ".join(told).replace("{}", "is read", 1).replace(" {}", "")


PLAINLY = Style(".")


class Reading(Frozen):
    """How a table's cells were read.

    ``missing`` has the marks that a person named, beside the usual ones, and ``numbers`` how the
    numbers of a column are written, where that is not plain.
    """

    missing: tuple[str, ...] = ()
    numbers: Mapping[str, Style] = Field(default_factory=dict)
