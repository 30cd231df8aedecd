"""A run: all parts of a table are scored in order, and what becomes of them is kept.

Where it stopped before, it goes on with what was kept. Ends at the first bad rows if they are to
end it.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import islice

from serving.bulk import BadRowsError
from serving.files.output import Output
from serving.scoring.parts import TOLD_ROWS, Errors, Mistake, Work
from serving.scoring.progress import Progress
from serving.scoring.tally import Tally
from serving.scoring.workers import Score, in_this_process, in_workers


def run(work: Work, output: Output, workers: int, progress: Progress) -> Tally:
    """Score a table, and give what all its parts add up to.

    Raises:
        TableError: it is damaged.
        BadRowsError: rows are bad, and that is to be an error.
        ScoringError: workers have ended.
        OutputError: the answers can't be kept, as where the disk is full.
    """
    tally = Tally()
    for note in output.notes:
        tally.add(Tally.of_note(note))
    parts = islice(work.source.parts(), len(output.notes), None)
    with _scoring(work, workers) as score, progress:
        for part, done in score(parts):
            if work.errors is Errors.FAIL and done.mistakes:
                raise BadRowsError(_told(done.mistakes, done.tally.bad))
            output.write(done.answers, done.tally.note(), done.rejects)
            tally.add(done.tally)
            progress.advance(done.tally.rows, part.share)
    return tally


def _scoring(work: Work, workers: int) -> AbstractContextManager[Score]:
    return in_workers(workers, work) if workers > 1 else in_this_process(work)


def _told(mistakes: Sequence[Mistake], bad: int) -> str:
    rows = "a row is" if bad == 1 else f"{bad:,} rows are"
    lines = [f"{rows} not what the model takes:"]
    lines += map(_line, mistakes)
    if bad > TOLD_ROWS:
        lines.append(f"  and {bad - TOLD_ROWS:,} more among the rows read together with these")
    return "\n".join([*lines, _WAYS])


def _line(mistake: Mistake) -> str:
    where = [f"row {mistake.row:,}"]
    where += [f"line {mistake.line:,}"] * bool(mistake.line)
    where += [f"column {mistake.column}"] * bool(mistake.column)
    return f"  {', '.join(where)}: {mistake.error.detail}"


_WAYS = (
    "--errors null answers the others, with the reasons beside these; --errors REJECTS.ndjson "
    "leaves these out, and tells them there"
)
