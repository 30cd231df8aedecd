"""A table in a file, and what a model says of it in another: composed, run, and summed up.

Refuses what does not fit before the first row, and a table that is another when it was read.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from serving.bulk import BadRowsError, Scorer
from serving.drift.comparison import compare
from serving.drift.page import Rows, written
from serving.drift.report import document
from serving.drift.watch import Watch
from serving.files.arrow import schema_beside
from serving.files.formats import STANDARD, Format, How, format_of
from serving.files.inputs import files_in
from serving.files.opening import found, open_source
from serving.files.output import Output
from serving.files.partials import OutputError, writing
from serving.files.source import CutShortError, TableError
from serving.files.written import writer_for
from serving.model.about import About
from serving.model.stored import installed_version
from serving.scoring.parts import Errors, Work
from serving.scoring.progress import Progress
from serving.scoring.run import run
from serving.scoring.summary import text
from serving.scoring.tally import Tally
from serving.scoring.workers import ScoringError
from serving.settings import load_settings

# Of these other versions may write other bytes, or give other bits.
_PACKAGES = ("numpy", "pyarrow", "scikit-learn", "onnxruntime")
_SETTINGS = ("runtime", "drift", "drift_features")
_DECIDING = ("columns", "errors", "from_", "to", "encoding", "missing", "header", "decimal")


@dataclass(frozen=True, slots=True)
class Options:
    """What a person wants: see `score.py`.

    ``columns`` are given back, all for None; ``errors`` is fail, null, or a file.
    """

    data: str
    out: str
    columns: Sequence[str] | None
    errors: str
    workers: int
    resume: bool
    report: Path | None
    from_: str | None
    to: str | None
    encoding: str
    missing: Sequence[str]
    header: bool | None
    decimal: str | None

    @property
    def rejects(self) -> str | None:
        """The file that tells bad rows, if one does."""
        return None if self.errors in {"fail", "null"} else self.errors

    @property
    def kind(self) -> Errors:
        """What becomes of bad rows."""
        return Errors.APART if self.rejects else Errors(self.errors)

    @property
    def deciding(self) -> dict[str, str]:
        """The options that decide which bytes are written, as a person says them."""
        return {f"--{name.rstrip('_')}": _said(getattr(self, name)) for name in _DECIDING}

    def output_format(self, given: Format) -> tuple[Format, bool]:
        """Give the format of the answers, and whether they are gzipped.

        Raises:
            TableError: the name says none.
        """
        if self.to:
            return Format(self.to), self.out.endswith(".gz")
        return (given, False) if self.out == STANDARD else format_of(self.out)

    def how(self, answers: Sequence[str], to: Format) -> How:
        """Tell how the table is to be read."""
        return How(
            columns=None if self.columns is None else tuple(self.columns),
            encoding=self.encoding,
            missing=tuple(self.missing),
            header=self.header,
            decimal=self.decimal,
            answers=tuple(answers),
            to=to,
        )


def score(
    options: Options, make_scorer: Callable[[], Scorer], program: str, stream: TextIO
) -> Iterator[str]:
    """Score a table, and give what is to be told of it, line by line; then write the page.

    How it is read is told first: that may be why rows are bad.

    Raises:
        TableError: it does not fit, is damaged, or can't be written as is wanted.
        BadRowsError, ScoringError, OutputError: see `run`; with a note if what is done is kept.
    """
    if options.report and not os.access(options.report.absolute().parent, os.W_OK):
        raise OutputError(f"{options.report} can't be written: there is no such place to write to")
    scorer = make_scorer()
    about, watch, unwatched = scorer.about, scorer.watch, scorer.unwatched
    given, form = found(options.data, Format(options.from_) if options.from_ else None)
    to, gz = options.output_format(form)
    how = options.how(scorer.answer_schema.names, to)
    source = open_source(given, form, how, about.description)
    writer = writer_for(to, gz=gz, schema=schema_beside(source.kept, scorer.answer_schema))
    del scorer  # workers have their own
    yield from source.notes
    work = Work(source, writer, make_scorer, options.kind)
    before = facts_of(options.data)
    identity = {"the model": ":".join(about.named.values()), **before, **_settled(options, about)}
    output = Output(
        options.out,
        writer,
        identity,
        inputs=[options.data],
        rejects=options.rejects,
        resume=options.resume,
    )
    progress = Progress(program, stream)
    try:
        tally = run(work, output, options.workers, progress)
        if facts_of(options.data) != before:
            raise TableError(f"{options.data} has changed while it was read")
        output.finish()
    except (KeyboardInterrupt, CutShortError, ScoringError) as exc:
        exc.add_note(output.kept)
        output.close()
        raise
    except (TableError, BadRowsError) as exc:
        exc.add_note("nothing is written" if output.kept else "what comes before is written")
        output.abandon()
        raise
    report = _drift(tally, watch, about) if watch else None
    told = report or unwatched
    yield from text(tally, about.description, told, bad_are=_fate(options), rate=progress.rate)
    if options.report and report:
        name = given.name if given.is_standard else f"table {Path(given.name).name}"
        rows = Rows(name, {"Table": given.name, "Scored": datetime.now(UTC)})
        with writing(str(options.report)):
            options.report.write_text(written(report, rows), "utf-8")
    elif options.report:
        yield f"{options.report} is not written"


def _drift(tally: Tally, watch: Watch, about: About) -> dict[str, Any]:
    """Compare the table with training."""
    counts = np.array(tally.drift or [0] * watch.width)
    told = document(compare(watch, counts))
    return {"model": about.named, "features_left_out": watch.left_out, **told}


def facts_of(data: str) -> dict[str, str]:
    """Tell by what it is seen that a table is another: its files, their sizes and times."""
    if data == STANDARD:
        return {}
    place = Path(data).absolute()
    files = files_in(place) if place.is_dir() else [place]
    states = [(str(file), *_state(file)) for file in files]
    digest = sha256(repr(states).encode()).hexdigest()
    size = sum(size for _, size, _ in states)
    return {"--data": str(place), "the table, by its size and time": f"{size} bytes, {digest[:16]}"}


def _state(file: Path) -> tuple[int, int]:
    try:
        state = file.stat()
    except OSError:
        return 0, 0  # it has gone, perhaps while it was read
    return state.st_size, state.st_mtime_ns


def _settled(options: Options, about: About) -> dict[str, str]:
    """Give what else decides which bytes are written, and what is counted beside."""
    packages = {name: installed_version(name) or "none" for name in _PACKAGES}
    described = about.description.model_dump_json().encode()
    settings = load_settings()
    said = {f"SERVING_{name.upper()}": str(getattr(settings, name)) for name in _SETTINGS}
    digest = {"the model's files": sha256(described).hexdigest()}
    return digest | packages | said | options.deciding


def _said(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(repr, value)) or "nothing"
    return "not given" if value is None else str(value)


def _fate(options: Options) -> str:
    """Tell what has become of bad rows."""
    told = f"left out of {options.out} and told in {options.rejects}"
    return told if options.rejects else "not answered, each with its reason"
