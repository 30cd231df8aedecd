"""A model over tables: Arrow in, Arrow out. All that an engine such as Ray or Spark needs.

The answers are those of the service, by construction: the same checks, and the same code that asks
the model. Rows of which something is wrong get none, and the reason.
"""

import weakref
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from serving.dialects.tables import named_cells
from serving.drift.watch import TURNED_OFF, Watch, watch_of
from serving.files.arrow import beside, check_fit, column_of, schema_beside, validate
from serving.files.fit import Fit
from serving.model.about import About
from serving.model.answers import Answers, joined, labels_of
from serving.model.columns import Column, Remark, among, by_columns, judge
from serving.model.compiled import CompiledEstimator, shortest_s
from serving.model.named import opened
from serving.model.outputs import Array
from serving.model.store import LoadedModel, estimator_in_place, load
from serving.model.stored import ModelError
from serving.problems import UNLIKE_TRAINING, FieldError, name_at
from serving.settings import Runtime, load_settings

Errors: TypeAlias = Literal["fail", "null"]
Table: TypeAlias = Any  # a pyarrow.Table or a pyarrow.RecordBatch

WARNINGS, ERROR = "warnings", "error"
NOTHING: Mapping[int, FieldError] = {}
TIMED_ROWS, TIMED_RUNS = 8192, 3  # to find out what is quicker


class BadRowsError(ValueError):
    """Some rows are not what the model takes; the message has the first of them."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What a model says of some rows.

    ``batch`` has the answers, a row for each row: null where there is none. ``mistakes`` are those
    of bad rows, by their place, in order; a pointer begins at the row. ``unusual`` counts warnings
    by feature. ``values`` has what was predicted for the good rows, an array for each target.
    ``drift`` counts these rows in the bins of `Scorer.watch`, if the model has any.
    """

    batch: pa.RecordBatch
    mistakes: list[tuple[int, FieldError]]
    unusual: Counter[str]
    values: tuple[pa.Array, ...]
    drift: Array | None


class Scorer:
    """Scores tables with a model: a callable from a table, or a batch of one, to another.

    What it gives has the input's columns, or some of them, and beside them those of the service's
    CSV: ``prediction`` (``prediction_TARGET`` of several), ``probability_CLASS`` or ``score``; then
    ``warnings`` and ``error``, texts, or null where there is nothing to tell.
    """

    def __init__(
        self, model: str, columns: Sequence[str] | None = None, errors: Errors = "null"
    ) -> None:
        """Load a model: by its tag in the store, its folder, or an exported file.

        ``columns`` are those of the input that are given back, all if None. Bad rows get no answer
        and a reason; with ``fail`` they are an error.

        Raises:
            ModelError: it is not there, or can't be loaded.
        """
        settings = load_settings()
        self._columns, self._errors = columns, errors
        held = ExitStack()  # what was unpacked is there as long as this scorer is
        weakref.finalize(self, held.close)
        self._stored = held.enter_context(opened(model, settings.state_path))
        self.description = self._stored.description
        self.about = About(self.description, str(self._stored.tag.version))
        loaded, example = load(self._stored, settings.runtime, lazily=True)
        self._model: LoadedModel = loaded
        is_exact = isinstance(loaded, CompiledEstimator) and loaded.is_exact
        self._may_be_slow = is_exact and settings.runtime is Runtime.AUTO
        self._labels = [pa.array(labels) for labels in labels_of(self.description)]
        document = self.about.document(example)
        names = [name for name, _ in named_cells(document, self.description.targets)]
        answers = loaded.answers(by_columns(self.description.features, [self.description.example]))
        kinds = [values.type for values in self._predicted(answers)]
        kinds += [pa.float64()] * len(answers.numbers)
        fields = list(zip(names, kinds, strict=True))
        self.answer_schema = pa.schema([*fields, (WARNINGS, pa.string()), (ERROR, pa.string())])
        self.watch: Watch | None = None
        self.unwatched = TURNED_OFF  # why nothing is watched, if nothing is
        if settings.drift:
            try:
                self.watch = watch_of(self.description, settings.drift_features)
            except ValueError as exc:
                self.unwatched = str(exc)

    def __call__(self, table: Table) -> Table:
        """Score a table, or a batch of one.

        Raises:
            TableError: it does not fit the model, or is damaged.
            BadRowsError: rows are bad, and that is to be an error.
        """
        if isinstance(table, pa.RecordBatch):
            return self._scored(table)
        schema = self.schema(table.schema)
        batches = [self._scored(batch) for batch in table.to_batches() if len(batch)]
        return pa.Table.from_batches(batches, schema)

    def schema(self, given: pa.Schema) -> pa.Schema:
        """Give the columns of what is given for a table of such columns.

        Raises:
            TableError: it does not fit the model.
        """
        kept = pa.schema([given.field(at) for at in self._fit(given).kept])
        return schema_beside(kept, self.answer_schema)

    def _fit(self, given: pa.Schema) -> Fit:
        names = self.answer_schema.names
        return check_fit(given, self.description.features, self._columns, names)

    def _scored(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        fit = self._fit(batch.schema)
        validate(batch, tuple({*fit.features, *fit.kept}))
        columns = [
            column_of(feature, batch.column(at))[0]
            for feature, at in zip(self.description.features, fit.features, strict=True)
        ]
        scored = self.score(columns)
        if self._errors == "fail" and scored.mistakes:
            row, told = scored.mistakes[0]
            count = len({at for at, _ in scored.mistakes})
            raise BadRowsError(
                f"{count} rows are bad, row {row + 1} of its batch first: {worded(told)}"
            )
        return beside(batch.select(list(fit.kept)), scored.batch)

    def score(
        self, columns: Sequence[Column], broken: Mapping[int, FieldError] = NOTHING
    ) -> Scored:
        """Score rows, given by the columns of the features; those that are broken get no answer.

        Raises:
            ModelError: the estimator, which nothing has needed before, can't be loaded.
        """
        judged = judge(self.description.features, columns, broken)
        good, columns = judged.good, judged.columns
        mistakes, warnings = judged.mistakes, judged.warnings
        places = np.flatnonzero(good)
        failures: dict[int, BaseException] = {}
        answers = self._answers(columns, places, failures) if len(places) else None
        if failures:
            answered = ~np.isin(places, list(failures))
            columns = [column.take(answered) for column in columns]
            mistakes = [*mistakes, *_failed(failures, warnings)]
            good[list(failures)] = False
            warnings = among(warnings, good)
        bad = ((int(at), told) for told, rows in mistakes for at in rows)
        unusual: Counter[str] = Counter()
        for told, rows in warnings:
            unusual[name_at(told.pointer)] += len(rows)
        return Scored(
            self._batch(good, answers, warnings, mistakes),
            sorted(bad, key=itemgetter(0)),
            unusual,
            self._predicted(answers) if answers else (),
            self.watch.count_columns(columns, answers) if self.watch and answers else None,
        )

    def _answers(
        self, columns: Sequence[Column], places: Array, failures: dict[int, BaseException]
    ) -> Answers | None:
        """Ask the model; rows on which it fails, by their places, are found by halving."""
        try:
            return self._ask(columns)
        except ModelError:
            raise
        except (Exception, SystemExit) as exc:  # whatever a model raises
            rows = len(places)
            if rows == 1:
                failures[int(places[0])] = exc
                return None
            half = rows // 2
            ends = ((0, half), (half, rows))
            parts = [
                self._answers([c.part(at, to) for c in columns], places[at:to], failures)
                for at, to in ends
            ]
            answered = [part for part in parts if part is not None]
            return joined(answered) if answered else None

    def _ask(self, columns: Sequence[Column]) -> Answers:
        if self._may_be_slow and len(columns[0]) >= TIMED_ROWS:
            # The estimator gives the same bits, and for many rows it may be the quicker one.
            self._may_be_slow = False
            some = [column.part(0, TIMED_ROWS) for column in columns]
            with suppress(ModelError):  # it is not needed
                both = self._model, estimator_in_place(self._stored)
                self._model = min(
                    both, key=lambda one: shortest_s(partial(one.answers, some), TIMED_RUNS)
                )
        return self._model.answers(columns)

    def _predicted(self, answers: Answers) -> tuple[pa.Array, ...]:
        """Give what was predicted, an array for each target."""
        if not self._labels:
            return tuple(map(pa.array, answers.values))
        return tuple(
            labels.take(pa.array(values))
            for labels, values in zip(self._labels, answers.values, strict=True)
        )

    def _batch(
        self,
        good: Array,
        answers: Answers | None,
        warnings: Sequence[Remark],
        mistakes: Sequence[Remark],
    ) -> pa.RecordBatch:
        """Put the answers to good rows where they belong, and what there is to tell beside them."""
        rows = len(good)
        told = [_texts(remarks, rows) for remarks in (warnings, mistakes)]
        if answers is None:
            kinds = self.answer_schema.types[: -len(told)]
            return pa.record_batch(
                [*(pa.nulls(rows, kind) for kind in kinds), *told], schema=self.answer_schema
            )
        arrays = [*self._predicted(answers), *map(pa.array, answers.numbers)]
        if len(answers) < rows:
            places = pa.array(np.cumsum(good) - 1, mask=~good)
            arrays = [array.take(places) for array in arrays]
        kinds = self.answer_schema.types
        arrays = [array.cast(kind) for array, kind in zip(arrays, kinds, strict=False)]
        return pa.record_batch([*arrays, *told], schema=self.answer_schema)


def _failed(failures: Mapping[int, BaseException], warnings: Sequence[Remark]) -> Iterator[Remark]:
    """Tell of rows on which the model has failed, as the service does.

    A ValueError is how scikit-learn refuses input: of unusual rows it tells that these are why.
    """
    for at, exc in sorted(failures.items()):
        row = np.array([at])
        unusual = [told for told, rows in warnings if at in rows]
        if unusual and isinstance(exc, ValueError):
            yield from (Remark(told, row) for told in unusual)
            yield Remark(FieldError("", UNLIKE_TRAINING), row)
        else:
            yield Remark(FieldError("", f"the model fails on it: {type(exc).__name__}"), row)


def _texts(remarks: Sequence[Remark], rows: int) -> pa.Array:
    """Give what is told of rows as texts, null where that is nothing.

    Few sets of remarks are told of many rows: each of these texts is written once.
    """
    texts: list[str | None] = [None]
    text_of = np.zeros(rows, dtype=np.int64)
    for told, places in remarks:
        before = text_of[places]
        after = np.zeros(len(texts), dtype=np.int64)
        for text in np.flatnonzero(np.bincount(before)):
            after[text] = len(texts)
            texts.append("; ".join(filter(None, (texts[text], worded(told)))))
        text_of[places] = after[before]
    return pa.array(texts, pa.string()).take(pa.array(text_of))


def worded(told: FieldError) -> str:
    """Give a remark on a row as a sentence, with the name of the column that it is about."""
    return f"{name_at(told.pointer)}: {told.detail}" if told.pointer else told.detail
