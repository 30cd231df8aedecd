"""Loads a model as serving does, without some packages, and tells what it takes.

A program of its own, for ``packages.py``: takes a folder with an estimator, its description and the
code that travels with it, and on stdin a JSON object with the ``modules`` and ``packages`` that it
has to do without, and ``rows`` to ask for. Prints which of them is missed, or the files of the
modules that the model has imported.
"""

import json
import re
import sys
from collections.abc import Collection, Sequence
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path
from types import ModuleType
from typing import Any

from serving.console import take_any_text


class Without:
    """Finds no module of some names, as if they were not installed."""

    def __init__(self, names: Collection[str]) -> None:
        """Take the names of top-level modules."""
        self._names = frozenset(names)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Stand before all other finders."""
        if name.partition(".")[0] in self._names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def canonical(name: str) -> str:
    """Write a package's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def hide(packages: Collection[str]) -> None:
    """Let nobody find the version of some packages, as if they were not installed."""
    found = Distribution.from_name

    def from_name(name: str) -> Distribution:
        if canonical(name) in packages:
            raise PackageNotFoundError(name)
        return found(name)

    Distribution.from_name = from_name  # type: ignore[method-assign]


def missed(exc: BaseException | None, without: dict[str, Any]) -> str | None:
    """Tell which module, or which package, it was for want of which this was raised."""
    while exc is not None:
        name = getattr(exc, "name", None) or ""
        if isinstance(exc, PackageNotFoundError):
            if canonical(name) in without["packages"]:
                return canonical(name)
        elif isinstance(exc, ImportError) and name.partition(".")[0] in without["modules"]:
            return str(name.partition(".")[0])
        exc = exc.__cause__ or exc.__context__
    return None


def tell(result: object) -> None:
    """Print the result on a line of its own: the last one, whatever the estimator has printed."""
    print()
    print(json.dumps(result))


def main() -> None:
    """Load, ask for the example and for rows of all kinds, tell."""
    take_any_text()
    given = json.load(sys.stdin)
    sys.meta_path.insert(0, Without(given["modules"]))
    hide(given["packages"])
    import joblib  # scikit-learn imports pandas if it finds it, so not before

    from serving.model.code import let_find
    from serving.model.description import Description
    from serving.model.estimator import FittedEstimator

    before = set(sys.modules)
    folder = Path(sys.argv[1])
    description = Description.model_validate_json((folder / "description.json").read_bytes())
    code = let_find(folder / "code", description.code, "the model").folder
    rows = [tuple(row) for row in given["rows"]]
    try:
        model = FittedEstimator(joblib.load(folder / "estimator"), description)
        model.warm_up()
        for asked in (rows, *([row] for row in rows)) if rows else ():
            try:
                model.predict(asked)
            except Exception as exc:  # it may fail on these, but not for want of a package
                if missed(exc, given):
                    raise
    except BaseException as exc:
        if name := missed(exc, given):
            tell({"missed": name})
            return
        sys.exit(f"{type(exc).__name__}: {exc}")
    files = [getattr(sys.modules[name], "__file__", None) for name in set(sys.modules) - before]
    own = [file for file in filter(None, files) if not Path(file).is_relative_to(code)]
    tell({"files": sorted(own)})


if __name__ == "__main__":
    main()
