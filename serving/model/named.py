"""A model as a person names it: by its tag in the store, its folder, or an exported file.

What scores tables reads models so: it may run where the store of the machine that trained is not.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bentoml

from serving.model.state import read_state
from serving.model.stored import ModelError, VerifiedModel, found, verify
from serving.settings import name_of

EXPORTED = ".bentomodel"  # of files that `bentoml models export` writes
_UNPACKED: list[bentoml.Model] = []  # whose code may be imported as long as this process runs


def exact(model: str, state_file: Path) -> str:
    """Give the name by which all processes find the same: a tag with its version, or a whole path.

    Raises:
        ModelError: there is no such model in the store, or no such alias.
        StateError: the desired state can't be read.
    """
    if _is_path(model):
        return str(Path(model).expanduser().resolve())
    return f"{name_of(model)}:{read_state(state_file).version_of(model)}"


@contextmanager
def opened(model: str, state_file: Path) -> Iterator[VerifiedModel]:
    """Open and verify the model of a tag, in a folder or in an exported file, to be loaded.

    A tag means what it means to a server. A path has a slash in it, or ends as exported files do.
    What is unpacked goes afterwards, or, where the model brings code, when the process ends.

    Raises:
        ModelError: it is not there, can't be read, is damaged, or needs what is not installed.
        StateError: the desired state can't be read.
    """
    place = exact(model, state_file)
    stored = _read(Path(place)) if _is_path(model) else found(place)
    verified = verify(stored)
    if verified.description.code:
        _UNPACKED.append(stored)
    yield verified


def _is_path(model: str) -> bool:
    return os.sep in model or model.endswith(EXPORTED)


def _read(place: Path) -> bentoml.Model:
    """Read a model outside of the store; what is unpacked goes when nobody holds it any more."""
    try:
        if place.is_dir():
            return bentoml.Model.from_path(str(place))
        if not place.exists():
            raise ModelError(f"there is no file or folder {place}")
        return bentoml.Model.import_from(str(place))
    except ModelError:
        raise
    except Exception as exc:  # of tarfile, zipfile, lzma, zlib, YAML or BentoML
        raise ModelError(
            f"{place} can't be read as a model: name the folder of a version in the model store, "
            f"or a file that `bentoml models export` wrote ({exc})"
        ) from None
