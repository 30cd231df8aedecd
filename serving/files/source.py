"""What a file gives: parts of a table, each of which is read on its own.

The process that reads a file cuts it into parts; what reads a part may be another process. So a
source can be pickled once it is open, and a part holds all that reading it takes. Parts are the
same whenever the same file is read.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

from serving.model.columns import Column
from serving.problems import FieldError

PART_ROWS = 65_536  # at most
BLOCK_BYTES = 4 * 2**20  # of text, of which parts are made
MAX_ROW_BYTES = 16 * 2**20  # of text

# What was converted or taken for missing: a column, and words that go on after its name.
Taken: TypeAlias = Counter[tuple[str, str]]


class TableError(Exception):
    """A table can't be read, or does not fit the model; the message says why, and what to do."""


class CutShortError(TableError):
    """What reads a table was ended from outside: nothing is known to be wrong with the table."""


class Part(NamedTuple):
    """A part of a table: rows that follow one another, as the file has them.

    ``row`` is the number of its first row, and ``line`` of its first line, both counted from 1
    (rows without the header); 0, where a file has no lines. ``data`` can be pickled. ``share`` is
    about how much of the file lies before its end, from 0 to 1, for who waits; 0, if that is not
    known.
    """

    row: int
    line: int
    data: Any
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Read:
    """What a part holds.

    ``columns`` are those of the features, in their order. ``batch`` has what of the input is given
    back, a column for each name of `Source.kept`, with the same rows. ``lines`` tells each row's
    line; none, where there are no lines. ``broken`` has what is wrong with whole rows, by their
    place in the part: nothing of what the columns have of them counts. ``taken`` counts what was
    converted or taken for missing.
    """

    columns: Sequence[Column]
    batch: Any  # a pyarrow.RecordBatch
    lines: Sequence[int] = ()
    broken: Mapping[int, FieldError] = field(default_factory=dict)
    taken: Taken = field(default_factory=Counter)


class Source(Protocol):
    """A table in a file.

    ``kept`` is the schema of what is given back of it, and ``notes`` tell a person what was
    decided, such as which columns the model does not know.
    """

    @property
    def kept(self) -> Any:  # noqa: ANN401 (a pyarrow.Schema)
        """The columns that are given back."""

    @property
    def notes(self) -> Sequence[str]:
        """What a person should know."""

    def parts(self) -> Iterator[Part]:
        """Give all parts, in order.

        Raises:
            TableError: the file is damaged, or a line too long.
        """

    def read(self, part: Part) -> Read:
        """Read a part, in any process.

        Raises:
            TableError: it is damaged.
        """
