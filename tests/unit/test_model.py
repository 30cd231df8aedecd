"""The model: what is loaded is what was saved, and it answers as the fitted estimator would."""

import json
import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import bentoml
import joblib
import numpy as np
import pytest
import sklearn
from packaging.version import Version
from sklearn.datasets import load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from serving.description import Label
from serving.model import (
    ARTIFACT,
    DESCRIPTION,
    Model,
    ModelError,
    ServedModel,
    VerifiedModel,
    library_versions,
    model_info,
    save,
    verify,
)
from serving.schemas import Prediction, Row
from tests.unit.fakes import ProbaEstimator, SignEstimator
from tests.unit.samples import description, feature

Estimator = Any  # scikit-learn has no type for it
OURS = Version(sklearn.__version__)
AGREEMENT = 1e-12  # of numbers, relative and absolute: the contract's
ROWS: list[Row] = [(-1.0, 0.0), (2.0, 0.0), (3.0, 0.0)]


def other_release(major: int = 0, minor: int = 0, micro: int = 0) -> str:
    """Give a version that many releases away from the installed scikit-learn."""
    return f"{OURS.major + major}.{OURS.minor + minor}.{OURS.micro + micro}"


# Saved and loaded


def stored(tag: bentoml.Tag) -> bentoml.Model:
    """Look a model up in the store."""
    return bentoml.models.get(tag)


def answers(model: Model, rows: list[Row]) -> list[Prediction]:
    """Ask as the batcher does: in company, and again alone where the model wants that."""
    predictions, sensitive = model.predict(rows)
    for index in sensitive:
        predictions[index] = model.predict([rows[index]])[0][0]
    return predictions


@pytest.fixture
def saved() -> bentoml.Model:
    """Save a small model."""
    return stored(save(SignEstimator(), description()))


def rewrite_description(model: bentoml.Model, **changes: object) -> None:
    """Change what a model in the store says of itself."""
    file = Path(model.path) / DESCRIPTION
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_what_was_saved_can_be_verified_loaded_and_asked(saved: bentoml.Model) -> None:
    verified = verify(saved)
    assert verified.tag == saved.tag
    assert verified.description.name == "mail"
    model = Model.load(verified)
    assert [prediction.label for prediction in answers(model, ROWS)] == ["ham", "spam", "spam"]


def test_the_estimator_stays_loadable_with_bentoml_alone(saved: bentoml.Model) -> None:
    assert isinstance(bentoml.sklearn.load_model(saved.tag), SignEstimator)


def test_the_store_knows_the_task_the_scores_and_the_data(saved: bentoml.Model) -> None:
    assert saved.info.labels == {"task": "classification"}
    assert saved.info.metadata == {"metrics": {"accuracy": 0.75}, "fingerprint": "sha256:0123"}
    assert saved.info.context.framework_versions == {"scikit-learn": sklearn.__version__}


def test_two_models_of_one_name_are_two_versions(saved: bentoml.Model) -> None:
    again = save(SignEstimator(), description())
    assert again.name == saved.tag.name
    assert again.version != saved.tag.version
    assert stored(bentoml.Tag(again.name, "latest")).tag == again


def test_a_model_that_could_not_be_saved_leaves_nothing_in_the_store() -> None:
    before = {model.tag for model in bentoml.models.list()}
    with pytest.raises((pickle.PicklingError, AttributeError)):
        save(lambda: None, description())
    assert {model.tag for model in bentoml.models.list()} == before


def test_a_missing_model_is_told_with_what_to_do() -> None:
    with pytest.raises(ModelError, match=r"no model nowhere:latest .* `python train\.py`"):
        ServedModel("nowhere:latest").resolve()


def test_a_reference_finds_the_version_that_is_really_there(saved: bentoml.Model) -> None:
    assert ServedModel("mail:latest").resolve().tag == saved.tag


# Refused before it is unpickled


class Trap:
    """Unpickling it is noticed."""

    sprung = False

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        """Run code when unpickled."""
        return _spring, ()


def _spring() -> None:
    Trap.sprung = True


@pytest.fixture
def trap() -> bentoml.Model:
    """Save a model that notices when it is unpickled."""
    Trap.sprung = False
    return stored(save(Trap(), description()))


@pytest.mark.parametrize(
    "version",
    [
        other_release(minor=1),
        other_release(minor=-1),
        other_release(major=1),
        other_release(major=-1),
        other_release(minor=-1) + "rc1",
    ],
)
def test_a_model_of_another_minor_version_is_refused_before_it_is_unpickled(
    trap: bentoml.Model, version: str
) -> None:
    rewrite_description(trap, versions={"scikit-learn": version})
    with pytest.raises(ModelError) as caught:
        verify(trap)
    assert f"fitted with scikit-learn {version}, but {OURS} is installed" in str(caught.value)
    assert "install scikit-learn" in str(caught.value)
    assert not Trap.sprung


def test_a_model_of_another_patch_release_is_served_with_a_warning(saved: bentoml.Model) -> None:
    version = other_release(micro=1)
    rewrite_description(saved, versions={"scikit-learn": version})
    with pytest.warns(UserWarning, match=f"fitted with scikit-learn {version}; {OURS} serves it"):
        verified = verify(saved)
    assert answers(Model.load(verified), ROWS[:1]) == [Prediction("ham", None)]


@pytest.mark.parametrize("versions", [{}, {"scikit-learn": "newest"}], ids=["none", "nonsense"])
def test_a_model_that_does_not_tell_its_version_is_refused(
    trap: bentoml.Model, versions: dict[str, str]
) -> None:
    rewrite_description(trap, versions=versions)
    with pytest.raises(ModelError):
        verify(trap)
    assert not Trap.sprung


def test_a_damaged_file_is_refused_before_it_is_unpickled(trap: bentoml.Model) -> None:
    with (Path(trap.path) / ARTIFACT).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ModelError, match=f"is damaged: {ARTIFACT} is not the file saved"):
        verify(trap)
    assert not Trap.sprung


@pytest.mark.parametrize("missing", [ARTIFACT, DESCRIPTION])
def test_a_model_with_a_file_missing_is_refused(trap: bentoml.Model, missing: str) -> None:
    (Path(trap.path) / missing).unlink()
    with pytest.raises(ModelError, match=rf"has no {missing}: save it with train\.py"):
        verify(trap)


def test_a_model_saved_with_bentoml_alone_is_refused() -> None:
    model = bentoml.sklearn.save_model("foreign", LogisticRegression())
    with pytest.raises(ModelError, match=f"has no {DESCRIPTION}"):
        verify(model)


@pytest.mark.parametrize(
    "changes",
    [{"task": "clustering"}, {"features": [{"name": "x"}]}, {"surprise": 1}, {"classes": None}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_description_that_cannot_be_read_is_refused(
    trap: bentoml.Model, changes: dict[str, object]
) -> None:
    rewrite_description(trap, **changes)
    with pytest.raises(ModelError, match=rf"{DESCRIPTION} .* can't read .*: train it again"):
        verify(trap)
    assert not Trap.sprung


def test_a_description_that_is_not_json_is_refused(trap: bentoml.Model) -> None:
    (Path(trap.path) / DESCRIPTION).write_bytes(b"\xff{")
    with pytest.raises(ModelError, match="train it again"):
        verify(trap)


def test_a_pickle_that_cannot_be_read_here_is_told_as_such(
    saved: bentoml.Model, tmp_path: Path
) -> None:
    (tmp_path / ARTIFACT).write_bytes(b"no pickle")
    with pytest.raises(ModelError, match="can't be unpickled"):
        Model.load(VerifiedModel(saved.tag, tmp_path, description()))


# Told


def test_model_info_tells_all_that_is_public(saved: bentoml.Model) -> None:
    info = model_info(verify(saved))
    assert info == {
        "name": "mail",
        "version": saved.tag.version,
        "task": "classification",
        "created": "2024-05-06T07:08:09Z",
        "features": [
            {
                "name": name,
                "type": "number",
                "nullable": False,
                "trained": {"minimum": 0.0, "maximum": 9.0},
                "domain": {"minimum": -1e12, "maximum": 1e12},
                "example": 4.5,
            }
            for name in ("length", "a/b ~c")
        ],
        "classes": ["ham", "spam"],
        "metrics": {"split": "held out: 3 of 12 rows", "values": {"accuracy": 0.75}},
        "training": {"rows": 12, "fingerprint": "sha256:0123"},
        "runtime": {"name": "sklearn", "proven": "the fitted estimator itself answers"},
        "versions": {"scikit-learn": sklearn.__version__},
        "size_bytes": (Path(saved.path) / ARTIFACT).stat().st_size,
    }


@pytest.mark.parametrize(
    "classes", [("1", "2"), (1, 2), (1.5, 2.5), (False, True)], ids=["str", "int", "float", "bool"]
)
def test_classes_keep_their_types_in_the_store(classes: tuple[Label, ...]) -> None:
    read_back = verify(stored(save(SignEstimator(), description(classes)))).description.classes
    assert read_back == classes
    assert list(map(type, read_back)) == list(map(type, classes))


def test_the_versions_that_matter_to_a_model_are_known() -> None:
    versions = library_versions()
    assert versions["scikit-learn"] == sklearn.__version__
    assert versions["joblib"] == joblib.__version__
    assert set(versions) == {"python", "scikit-learn", "numpy", "scipy", "joblib"}


# Asked


def test_a_model_without_predict_proba_gives_labels_alone() -> None:
    model = Model(SignEstimator(), description())
    assert answers(model, ROWS) == [
        Prediction("ham", None),
        Prediction("spam", None),
        Prediction("spam", None),
    ]


def test_the_label_is_that_of_predict_and_not_of_the_largest_probability() -> None:
    model = Model(ProbaEstimator([0.9, 0.1]), description())
    assert answers(model, [(1.0, 0.0)]) == [Prediction("spam", [0.9, 0.1])]


def test_a_model_of_one_class_can_be_asked() -> None:
    model = Model(ProbaEstimator([1.0]), description(classes=("spam",)))
    assert answers(model, [(1.0, 0.0)] * 2) == [Prediction("spam", [1.0])] * 2


@pytest.mark.parametrize(
    ("estimator", "complaint"),
    [
        (ProbaEstimator([0.5, np.nan]), "not finite"),
        (ProbaEstimator([np.inf, 0.0]), "not finite"),
        (ProbaEstimator([0.2, 0.3, 0.5]), r"shape \(3, 3\)"),
        (ProbaEstimator([[0.2, 0.8]]), r"shape \(1, 2\)"),
    ],
)
def test_an_answer_that_is_no_answer_is_an_error(estimator: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Model(estimator, description()).predict(ROWS)


def test_a_wrong_number_of_labels_is_an_error() -> None:
    class Forgetful(SignEstimator):
        def predict(self, features: np.ndarray) -> np.ndarray:
            return super().predict(features)[:-1]

    with pytest.raises(ValueError, match=r"predict gave an array of shape \(2,\)"):
        Model(Forgetful(), description()).predict(ROWS)


def test_warming_up_gives_the_prediction_of_the_example() -> None:
    assert Model(SignEstimator(), description()).warm_up() == Prediction("spam", None)


def test_a_model_that_fails_on_its_own_example_is_told_as_such() -> None:
    with pytest.raises(ModelError, match="model mail fails on its example"):
        Model(ProbaEstimator([0.5, np.nan]), description()).warm_up()


def test_what_the_estimator_raises_comes_out() -> None:
    class Broken:
        def predict(self, features: np.ndarray) -> np.ndarray:
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        Model(Broken(), description()).predict(ROWS)


# Fidelity

IRIS = load_iris()
SPECIES = IRIS.target_names[IRIS.target]


def _scaled(estimator: Estimator) -> Estimator:
    return make_pipeline(StandardScaler(), estimator)


ESTIMATORS: dict[str, tuple[Estimator, np.ndarray]] = {
    "logistic": (_scaled(LogisticRegression(random_state=0)), SPECIES),
    "two classes": (_scaled(LogisticRegression(random_state=0)), SPECIES == "virginica"),
    "integers": (LinearDiscriminantAnalysis(), IRIS.target),
    "network": (_scaled(MLPClassifier(8, max_iter=2000, tol=0.01, random_state=0)), SPECIES),
    "forest": (RandomForestClassifier(5, random_state=0), SPECIES),
    "kernel": (_scaled(SVC(random_state=0)), SPECIES),
    "linear, no probabilities": (_scaled(LinearSVC(random_state=0)), SPECIES),
    "two classes, no probabilities": (_scaled(LinearSVC(random_state=0)), IRIS.target == 1),
    "ridge, no probabilities": (RidgeClassifier(), SPECIES),
}


@cache
def fitted(name: str) -> Estimator:
    """Fit one of the estimators."""
    estimator, target = ESTIMATORS[name]
    return estimator.fit(IRIS.data, target)


def served(name: str) -> Model:
    """Serve one of the estimators."""
    estimator = fitted(name)
    return Model(
        estimator,
        description(
            classes=tuple(estimator.classes_.tolist()),
            features=tuple(feature(name) for name in IRIS.feature_names),
        ),
    )


@cache
def telling_rows(name: str) -> list[Row]:
    """Give rows as measured, from around, from far away, and from both sides of boundaries."""
    random = np.random.default_rng(0)
    around = random.uniform(-10, 20, size=(40, 4))
    exponents = random.uniform(0, np.repeat([[3], [12]], 30, axis=0), size=(60, 4))
    far_away = random.choice((-1, 1), size=(60, 4)) * 10**exponents
    # Where large numbers all but cancel, their rounding shows in the probabilities.
    undecided = _boundary(name, far_away, random)
    undecided += random.normal(size=undecided.shape)
    boundary = _boundary(name, IRIS.data, random)
    rows = np.concatenate([IRIS.data[::2], around, far_away, undecided, boundary])
    return [tuple(row) for row in rows.tolist()]


def _boundary(name: str, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Bisect between rows of different labels until nothing lies between the labels."""
    estimator = fitted(name)
    labels = estimator.predict(rows)
    found = [rows[:0]]
    for start, end in random.integers(len(rows), size=(24, 2)):
        if labels[start] == labels[end]:
            continue
        origin, way = rows[start], rows[end] - rows[start]
        low, high = 0.0, 1.0
        while low < (middle := (low + high) / 2) < high:
            if estimator.predict([origin + middle * way])[0] == labels[start]:
                low = middle
            else:
                high = middle
        found.append(np.array([origin + low * way, origin + high * way]))
    return np.concatenate(found)


@cache
def alone(name: str) -> list[tuple[Any, np.ndarray | None]]:
    """Ask the estimator itself, in process, for each row by itself."""
    estimator = fitted(name)
    return [
        (
            estimator.predict([row]).tolist()[0],
            estimator.predict_proba([row])[0] if hasattr(estimator, "predict_proba") else None,
        )
        for row in telling_rows(name)
    ]


def assert_faithful(name: str, answers: list[Prediction]) -> None:
    """Check answers against the fitted estimator's own."""
    for answer, (label, probabilities) in zip(answers, alone(name), strict=True):
        assert answer.label == label
        assert type(answer.label) is type(label)
        if probabilities is None:
            assert answer.probabilities is None
        else:
            assert answer.probabilities is not None
            np.testing.assert_allclose(
                answer.probabilities, probabilities, rtol=AGREEMENT, atol=AGREEMENT
            )


def test_boundary_rows_lie_at_the_boundary() -> None:
    """Otherwise the tests below would show nothing."""
    on_both_sides = alone("logistic")[-20:]
    for (one, likely), (other, _) in zip(on_both_sides[::2], on_both_sides[1::2], strict=True):
        assert one != other
        assert likely is not None
        best, second = np.sort(likely)[[-1, -2]]
        assert best - second < 1e-9


@pytest.mark.parametrize("size", [2, 64, 300])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_row_has_the_answer_that_it_would_have_alone_in_a_batch_of_any_size(
    name: str, size: int
) -> None:
    model, rows = served(name), telling_rows(name)
    batches = [rows[start : start + size] for start in range(0, len(rows), size)]
    assert_faithful(name, [answer for batch in batches for answer in answers(model, batch)])


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_row_alone_has_bit_for_bit_the_estimator_s_answer(name: str) -> None:
    model = served(name)
    for row, (label, probabilities) in zip(telling_rows(name), alone(name), strict=True):
        (answer,) = answers(model, [row])
        assert answer.label == label
        assert answer.probabilities == (None if probabilities is None else probabilities.tolist())


def test_a_model_whose_rows_do_not_touch_each_other_needs_none_of_them_alone() -> None:
    rows: list[Row] = [(1.0, 0.0), (1e6, 0.0)]
    told = description().model_copy(update={"batch_invariant": True})
    assert Model(ProbaEstimator([0.5, 0.5]), description()).predict(rows)[1] == [0, 1]
    assert Model(ProbaEstimator([0.5, 0.5]), told).predict(rows)[1] == []


@pytest.mark.parametrize("label", ["eggs", np.nan, None])
def test_a_label_that_is_none_of_the_classes_is_a_failure(label: object) -> None:
    class Inventive(SignEstimator):
        def predict(self, features: np.ndarray) -> np.ndarray:
            return np.array([label] * len(features), dtype=object)

    with pytest.raises(ValueError, match="none of the classes"):
        Model(Inventive(), description()).predict(ROWS)


def test_a_model_that_fails_on_its_own_example_is_refused() -> None:
    with pytest.raises(ModelError, match="fails on its example"):
        Model(ProbaEstimator([np.nan, 1]), description()).warm_up()
