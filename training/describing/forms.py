"""In which form an estimator has to be given rows: an array, a frame of certain dtypes, texts.

That an estimator answers is no proof that it was fitted on such a form. It is tried in all of them.
What the person says, what the estimator itself tells and the table's own dtypes name the form that
is right; where nothing does, all that answer have to agree. Refuses what nothing decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from serving.console import listed
from serving.model.description import Asked, Categories, Description, InputForm
from serving.model.estimator import Estimator
from serving.model.features import Row
from serving.model.outputs import Array
from training.describing.columns import Column
from training.describing.comparing import alike, told_of_all
from training.describing.dtypes import categories_of
from training.describing.evidence import Evidence
from training.errors import TrainingError, UndecidedError

MAX_REASON_CHARS = 200  # of what a library says
MAX_SUSPECTED = 50  # different values of a column of numbers that may have been categories
NAMELESS = ("array", "texts")
DICTS = ("dicts", "gapped-dicts")
NAMES: Mapping[InputForm, str] = {
    "texts": "list of texts",
    "dicts": "list of dicts",
    "gapped-dicts": "list of dicts that lack what is missing",
    "categorical-frame": "frame with categories for texts",
}
WAY_ON = (
    "Name the columns that had pandas' dtype category with --category, which stands alone if none "
    "had, or bring a --reference in Parquet that was written from a frame like the one that it was "
    "fitted on"
)
WAY_ON_WITH_DICTS = (
    "Leave rows with missing values out of the --reference: then none are taken in requests"
)


@dataclass(frozen=True, slots=True)
class Form:
    """A form in which rows are given; ``dtypes`` are those of a frame's columns."""

    input: InputForm
    dtypes: Mapping[str, Categories | str] = field(default_factory=dict, hash=False)

    def of(self, description: Description) -> Description:
        """Give a description of an estimator that is asked in this form."""
        changes = {"input": self.input, "dtypes": self.dtypes}
        asked = Asked.model_validate({**dict(description.asked), **changes})
        return description.model_copy(update={"asked": asked})

    @property
    def categories(self) -> list[str]:
        """The columns of dtype ``category``."""
        return [name for name, told in self.dtypes.items() if isinstance(told, Categories)]

    def __str__(self) -> str:
        """Name it for a person."""
        if self.categories:
            return f"a frame with categories in {listed(self.categories)}"
        return f"{'an' if self.input == 'array' else 'a'} {NAMES.get(self.input, self.input)}"


def with_form(
    estimator: Estimator, description: Description, rows: Sequence[Row], evidence: Evidence
) -> Description:
    """Find in which form an estimator is to be asked: the one that costs least of those alike.

    What is alike is told by the form that is right: by the dtypes that a person says, else the
    estimator, else the file. Without such dtypes it is an array for who counts features, but knows
    no names; a frame for who knows them; and for others all that they answer, which has to agree.

    Raises:
        TrainingError: it answers in none.
        UndecidedError: it answers differently in some, and nothing decides.
    """
    right = _right(description, evidence)
    answered, failures = _answers(estimator, description, rows, evidence, right)
    reasons = "\n".join(failures)
    if not answered:
        raise TrainingError(f"the estimator does not answer the rows of the table\n{reasons}")
    told = answered if evidence.named else _without_blind(answered)
    if right is not None and right in told:
        truth = told[right]
    elif right is not None and right.categories:
        raise TrainingError(
            f"the estimator was fitted on {right}, but does not answer such rows\n{reasons}"
        )
    else:
        truth = _agreed(told, evidence)
    found = next(form for form in told if alike(told[form], truth))
    if right is not None and found.input == "array":  # which of its numbers are categories
        found = replace(found, dtypes={name: right.dtypes[name] for name in right.categories})
    return found.of(description)


def _answers(
    estimator: Estimator,
    description: Description,
    rows: Sequence[Row],
    evidence: Evidence,
    right: Form | None,
) -> tuple[Mapping[Form, list[Array]], Sequence[str]]:
    """Ask in each form; give what is answered, and a line for each form that is not."""
    answered: dict[Form, list[Array]] = {}
    failures = []
    for form in _forms(description, rows, evidence, right):
        if form.input in DICTS and any(other.input not in DICTS for other in answered):
            break  # what takes dicts takes nothing else, but some take anything
        try:
            answered[form] = told_of_all(estimator, form.of(description), rows)
        except Exception as exc:  # estimators raise anything
            reason = " ".join(f"{type(exc).__name__}: {exc}".split())
            failures.append(f"given {form}: {reason[:MAX_REASON_CHARS]}")
        if right is None and evidence.named is False and Form("array") in answered:
            break  # it was fitted on arrays
    return answered, failures


def _right(description: Description, evidence: Evidence) -> Form | None:
    """Name the form on which the estimator was fitted, if it has dtypes that tell it."""
    dtypes: dict[str, Categories | str] = {}
    for feature in description.features:
        name, told = feature.name, evidence.told.get(feature.name, Column())
        kept = evidence.dtypes.get(name)
        is_plain = told.is_categorical is False or evidence.said is not None
        if evidence.said is not None and name in evidence.said:
            of_file = kept if isinstance(kept, Categories) else None
            dtypes[name] = told.categories or of_file or evidence.said[name]
        elif evidence.said is None and told.categories is not None:
            dtypes[name] = told.categories
        elif kept is not None and not (isinstance(kept, Categories) and is_plain):
            dtypes[name] = kept
    return Form("frame", dtypes) if dtypes or evidence.said is not None else None


def _forms(
    description: Description, rows: Sequence[Row], evidence: Evidence, right: Form | None
) -> list[Form]:
    """Give all forms to be tried, those that cost least when served first."""
    features = description.features
    forms = [Form("array"), Form("frame")]
    if len(features) == 1 and features[0].type in {"category", "text"}:
        forms.insert(1, Form("texts"))
    if right is not None and right.categories:
        forms.append(right)  # before that which makes categories of what one request has
    if any(feature.type in {"category", "text"} for feature in features):
        forms.append(Form("categorical-frame"))
    suspected = {}
    for feature, column in zip(features, zip(*rows, strict=True), strict=True):
        untold = evidence.told.get(feature.name, Column()).is_categorical is None
        if untold and 1 < len(set(column) - {None}) <= MAX_SUSPECTED:
            suspected[feature.name] = categories_of(column)
    if right is None and suspected:
        forms.append(Form("frame", suspected))
    if right is not None and right not in forms:
        forms.append(right)
    forms.append(Form("dicts"))
    if any(None in row for row in rows):
        forms.append(Form("gapped-dicts"))
    return forms


def _without_blind(answered: Mapping[Form, list[Array]]) -> Mapping[Form, list[Array]]:
    """Leave out frames whose rows are all answered alike, if a list of their texts is not.

    Who goes through a frame as through a list of texts gets the names of its columns, and what that
    tells of one may become the answer to all rows.
    """

    def sees(form: Form) -> bool:
        return any((one != one[:1]).any() for one in answered[form])

    if Form("texts") not in answered or not sees(Form("texts")):
        return answered
    return {form: arrays for form, arrays in answered.items() if sees(form)}


def _agreed(told: Mapping[Form, list[Array]], evidence: Evidence) -> list[Array]:
    """Give what is told in all forms on which the estimator may have been fitted.

    Raises:
        UndecidedError: that is not the same in all, or there is no such form.
    """
    if evidence.named is False and Form("array") in told:
        return told[Form("array")]
    possible = [form for form in told if not evidence.named or form.input not in NAMELESS]
    if not possible or not all(alike(told[form], told[possible[0]]) for form in possible):
        given = ", ".join(map(str, possible or told))
        way_on = WAY_ON_WITH_DICTS if all(form.input in DICTS for form in told) else WAY_ON
        raise UndecidedError(
            f"the estimator answers, but not alike, if it is given {given}: nothing tells on which "
            f"it was fitted. {way_on}"
        )
    return told[possible[0]]
