"""``python -m serving.outcomes PREDICTION_LOG LABELS.csv``: scores of what was answered.

By version and day, beside those that training printed. It takes the service's requirements, and of
the models their descriptions alone, which have to be in the model store.
"""

import argparse
import json
import sys
import zlib
from collections.abc import Sequence

from serving.console import show
from serving.outcomes.joining import Join
from serving.outcomes.reading import Labels, OutcomesError, predictions
from serving.outcomes.report import document, notes, text

PROGRAM = "python -m serving.outcomes"


def main(arguments: Sequence[str] | None = None) -> None:
    """Join, score, and print.

    Raises:
        SystemExit: 2, with one line about what is wrong.
    """
    about = "Score logged predictions by what really happened."
    parser = argparse.ArgumentParser(prog=PROGRAM, description=about)
    add = parser.add_argument
    add("log", nargs="+", help="files of the prediction log; gzipped, if they end in .gz")
    add("labels", help="CSV file with a header: request_id, row, and the targets")
    add("--by", metavar="COLUMN", help="join by this feature, rather than by request_id and row")
    named = "the column of labels, if it is not called as the target; once for each target"
    add("--target", action="append", default=[], metavar="COLUMN", help=named)
    add("--json", action="store_true", help="print JSON")
    args = parser.parse_intermixed_args(arguments)  # options may stand between the files
    try:
        join = Join(Labels(args.labels, args.by, args.target))
        rows = join.run(predictions(args.log, join.counts))
        report = document(join, rows)
        if not rows:
            raise OutcomesError(f"nothing can be scored: {'; '.join(notes(report))}")
    except (OutcomesError, OSError, EOFError, zlib.error) as exc:
        parser.exit(2, f"{PROGRAM}: {exc}\n")
    except KeyboardInterrupt:
        sys.exit(130)
    show(json.dumps(report, indent=2) if args.json else text(report))


if __name__ == "__main__":
    main()
