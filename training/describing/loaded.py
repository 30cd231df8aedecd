"""Loads a model as serving does, without some packages, and tells what it takes.

A program of its own, for ``packages.py``: takes a folder with an estimator and its description, and
on stdin a JSON array of modules that it has to do without. Prints which of them is missed, or the
files of the modules that the model has imported.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from serving.console import take_any_text


class Without:
    """Finds no module of some names, as if they were not installed."""

    def __init__(self, names: Sequence[str]) -> None:
        """Take the names of top-level modules."""
        self._names = frozenset(names)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Stand before all other finders."""
        if name.partition(".")[0] in self._names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def causes(exc: BaseException | None) -> Iterator[BaseException]:
    """Give an exception and what it came from."""
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__


def tell(result: object) -> None:
    """Print the result on a line of its own: the last one, whatever the estimator has printed."""
    print()
    print(json.dumps(result))


def main() -> None:
    """Load, ask for the example, tell."""
    take_any_text()
    without = json.load(sys.stdin)
    sys.meta_path.insert(0, Without(without))
    import joblib  # scikit-learn imports pandas if it finds it, so not before

    from serving.model.code import let_find
    from serving.model.description import Description
    from serving.model.estimator import FittedEstimator

    before = set(sys.modules)
    folder = Path(sys.argv[1])
    description = Description.model_validate_json((folder / "description.json").read_bytes())
    code = let_find(folder / "code", description.code, "the model").folder
    try:
        FittedEstimator(joblib.load(folder / "estimator"), description).warm_up()
    except BaseException as exc:
        for cause in causes(exc):
            missed = (getattr(cause, "name", None) or "").partition(".")[0]
            if isinstance(cause, ImportError) and missed in without:
                tell({"missed": missed})
                return
        sys.exit(f"{type(exc).__name__}: {exc}")
    files = [getattr(sys.modules[name], "__file__", None) for name in set(sys.modules) - before]
    own = [file for file in filter(None, files) if not Path(file).is_relative_to(code)]
    tell({"files": sorted(own)})


if __name__ == "__main__":
    main()
