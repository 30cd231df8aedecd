"""Modules of a person's own, which travel with the model: what ``--code`` names.

They are copied first, and imported from the copy from then on: what is tried out is what is kept.
Source travels, and what lies beside it in a package; what was compiled for one machine does not.
"""

import keyword
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from serving.model.code import CodeError, CodeFinder, forget, let_find
from serving.model.stored import sha256
from training.errors import TrainingError

COMPILED = (".so", ".pyd", ".dll", ".dylib")
LEFT_OUT = ("__pycache__",)
SAID = "--code"


class Code:
    """Modules that are kept with a model, and can be imported until this is left.

    ``files`` has their digests by their paths in ``folder``. There is none before the first.
    """

    def __init__(self) -> None:
        """Start with none."""
        self.files: Mapping[str, str] = {}
        self._copies: TemporaryDirectory[str] | None = None
        self._finders: list[CodeFinder] = []

    def __enter__(self) -> "Code":
        """Nothing is done before a module comes."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Forget the modules, and remove the copies."""
        forget(self._finders)
        if self._copies is not None:
            self._copies.cleanup()

    @property
    def folder(self) -> Path | None:
        """Where the copies are."""
        return None if self._copies is None else Path(self._copies.name)

    def add(self, paths: Iterable[Path], whose: str = SAID) -> None:
        """Bring modules: files of Python, and folders of packages; ``whose`` they are is told.

        Nothing of them runs before it is imported.

        Raises:
            TrainingError: one can't travel, or has the name of another module.
        """
        for path in paths:
            self._add(Path(os.path.abspath(path)), path, whose)

    def _add(self, place: Path, given: Path, whose: str) -> None:
        """Copy one module, and let it be imported."""
        if not place.exists():
            raise TrainingError(f"there is no file or folder {given}, as {whose} says")
        name = place.name if place.is_dir() else place.stem
        if not (place.is_dir() or place.suffix == ".py"):
            raise TrainingError(f"{given} is no module: {whose} takes files of Python and folders")
        if not name.isidentifier() or keyword.iskeyword(name):
            raise TrainingError(f"{given} can't be imported: {name!r} is no name of a module")
        if self._copies is None:
            self._copies = TemporaryDirectory(prefix="code-")
        folder = Path(self._copies.name)
        found = [*_files_of(place)]
        if not any(file.suffix == ".py" for file in found):
            raise TrainingError(f"{given} has no file of Python in it")
        copied = {str(file.relative_to(place.parent)): file for file in found}
        if name in {one for finder in self._finders for one in finder.digests}:
            self._refuse_other(name, copied, whose)
            return
        for file, source in copied.items():
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        files = {file: sha256(folder / file) for file in copied}
        try:
            self._finders.append(let_find(folder, files, whose))
        except CodeError as exc:
            raise TrainingError(str(exc)) from None
        self.files = {**self.files, **files}

    def _refuse_other(self, name: str, files: Mapping[str, Path], whose: str) -> None:
        """Refuse other code under a name that has been brought."""
        digests = next(each.digests[name] for each in self._finders if name in each.digests)
        if digests != {file: sha256(source) for file, source in files.items()}:
            raise TrainingError(f"{whose} brings other code under the name {name} than came before")


def _files_of(place: Path) -> Iterator[Path]:
    """Give the files of a module, in order.

    Raises:
        TrainingError: one of them can't travel.
    """
    if place.is_dir():
        for inside in sorted(place.iterdir()):
            if inside.name in LEFT_OUT or inside.name.startswith(".") or inside.suffix == ".pyc":
                continue
            if not inside.name.isprintable():  # nor could the description tell of it
                raise TrainingError(f"{place} has a file with a name that can't be read: rename it")
            if inside.is_symlink():
                raise TrainingError(f"{inside} is a symbolic link: put there what it leads to")
            yield from _files_of(inside)
    elif not place.is_file():
        raise TrainingError(f"{place} is no file that could be copied")
    elif place.suffix in COMPILED:
        raise TrainingError(
            f"{place} was compiled for one kind of machine: code travels as source, and what is "
            "compiled in a package that is installed"
        )
    else:
        yield place
