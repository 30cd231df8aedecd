"""Code that travels with a model: modules of a person's own, which its estimator imports.

They lie in the model's folder, and are found there alone, each by its very name. They are read from
source: byte code beside it would be checked by no digest, and that folder may be read-only.

A process has one module of a name. So a name that has other code already is refused: another
model's, or that of an installed package.
"""

import sys
import sysconfig
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path, PurePosixPath
from types import CodeType, ModuleType

OWN = frozenset({"service", "serving"})  # which the service is made of, loaded or not yet


class CodeError(Exception):
    """A module can't be imported under its name; the message says why and what to do."""


def module_of(file: str) -> str:
    """Name the top-level module that a file belongs to, by its path in the folder of the code."""
    return PurePosixPath(file).parts[0].removesuffix(".py")


class CodeFinder(MetaPathFinder):
    """Finds the modules of a folder, and nothing in it that was not named when it was saved."""

    def __init__(self, folder: Path, files: Mapping[str, str], whose: str) -> None:
        """Take the files by their paths in the folder, with their digests, and who brings them."""
        self.folder = folder
        self.whose = whose
        self.digests: dict[str, dict[str, str]] = {}
        for file, digest in files.items():
            self.digests.setdefault(module_of(file), {})[file] = digest
        self._files = frozenset(files)
        self._folders = frozenset(str(part) for f in files for part in PurePosixPath(f).parents)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Find a module of this folder.

        Raises:
            ModuleNotFoundError: it belongs to a package of this folder, and is not in it.
        """
        if fullname.partition(".")[0] not in self.digests:
            return None
        place = fullname.replace(".", "/")
        if (file := f"{place}/__init__.py") in self._files:
            return self._spec(fullname, file, [str(self.folder / place)])
        if (file := f"{place}.py") in self._files:
            return self._spec(fullname, file, None)
        if place in self._folders:  # as Python takes a folder without __init__.py
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [str(self.folder / place)]
            return spec
        raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)

    def _spec(self, name: str, file: str, inside: list[str] | None) -> ModuleSpec | None:
        location = str(self.folder / file)
        return spec_from_file_location(
            name,
            location,
            loader=SourceAlone(name, location),
            submodule_search_locations=inside,
        )


class SourceAlone(SourceFileLoader):
    """Loads source, and neither reads nor writes byte code."""

    def get_code(self, fullname: str) -> CodeType:
        """Compile it anew."""
        return self.source_to_code(self.get_data(self.path), self.path)


def let_find(folder: Path, files: Mapping[str, str], whose: str) -> CodeFinder:
    """Let this process import the modules of a folder, from now on.

    ``files`` has their digests by their paths in it, and ``whose`` names in messages who brings
    them. Modules that are there already, with the same code, stay as they are.

    Raises:
        CodeError: one has the name of other code.
    """
    finder = CodeFinder(folder, files, whose)
    others = [other for other in sys.meta_path if isinstance(other, CodeFinder)]
    for name, digests in [*finder.digests.items()]:
        if other := next((each for each in others if name in each.digests), None):
            if other.digests[name] != digests:
                raise CodeError(
                    f"{whose} brings other code under the name {name} than {other.whose}, and a "
                    "process has one module of a name: serve them by two servers, or rename it in "
                    "one and train that again"
                )
            del finder.digests[name]
        elif taken := _taken(name, folder):
            raise CodeError(f"{whose} brings {name}, which is the name of {taken}: rename it")
    if finder.digests:
        sys.meta_path.insert(0, finder)
    return finder


@contextmanager
def without_others(files: Iterable[str], whose: str) -> Iterator[None]:
    """Load a model that brings these files as if nobody had brought other modules.

    It may need modules that it does not bring, and would get other models' of the same name.

    Raises:
        CodeError: it has found such a module elsewhere, and there can be only one.
    """
    own = set(map(module_of, files))
    finders = [each for each in sys.meta_path if isinstance(each, CodeFinder)]
    hidden = [
        (finder, name, finder.digests.pop(name))
        for finder in finders
        for name in {*finder.digests} - own
    ]
    names = {name: finder.whose for finder, name, _ in hidden}
    modules = _pop_modules(names)
    try:
        yield
        found = _pop_modules(names)
    finally:
        for finder, name, digests in hidden:
            finder.digests[name] = digests
        sys.modules.update(modules)
    for name in {module.partition(".")[0] for module in found}:
        raise CodeError(
            f"{whose} needs a module {name} that was not brought with it, and {names[name]} brings "
            "other code of that name: train it again with --code, or serve them by two servers"
        )


def _pop_modules(names: Container[str]) -> dict[str, ModuleType]:
    """Take what was imported of some top-level modules out of the place where it is looked for."""
    return {
        module: sys.modules.pop(module)
        for module in [*sys.modules]
        if module.partition(".")[0] in names
    }


def forget(finders: Iterable[CodeFinder]) -> None:
    """Let this process find other code under these names."""
    for finder in finders:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)
        _pop_modules(finder.digests)


def _taken(name: str, folder: Path) -> str:
    """Tell what else has a name; nothing, if it is free."""
    if name in sys.stdlib_module_names:
        return "a module of Python itself"
    if name in OWN:
        return "a module of this service"
    if name in sys.modules:
        return "a module that is imported already"
    installed = [sysconfig.get_path(place) for place in ("purelib", "platlib")]
    found = PathFinder.find_spec(name, installed)
    if found is None or found.origin is None:  # the latter, of a folder without __init__.py
        return ""
    origin = Path(found.origin)
    ours = folder / name / "__init__.py" if origin.stem == "__init__" else folder / f"{name}.py"
    if ours.is_file() and ours.read_bytes() == origin.read_bytes():  # it was brought from there
        return ""
    return "an installed package"
