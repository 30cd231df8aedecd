"""Rows of a request: JSON to validated rows, and all that is wrong or unusual about them.

`Rows` is made of the served model's features. It checks values in pydantic-core: first against what
training saw, which nearly all rows are like, and only what is unlike that against all that is
accepted. Rows that fail are looked at again, one by one, to tell all that is wrong with them up to
a limit. It refuses: 413 for too many rows, 422 for what the model does not take.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import Any, NoReturn, TypeAlias

from pydantic_core import SchemaValidator, ValidationError, core_schema

from serving.json_text import kind_of, overflows
from serving.model.features import Feature, Row
from serving.problems import BATCH_TOO_LARGE, INVALID_INPUT, FieldError, Problem, pointer

MAX_PROBLEMS = 100
MAX_NAME_CHARS = 200
ROWS_AT_ONCE = 1000  # are worked on in one call, which holds up all other threads

Place: TypeAlias = tuple[str | int, ...]
# Where a row stands in a body, given its number; or a value of it, given its name or number too.
Places: TypeAlias = Callable[..., Place]


def below(place: Place) -> Places:
    """Give the places of rows in a JSON array, each an array of values or an object by name."""
    return lambda *parts: (*place, *parts)


class Explain(StrEnum):
    """Of what the explanation is asked for."""

    PREDICTED = "true"
    ALL = "all"  # the classes


@dataclass(slots=True)  # not frozen: that costs a third of reading a request
class Question:
    """What a request asks: validated rows, and what is unlike training about them.

    ``warnings`` tells where, up to a limit; ``unusual`` counts all such values by feature.
    ``numbers`` are those of the rows in their request, where they are not all that it has.
    ``explain`` is nothing, where predictions are asked for alone.
    """

    rows: list[Row]
    is_one: bool  # and is answered as one, which may be kept for who asks the same
    warnings: Sequence[FieldError] = ()
    unusual: Mapping[str, int] = field(default_factory=dict)
    numbers: Sequence[int] = ()
    explain: Explain | None = None


class _Checks:
    """Checks rows in either form, all in pydantic-core."""

    def __init__(self, features: Sequence[Feature], ignored: Sequence[str], *, usual: bool) -> None:
        values = {f.name: f.usual() if usual else f.accepted() for f in features}
        # What is wrong is found out later, and of hostile rows it is much: the first ends a check.
        positional = core_schema.tuple_schema(list(values.values()), strict=False, fail_fast=True)
        named = core_schema.typed_dict_schema(
            {name: core_schema.typed_dict_field(value) for name, value in values.items()},
            extra_behavior="ignore",  # unknown names are found here, and named later
        )
        self._list_of_values = SchemaValidator(positional)
        self._object_by_name = SchemaValidator(named)
        self._lists = SchemaValidator(core_schema.list_schema(positional, fail_fast=True))
        names = tuple(values)
        self._in_order = itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)
        self._count = len(names)
        self._ignored = tuple(ignored)
        self._known = frozenset((*names, *ignored))

    def rows(self, items: list[object]) -> list[Row]:
        """Check instances."""
        for item in items:
            if type(item) is not list:
                return [self._row(item) for item in items]
        if len(items) <= ROWS_AT_ONCE:
            return self._lists.validate_python(items)  # type: ignore[no-any-return]
        rows: list[Row] = []
        for start in range(0, len(items), ROWS_AT_ONCE):
            rows += self._lists.validate_python(items[start : start + ROWS_AT_ONCE])
        return rows

    def _row(self, item: object) -> Row:
        if type(item) is dict and (len(item) == self._count or self._is_whole_row(item)):
            return self._in_order(self._object_by_name.validate_python(item))
        return self._list_of_values.validate_python(item)  # type: ignore[no-any-return]

    def _is_whole_row(self, item: dict[str, object]) -> bool:
        """Tell whether there are names of the table alone, and numbers that a double may hold."""
        return self._known.issuperset(item) and not overflows(
            [item[name] for name in self._ignored if name in item]
        )


class Rows:
    """Reads rows of a model's features."""

    def __init__(
        self, features: Sequence[Feature], max_rows: int, ignored: Sequence[str] = ()
    ) -> None:
        """Build the validators for rows of these features, in this order.

        Objects may have the ``ignored`` names too, whatever their values.
        """
        self.max_rows = max_rows
        self.features = tuple(features)
        self.types = frozenset(feature.type for feature in features)
        self.ignored = tuple(ignored)
        self.by_name = {feature.name: feature for feature in features}
        self.known = {*self.by_name, *ignored}  # names that an instance may have
        self._usual = _Checks(features, ignored, usual=True)
        self._accepted = _Checks(features, ignored, usual=False)

    def one(self, item: object, place: Place, mistakes: Sequence[FieldError] = ()) -> Question:
        """Read one instance: an array of values, or an object by feature name.

        ``place`` is where in the body it stands, and ``mistakes`` what is known to be wrong there
        already.

        Raises:
            Problem: 422, with all mistakes and where they are.
        """
        return self._read([item], lambda _, *parts: (*place, *parts), mistakes, is_one=True)

    def many(self, items: object, place: Place, mistakes: Sequence[FieldError] = ()) -> Question:
        """Read an array of instances.

        Raises:
            Problem: 413 or 422.
        """
        if type(items) is not list:
            refuse([*mistakes, expected("an array of instances", items, place)])
        return self.each(items, below(place), mistakes)

    def each(
        self,
        items: list[Any],
        places: Places,
        mistakes: Sequence[FieldError] = (),
        *,
        in_parts: bool = False,
    ) -> Question:
        """Read instances, wherever in a body their values stand.

        ``in_parts`` takes more of them than fit into one batch.

        Raises:
            Problem: 413 or 422.
        """
        if not in_parts:
            self.check_count(len(items))
        return self._read(items, places, mistakes, is_one=False)

    def check_count(self, count: int) -> None:
        """Refuse more rows than fit into one batch.

        Raises:
            Problem: 413.
        """
        if count > self.max_rows:
            raise Problem(
                BATCH_TOO_LARGE, f"{count} rows, but at most {self.max_rows} are accepted"
            )

    def _read(
        self,
        items: list[Any],
        places: Places,
        mistakes: Sequence[FieldError],
        *,
        is_one: bool,
    ) -> Question:
        if not mistakes:
            try:
                return Question(self._usual.rows(items), is_one)
            except ValidationError:
                pass  # unusual, or wrong
            with suppress(ValidationError):  # what is wrong is told in full below
                rows = self._accepted.rows(items)
                return self._unusual(Question(rows, is_one), items, places)
        mistakes = list(mistakes)
        for index, item in enumerate(items):
            if len(mistakes) >= MAX_PROBLEMS:
                break
            mistakes += self._mistakes(item, partial(places, index))
        refuse(mistakes)

    def _unusual(self, question: Question, items: list[Any], places: Places) -> Question:
        """Note which values of accepted rows training has not seen the like of."""
        counts: Counter[str] = Counter()
        warnings: list[FieldError] = []
        for index, (row, item) in enumerate(zip(question.rows, items, strict=True)):
            for at, (value, feature) in enumerate(zip(row, self.by_name.values(), strict=True)):
                if detail := feature.unlike(value):
                    counts[feature.name] += 1
                    if len(warnings) < MAX_PROBLEMS:
                        part = feature.name if type(item) is dict else at
                        warnings.append(FieldError(pointer(*places(index, part)), detail))
                    elif len(warnings) == MAX_PROBLEMS:
                        warnings.append(FieldError("", f"no more than {MAX_PROBLEMS} are listed"))
        question.warnings, question.unusual = warnings, counts
        return question

    def _mistakes(self, item: object, places: Places) -> list[FieldError]:
        """Tell all that is wrong with one instance; nothing, if nothing is."""
        if type(item) is dict:
            values = item
            mistakes = [
                FieldError(pointer(*places(name)), "missing")
                for name in self.by_name
                if name not in item
            ]
            others = (unknown(name, places()) for name in item if name not in self.known)
            mistakes += islice(others, MAX_PROBLEMS)
            mistakes += [
                FieldError(pointer(*places(name)), "a number overflows a double")
                for name in self.ignored
                if name in item and overflows(item[name])
            ]
        elif type(item) is list and len(item) == len(self.by_name):
            values = dict(zip(self.by_name, item, strict=True))
            mistakes = []
        elif type(item) is list:
            wanted = f"{len(self.by_name)} values, got {len(item)}"
            return [FieldError(pointer(*places()), f"expected {wanted}")]
        else:
            return [expected("an array of values or an object by feature name", item, places())]
        for index, (name, feature) in enumerate(self.by_name.items()):
            if name in values and (detail := feature.mistake(values[name])):
                part = name if type(item) is dict else index
                mistakes.append(FieldError(pointer(*places(part)), detail))
        return mistakes


def refuse(mistakes: Sequence[FieldError]) -> NoReturn:
    """Raise the 422 that lists the mistakes, up to the limit."""
    count = len(mistakes)
    if count < MAX_PROBLEMS:
        detail = f"{count} problem{'s' * (count != 1)} in the request body"
    else:
        detail = (
            f"{MAX_PROBLEMS} or more problems in the request body; no more than that are listed"
        )
    raise Problem(INVALID_INPUT, detail, errors=mistakes[:MAX_PROBLEMS])


def expected(wanted: str, value: object, place: Place) -> FieldError:
    """Tell that another type of value was expected at a place."""
    return FieldError(pointer(*place), f"expected {wanted}, got {kind_of(value)}")


def unknown(name: str, place: Place) -> FieldError:
    """Tell of a name that is not known in an object at a place."""
    if len(name) > MAX_NAME_CHARS:
        return FieldError(pointer(*place), f"unknown name of {len(name)} characters")
    return FieldError(pointer(*place, name), "unknown name")
