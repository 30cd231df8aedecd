"""Score a table with a model: one file in, one file out, of any size.

The answers are those of the service, with the same checks; what they are beside, which rows are
bad, and what the whole table looks like next to training is told at the end.

Here is the command line. What is done stands in ``serving.scoring``: start at ``table``.
"""

import argparse
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any

from serving.console import show
from serving.host.process import forbid_usage_reports, limit_threads
from serving.settings import load_settings

PROGRAM = "score.py"
SEVERAL: dict[str, Any] = {"nargs": "+", "action": "extend", "default": []}
FORMATS = ("csv", "tsv", "ndjson", "parquet", "arrow", "arrows")
KINDS = "CSV or TSV, NDJSON (each .gz too), Parquet, or Arrow (.arrow, .arrows)"


def build_parser() -> argparse.ArgumentParser:
    """Declare the command line."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Score a table with a model")
    add = parser.add_argument
    add(
        "--model",
        required=True,
        metavar="MODEL",
        help="loans:latest in the model store, the folder of a model, or an exported .bentomodel",
    )
    add(
        "--data",
        required=True,
        metavar="FILE",
        help=f"table to score: {KINDS}, a folder of Parquet files, or - for standard input",
    )
    add("--out", required=True, metavar="FILE", help=f"where to write: {KINDS}, or -")
    add(
        "--columns",
        nargs="*",
        action="extend",
        metavar="NAME",
        help="columns of the table to give back; all, if not given, and none, if alone",
    )
    add(
        "--errors",
        type=errors,
        default="fail",
        metavar="fail|null|FILE.ndjson",
        help="bad rows end the run, or get no answer and a reason, or are left out and told in a "
        "file (%(default)s)",
    )
    add(
        "--workers",
        type=workers,
        nargs="?",
        const=len(os.sched_getaffinity(0)),
        default=1,
        metavar="N",
        help="processes that score; as many as there are cores, if alone (%(default)s)",
    )
    add("--resume", action="store_true", help="go on where a run with the same options stopped")
    add("--report", type=Path, metavar="FILE.html", help="page that compares it with training")
    take_how_to_read(parser)
    return parser


def take_how_to_read(parser: argparse.ArgumentParser) -> None:
    """Declare how the table is to be read and written; cells as the model's training read them."""
    add = parser.add_argument
    add("--from", dest="from_", choices=FORMATS, help="format of the table, where no name tells")
    add("--to", choices=FORMATS, help="format of the answers, where no name tells")
    add("--encoding", default="utf-8", help="of a CSV file (%(default)s)")
    add("--missing", **SEVERAL, metavar="MARK", help="cells that mean no value, beside empty ones")
    add(
        "--header",
        action=argparse.BooleanOptionalAction,
        help="whether the first line of a CSV file has names; without, it is checked",
    )
    add("--decimal", choices=(".", ","), help="the decimal mark of a CSV file")


def errors(text: str) -> str:
    """Check what is to become of bad rows."""
    if text not in {"fail", "null"} and not text.endswith(".ndjson"):
        raise argparse.ArgumentTypeError(
            "expected fail, null, or a file whose name ends in .ndjson"
        )
    return text


def workers(text: str) -> int:
    """Check a number of processes."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("expected a whole number from 1")
    return value


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse what does not go together."""
    if args.resume and "-" in (args.data, args.out):
        parser.error("--resume needs files: what comes or goes through a pipe can't be kept")
    others = {Path(name).resolve() for name in (args.data, args.out, args.errors)}
    report = args.report and args.report.resolve()
    if report and not others.isdisjoint({report, *report.parents}):  # DATA may be a folder
        parser.error("--report needs a file of its own")


def main(argv: list[str] | None = None) -> None:
    """Score, and tell about it.

    Raises:
        SystemExit: 1, the table or some rows are refused; 2, the command line is; 130, Ctrl-C.
    """
    parser = build_parser()
    args = parser.parse_args(argv)
    check(parser, args)
    forbid_usage_reports()
    limit_threads(load_settings())
    if args.workers > 1:
        prepare_workers()
    try:
        for line in scored(args):
            show(f"{PROGRAM}: {line}", sys.stderr)
    except KeyboardInterrupt as exc:
        show(
            "\n".join(f"{PROGRAM}: {told}" for told in ("interrupted", *notes_of(exc))), sys.stderr
        )
        sys.exit(130)


def prepare_workers() -> None:
    """Let a process import what all workers need, while this one does the same."""
    multiprocessing.set_forkserver_preload(["serving.bulk", "serving.scoring.parts"])
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path(__file__).parent), path)))
    resource_tracker.ensure_running()  # which would let Ctrl-C through, if it began below
    # What starts with a signal blocked never gets it: Ctrl-C is for this process, which ends all.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    forkserver.ensure_running()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def scored(args: argparse.Namespace) -> Iterator[str]:
    """Score, and give what is to be told.

    Raises:
        SystemExit: 1, with a line that says why that can't be done.
    """
    try:
        from serving.bulk import BadRowsError, Scorer
        from serving.files.partials import OutputError
        from serving.files.source import TableError
        from serving.model.named import exact
        from serving.model.stored import ModelError
        from serving.scoring.table import Options, score
        from serving.scoring.workers import ScoringError
    except ModuleNotFoundError as exc:
        if exc.name != "pyarrow":
            raise
        sys.exit(f"{PROGRAM}: pyarrow is not installed: pip install -r requirements-bulk.txt")
    given = vars(args)
    model = given.pop("model")
    try:
        # All workers load the same, whatever becomes the latest meanwhile.
        make_scorer = partial(Scorer, exact(model, load_settings().state_path))
        yield from score(Options(**given), make_scorer, PROGRAM, sys.stderr)
    except (TableError, BadRowsError, ModelError, OutputError, ScoringError, OSError) as exc:
        sys.exit("\n".join(f"{PROGRAM}: {told}" for told in (str(exc), *notes_of(exc))))


def notes_of(exc: BaseException) -> list[str]:
    """Give what is told beside an exception."""
    return [note for note in getattr(exc, "__notes__", []) if note]


if __name__ == "__main__":
    main()
