"""What a model says of itself: written by training, kept beside the estimator, read by serving.

Its features have a room of their own, `serving.model.features`.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, field_validator

from serving.model.domains import Frozen
from serving.model.features import Feature, Row
from serving.model.reading import Reading

Label = StrictBool | StrictInt | Annotated[StrictFloat, Field(allow_inf_nan=False)] | StrictStr
Task = Literal["classification", "regression", "clustering", "outlier-detection"]
InputForm = Literal["array", "texts", "dicts", "gapped-dicts", "frame", "categorical-frame"]
ScoringMethod = Literal["predict_proba", "decision_function"]
ExplainingMethod = Literal["linear", "trees", "enumeration", "sampled"]
ExplainedOutput = Literal["probability", "value", "score", "log-odds", "log-ratio"]
INLIER, OUTLIER = "inlier", "outlier"


def label_key(label: Label) -> str:
    """Give a label as a key of a JSON object: a string as it is, another as JSON writes it."""
    return label if isinstance(label, str) else json.dumps(label)


class Metrics(Frozen):
    """Scores of the model and of a dummy that ignores the features, on the same rows.

    ``split`` tells which rows: such as the scored model was not fitted on, unless it says so.
    """

    split: str
    values: Mapping[str, float]
    dummy: Mapping[str, float]


class Training(Frozen):
    """What the served estimator was fitted on: the number of rows, and a digest of the data."""

    rows: int
    fingerprint: str


class Categories(Frozen):
    """A column of pandas' dtype ``category``: its values in order, and the dtype of these."""

    values: tuple[Label, ...]
    dtype: str
    ordered: bool = False


class Asked(Frozen):
    """How the estimator has to be asked, so that its answers are those that it gives in process.

    ``input`` is what it is given: an array, or what training saw to be the only form that gives
    the same answers. That is a data frame (with strings as pandas' categories), a list of texts,
    one for each row, or a list of dicts by feature name (gapped ones lack what is missing).
    ``dtypes`` has those of the columns of the frame on which it was fitted that do not follow from
    the feature's type; beside an array, those of categories.

    ``batching`` tells how rows that are asked for together compare with the same rows alone:
    ``invariant``, alike bit for bit; ``tolerant``, alike within 1e-12 but for rows that serving
    finds and asks for alone (numbers beyond ``usual`` times those seen in training, and scores that
    are all but tied); ``alone``, not alike, so each row is asked for alone. Where it is not known
    what training saw, ``tried`` has the sizes up to which numbers were tried instead.

    ``scored_by`` names the method that tells more than ``predict``, and ``scores_by_class`` that
    the columns of ``decision_function`` belong to the classes. ``label_by`` names the method whose
    largest value is at the label. ``shortcut`` says that serving may take the one past a
    booster's wrapper (`serving.model.shortcut`), which was seen to give the same, bit for bit.
    """

    input: InputForm
    dtypes: Mapping[str, Categories | str] = Field(default_factory=dict)
    batching: Literal["invariant", "tolerant", "alone"]
    scored_by: ScoringMethod | None
    scores_by_class: bool
    label_by: ScoringMethod | None
    usual: float = 100.0
    shortcut: bool = False
    tried: Mapping[str, float] = Field(default_factory=dict)

    def takes_for_category(self, name: str) -> bool:
        """Tell whether a column of numbers was one of pandas' categories."""
        return isinstance(self.dtypes.get(name), Categories)


class Compiled(Frozen):
    """That the estimator was compiled to an ONNX graph, and how that was proven.

    For ``rows`` rows, of the table and such as are likeliest to differ, the graph gave the labels
    of ``predict``, and numbers within the ``tolerance`` of the estimator's, relative and absolute;
    the ``largest_difference`` is what was seen. Serving finds the rows for which that says nothing,
    where labels are all but tied and numbers far from training's, and asks the estimator itself.
    An ``exact`` graph was alike bit for bit, for these too, and needs no estimator beside it. With
    ``same_bits`` the graph gave each row the same bits alone and in batches of all sizes tried, at
    whatever place; it is false, too, where a version that did not look saved the model.

    ``onnxruntime`` is the version by which that holds, and ``sha256`` the graph's digest.
    """

    rows: int
    tolerance: float
    largest_difference: float
    exact: bool
    same_bits: bool = False
    onnxruntime: str
    sha256: str


class Explained(Frozen):
    """How predictions are explained, and that it was proven: see `serving.explaining`.

    ``output`` says what base and contributions add up to: the ``probability``, ``value`` or
    ``score`` that is answered; the ``log-odds`` of an answered probability; or, of more than two
    classes, its ``log-ratio``, the logarithm less the mean of those of all classes. Those that are
    not ``exact`` are told with standard errors, and ``why_sampled`` has the reasons. ``background``
    says of what the ``background_rows`` are made with which a row is compared: rows of training, or
    what is published of them.

    For ``rows`` rows of the table they added up to what the model answers; ``largest_difference``
    is what was seen, relative and absolute. ``sha256`` is the digest of what is kept for them.
    """

    method: ExplainingMethod
    output: ExplainedOutput
    exact: bool
    background: Literal["training", "published"]
    background_rows: int
    rows: int
    largest_difference: float
    sha256: str
    why_sampled: str | None = None


class Reference(Frozen):
    """How many rows of training fell into each bin, for comparison with what is served.

    ``edges`` divide numbers, or the lengths of texts, each the last of the bin below it. ``others``
    has digests of the categories that have no bin of their own, for they may be somebody's. Which
    bins there are, and what falls into them, `serving.drift.bins` says; but a category that one row
    alone has counts as unseen, as it would be had that row come later.
    """

    edges: tuple[float, ...] = ()
    others: tuple[str, ...] = ()
    rows: Mapping[str, int]


class References(Frozen):
    """What training saw: of the features, by name, and of what was predicted, by target.

    The features' are of all rows; the predictions', and those of the largest probability of each
    (``confidence``), of rows like those to come. One that is not asked for a target has the name
    "". ``importance`` has the features, the most important first, where that was measured.
    """

    features: Mapping[str, Reference]
    predictions: Mapping[str, Reference]
    confidence: Mapping[str, Reference]
    importance: tuple[str, ...] = ()


class Description(Frozen):
    """All that training knows about a model.

    ``targets`` names what is predicted, and is empty where nothing was given to learn. ``classes``
    has the labels in ``classes_`` order, a list of them for each target if there are several, and
    is null where there are none. ``versions`` holds the Python and package versions that fitted the
    estimator, ``requirements`` the packages that it needs beside those of the service, and
    ``artifact_sha256`` the digest of its file. ``code`` has the digests of the modules that travel
    with it, by their paths in the folder of that name. ``compiled`` tells why it was not compiled,
    if it was not, and ``explained`` why its predictions can't be explained. ``ignored`` names the
    columns of the table that are no features, the targets among them: a client that sends its whole
    row may name them. ``reference`` is what requests can be compared with; versions that kept none
    saved models without. It and ``training`` are null, too, where it is not known what the
    estimator was fitted on. ``is_graph`` says that the estimator is an ONNX file as somebody has
    brought it. ``reading`` tells how the table's cells were read; it is null where none was text,
    or an older version saved the model.
    """

    name: str
    task: Task
    created: datetime
    features: tuple[Feature, ...]
    ignored: tuple[str, ...] = ()
    targets: tuple[str, ...]
    classes: tuple[Label, ...] | tuple[tuple[Label, ...], ...] | None
    metrics: Metrics
    training: Training | None
    versions: Mapping[str, str]
    requirements: tuple[str, ...]
    artifact_sha256: str
    asked: Asked
    code: Mapping[str, str] = Field(default_factory=dict)
    compiled: Compiled | str = "it was saved by a version that compiled none"
    explained: Explained | str = "it was saved by a version that kept nothing for explanations"
    reference: References | None = None
    is_graph: bool = False
    reading: Reading | None = None

    @field_validator("classes")
    @classmethod
    def _told_apart(
        cls, classes: tuple[Label, ...] | tuple[tuple[Label, ...], ...] | None
    ) -> tuple[Label, ...] | tuple[tuple[Label, ...], ...] | None:
        for labels in _by_target(classes):
            if len({label_key(label) for label in labels}) < len(labels):
                raise ValueError("two classes have the same name in JSON")
        return classes

    @property
    def classes_by_target(self) -> tuple[tuple[Label, ...], ...]:
        """The classes of each target; none, where there are none."""
        return _by_target(self.classes)

    @property
    def example(self) -> Row:
        """A row of all features' examples."""
        return tuple(feature.example for feature in self.features)


def _by_target(
    classes: tuple[Label, ...] | tuple[tuple[Label, ...], ...] | None,
) -> tuple[tuple[Label, ...], ...]:
    if not classes:
        return ()
    if isinstance(classes[0], tuple):
        return classes
    return (classes,)
