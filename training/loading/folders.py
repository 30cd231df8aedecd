"""Folders of MLflow: where in them a model lies, and which of its files may be read.

A model's own folder has a file MLmodel. Version 2 puts it below the artifacts of a run; version 3
beside the runs, and a run's outputs name it. What a file of the folder names is read only if it
lies in the folder.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

import yaml  # type: ignore[import-untyped]

from training.errors import TrainingError

MLMODEL = "MLmodel"
MAX_BYTES = 50_000_000  # of a file of text, which is small
MAX_NODES = 100_000  # of YAML, where an alias counts as all that it stands for
MAX_NAMED = 20
WITHIN = (  # where a folder that is none of a model has some
    "artifacts/MLmodel",  # of version 3
    "artifacts/**/MLmodel",  # of a run of version 2
    "models/*/artifacts/MLmodel",  # of an experiment of version 3
    "*/artifacts/*/MLmodel",  # of an experiment of version 2
    "*/artifacts/MLmodel",
    "*/MLmodel",
    "*/models/*/artifacts/MLmodel",  # of all experiments
    "*/*/artifacts/*/MLmodel",
)


def is_folder(source: str) -> bool:
    """Tell whether a folder is named, or a file MLmodel, which stands for its folder."""
    path = Path(source)
    return path.is_dir() or path.name == MLMODEL


def name_of(source: str) -> str:
    """Give the name of a folder, or that of its model if it has one."""
    path = Path(source).absolute()
    with suppress(TrainingError):  # which is told when it is read
        path = model_folder(path)
    path = path.parent if path.name == "artifacts" else path
    with suppress(OSError, TrainingError):
        return str(parsed(path / "meta.yaml").get("name") or path.name)
    return path.name


def model_folder(path: Path) -> Path:
    """Find the folder of the one model in a folder.

    Raises:
        TrainingError: it has none, or several.
    """
    if path.name == MLMODEL:
        path = path.parent
    if (path / MLMODEL).is_file():
        return path
    found = {file.parent for pattern in WITHIN for file in path.glob(pattern)}
    for output in path.glob("outputs/*"):  # of a run of version 3
        found |= _of_output(output)
    if path.parent.name == "outputs":
        found |= _of_output(path)
    if not found:
        raise TrainingError(
            f"{path} is a folder without a model of MLflow: none in it has a file {MLMODEL}"
        )
    if len(found) > 1:
        names = [f"{folder} ({name_of(str(folder))})" for folder in sorted(found)]
        more = [f"and {len(names) - MAX_NAMED} more"] if len(names) > MAX_NAMED else []
        told = "\n".join([*names[:MAX_NAMED], *more])
        raise TrainingError(f"{path} has {len(names)} models: name one of\n{told}")
    return found.pop()


def _of_output(output: Path) -> set[Path]:
    """Give the folder of the model that an output of a run names, if it is at hand."""
    folder = output.absolute().parents[2] / "models" / output.name / "artifacts"
    return {folder} if (folder / MLMODEL).is_file() else set()


def inside(folder: Path, name: object) -> Path:
    """Give the file, or the folder, of a name that a file of the folder has.

    Raises:
        TrainingError: it is no name, not there, or leads out of the folder.
    """
    whose = folder / MLMODEL
    if not isinstance(name, str) or not name:
        raise TrainingError(f"{whose} names no file where one is expected")
    if "\0" in name or "\\" in name or PurePosixPath(name).is_absolute():
        raise TrainingError(f"{whose} names {name!r}, which is no file of its folder")
    path = folder / name
    try:
        leaves = not path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # links that lead in a circle
        leaves = True
    if leaves:
        raise TrainingError(f"{whose} names {name!r}, which leads out of its folder")
    if not path.exists():
        raise TrainingError(f"{whose} names {name!r}, which is not there: the folder is not whole")
    return path


def parsed(file: Path) -> Mapping[str, Any]:
    """Read a file of YAML or JSON that holds an object; no tag of YAML makes it anything else.

    Raises:
        OSError: it can't be read.
        TrainingError: it holds something else.
    """
    if not file.is_file():
        raise TrainingError(f"{file} is no file")
    if file.stat().st_size > MAX_BYTES:
        raise TrainingError(f"{file} is too large: {MAX_BYTES} bytes are taken at most")
    try:
        held = yaml.load(file.read_text("utf-8"), _Loader)  # noqa: S506 (it is a safe one)
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        reason = " ".join(str(exc).split())
        raise TrainingError(f"{file} can't be read as YAML: {reason}") from None
    if not isinstance(held, dict):
        raise TrainingError(f"{file} holds no object")
    return held


class _Loader(yaml.SafeLoader):
    """Refuses aliases of aliases of aliases, which take a line each, and grow beyond all bounds."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._count = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401 (PyYAML's own)
        """Take the next node, and count all that are in it."""
        before, is_alias = self._count, self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        # One that is not whole yet is in itself.
        self._count += self._sizes.get(id(node), MAX_NODES) if is_alias else 1
        if self._count > MAX_NODES:
            raise yaml.YAMLError(f"it holds more than {MAX_NODES} values, as aliases are counted")
        if not is_alias:
            self._sizes[id(node)] = self._count - before
        return node


def parsed_json(text: str, what: str) -> Any:  # noqa: ANN401 (any JSON)
    """Read JSON.

    Raises:
        TrainingError: it is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise TrainingError(f"{what} can't be read as JSON: {exc}") from None
