"""What a model needs beside the service: found by loading it where that is all there is."""

import importlib
import sys
import threading
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from xgboost import XGBClassifier

from serving.model.description import Asked, Description
from serving.model.features import Feature
from serving.model.wrapped import CodedLabels
from tests.unit.samples import asked, category, description, number, regression
from tests.wire.estimators import Fragile
from training.describing.packages import Needed, needed_by
from training.errors import TrainingError
from training.loading.code import Code

Estimator = Any  # scikit-learn has no type for it
VALUES = np.arange(40.0).reshape(20, 2) % 7
BOOSTING = "xgboost-cpu"
LABELS = np.where(VALUES[:, 0] > 3, "ham", "spam").astype(object)


def of_numbers(**changes: Asked) -> Description:
    """Describe a model of two numbers that gives one."""
    return regression("price", **changes)


@pytest.mark.slow
def test_a_model_that_takes_arrays_though_fitted_on_a_frame_does_not_even_need_pandas() -> None:
    estimator = LinearRegression().fit(
        pd.DataFrame(VALUES, columns=["length", "width"]), VALUES[:, 0]
    )

    assert needed_by(estimator, of_numbers()) == Needed((), ())


@pytest.mark.slow
def test_a_model_that_takes_frames_needs_pandas_as_it_is_here() -> None:
    frame = pd.DataFrame({"colour": ["red", "blue"] * 10, "length": VALUES[:, 0]})
    columns = make_column_transformer((OneHotEncoder(), ["colour"]), remainder="passthrough")
    estimator = make_pipeline(columns, LinearRegression()).fit(
        frame.astype({"colour": object}), VALUES[:, 1]
    )
    features: tuple[Feature, ...] = (category("colour"), number("length"))

    needed = needed_by(estimator, of_numbers(features=features, asked=asked(input="frame")))  # type: ignore[arg-type]

    assert f"pandas=={version('pandas')}" in needed.packages
    assert needed.files == ()
    names = [requirement.partition("==")[0] for requirement in needed.packages]
    assert "scikit-learn" not in names
    assert "pytest" not in names
    assert names == sorted(names)


@pytest.mark.slow
def test_files_of_the_project_that_a_model_needs_are_named() -> None:
    """That it prints while it is asked is nothing to be confused by."""
    estimator = Fragile(LogisticRegression().fit(VALUES, LABELS))

    needed = needed_by(estimator, description())

    assert needed.packages == ()
    assert "tests/wire/estimators.py" in needed.files
    assert not any(file.startswith((".venv", "training", "serving")) for file in needed.files)


def own_module(
    folder: Path, monkeypatch: pytest.MonkeyPatch, source: str, name: str = "own_module"
) -> Estimator:
    """Make an estimator of a module in a folder where other processes find it too."""
    (folder / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    module = __import__(name)
    monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, name, module)
    return module.Estimator()


ONES = """
import numpy as np
class Estimator:
    def predict(self, rows):
        {first}
        return np.ones(len(rows))
"""


@pytest.mark.slow
def test_a_module_elsewhere_is_named_with_its_path_whatever_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ONES.format(first="print('asked', end='')")
    estimator = own_module(tmp_path, monkeypatch, source)

    assert needed_by(estimator, of_numbers()) == Needed((), (str(tmp_path / "own_module.py"),))


@pytest.mark.slow
def test_a_package_that_is_only_needed_to_answer_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimator = own_module(tmp_path, monkeypatch, ONES.format(first="import hypothesis"))

    needed = needed_by(estimator, of_numbers())

    assert f"hypothesis=={version('hypothesis')}" in needed.packages


@pytest.mark.slow
@pytest.mark.parametrize(
    "first",
    [
        "import numpy; numpy.isnan(rows).any() and __import__('hypothesis')",
        "len(rows) > 2 and __import__('hypothesis')",
        "import importlib.metadata; importlib.metadata.version('hypothesis')",
    ],
    ids=["where a value is missing", "for a batch", "as its version is looked at"],
)
def test_a_package_that_is_only_needed_now_and_then_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    estimator = own_module(tmp_path, monkeypatch, ONES.format(first=first))
    features: tuple[Feature, ...] = (number("length", nullable=True), number("width"))
    described = regression("price").model_copy(update={"features": features})

    needed = needed_by(estimator, described, [(1.0, 2.0)] * 3)

    assert f"hypothesis=={version('hypothesis')}" in needed.packages


@pytest.mark.slow
def test_gradient_boosting_needs_the_package_that_has_no_code_for_graphics_cards() -> None:
    """What gives back its labels is in the service."""
    coded = CodedLabels(XGBClassifier(n_estimators=2, n_jobs=1)).fit(VALUES, LABELS)

    assert needed_by(coded, description()) == Needed((f"xgboost-cpu=={version(BOOSTING)}",), ())


@pytest.mark.slow
def test_code_that_travels_is_found_where_it_was_copied_to(tmp_path: Path) -> None:
    (tmp_path / "own_steps.py").write_text(ONES.format(first="pass"))
    with Code() as code:
        code.add([tmp_path / "own_steps.py"])
        estimator = importlib.import_module("own_steps").Estimator()
        (tmp_path / "own_steps.py").unlink()
        described = of_numbers().model_copy(update={"code": code.files})

        assert needed_by(estimator, described, (), code.folder) == Needed((), ())


@pytest.mark.slow
def test_a_model_whose_module_is_nowhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(sys)("nowhere_at_all")
    monkeypatch.setitem(sys.modules, "nowhere_at_all", module)
    exec(ONES.format(first="pass"), module.__dict__)  # noqa: S102 (this file's own code)

    with pytest.raises(TrainingError) as caught:
        needed_by(module.Estimator(), of_numbers())

    assert str(caught.value) == (
        "the estimator can't be loaded in another process, as serving does it: "
        "ModuleNotFoundError: No module named 'nowhere_at_all'"
    )


@pytest.mark.slow
def test_a_model_of_the_main_program_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    main = sys.modules["__main__"]
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(ONES.format(first="pass"), namespace)  # noqa: S102 (this file's own code)
    monkeypatch.setattr(main, "Estimator", namespace["Estimator"], raising=False)

    with pytest.raises(TrainingError, match=r"as serving does it: AttributeError.*Estimator"):
        needed_by(namespace["Estimator"](), of_numbers())


@pytest.mark.slow
@pytest.mark.parametrize(
    "first",
    [
        "raise ValueError('not today')",
        "raise SystemExit",  # without a code it would be no failure
    ],
)
def test_a_model_that_fails_in_another_process_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    estimator = own_module(tmp_path, monkeypatch, ONES.format(first=first))

    with pytest.raises(TrainingError, match="can't be loaded in another process"):
        needed_by(estimator, of_numbers())


def test_a_model_that_can_not_be_pickled_is_refused() -> None:
    estimator = LinearRegression().fit(VALUES, VALUES[:, 0])
    estimator.guard = threading.Lock()

    with pytest.raises(TrainingError, match="the estimator can't be pickled: "):
        needed_by(estimator, of_numbers())


@pytest.mark.slow
def test_functions_of_no_module_need_cloudpickle() -> None:
    estimator = make_pipeline(FunctionTransformer(lambda rows: rows * 2), LinearRegression())

    needed = needed_by(estimator.fit(VALUES, VALUES[:, 0]), of_numbers())

    assert needed == Needed((f"cloudpickle=={version('cloudpickle')}",), ())
