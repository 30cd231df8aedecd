"""A part of a table: read, asked of the model, and written, by whatever process has the time.

What is wrong with a row is told in the service's own words, with where it stands in the file.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import orjson

from serving.files.arrow import beside
from serving.files.source import Part, Read, Source
from serving.files.written import Encoded, Writer
from serving.problems import FieldError, name_at
from serving.scoring.tally import Tally

if TYPE_CHECKING:  # it takes a second to load
    from serving.bulk import Scored, Scorer

TOLD_ROWS = 10  # bad ones, where the first of them end the run


class Errors(Enum):
    """What becomes of rows with mistakes."""

    FAIL = "fail"  # they end the run
    NULL = "null"  # they are answered by nothing, with the reason beside it
    APART = "apart"  # they are left out, and told in a file of their own


class Mistake(NamedTuple):
    """What is wrong with a row; both count from 1, and ``line`` is 0 where the file has none."""

    row: int
    line: int
    error: FieldError

    @property
    def column(self) -> str:
        """The column, empty where the whole row is wrong."""
        return name_at(self.error.pointer)

    def written(self) -> bytes:
        """Give a line of JSON."""
        where = {"row": self.row, "line": self.line} if self.line else {"row": self.row}
        told = {"pointer": self.error.pointer, "detail": self.error.detail}
        return orjson.dumps(where | told, option=orjson.OPT_APPEND_NEWLINE)


class Done(NamedTuple):
    """What has become of a part.

    ``mistakes`` are those of the first bad rows, ``rejects`` the lines of all that were left out.
    """

    answers: Encoded
    rejects: bytes
    mistakes: Sequence[Mistake]
    tally: Tally


@dataclass(frozen=True, slots=True)
class Work:
    """What it takes to score parts, in a process that has nothing yet: it can be pickled."""

    source: Source
    writer: Writer
    make_scorer: "Callable[[], Scorer]"
    errors: Errors

    def begin(self) -> Callable[[Part], Done]:
        """Load the model, and give what scores a part.

        Raises:
            ModelError: it can't be loaded.
        """
        scorer = self.make_scorer()
        return lambda part: self._done(part, scorer)

    def _done(self, part: Part, scorer: "Scorer") -> Done:
        """Score a part.

        Raises:
            TableError: it is damaged.
        """
        read = self.source.read(part)
        scored = scorer.score(read.columns, read.broken)
        mistakes = [
            Mistake(part.row + at, read.lines[at] if len(read.lines) else 0, error)
            for at, error in scored.mistakes
        ]
        bad = sorted({at for at, _ in scored.mistakes})
        batch = beside(read.batch, scored.batch)
        rejects = b""
        if self.errors is Errors.APART and bad:
            good = np.ones(scored.batch.num_rows, dtype=bool)
            good[bad] = False
            batch = batch.take(np.flatnonzero(good))
            rejects = b"".join(mistake.written() for mistake in mistakes)
        first = {part.row + at for at in bad[:TOLD_ROWS]}
        return Done(
            self.writer.encode(batch),
            rejects,
            [mistake for mistake in mistakes if mistake.row in first],
            _counted(read, scored, len(bad), mistakes, scorer),
        )


def _counted(
    read: Read, scored: "Scored", bad: int, mistakes: Sequence[Mistake], scorer: "Scorer"
) -> Tally:
    tally = Tally(scored.batch.num_rows, bad, unusual=scored.unusual, taken=read.taken)
    tally.count_mistakes((each.column, each.error.detail) for each in mistakes)
    is_number = scorer.description.task == "regression"
    tally.count_values(scored.values, is_number=is_number)
    tally.count_drift(scored.drift)
    return tally
