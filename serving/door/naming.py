"""Paths that name a model: which it is that a request is for, and how the document shows them.

A route has one template for all models, and so one series in metrics. The document shows a path for
each model, in which its name stands, with what that model takes and answers. A platform's own path
that names a model other than the default, which would answer there, is refused.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from serving.door.openapi import of_model
from serving.door.routes import Handler, Operation, Route, Told
from serving.model.about import About
from serving.prediction.loaded import Loaded
from serving.prediction.shelf import Shelf
from serving.problems import NOT_FOUND, Problem

# The parts of a path that name a model and its version.
MODEL, VERSION = "{model}", "{version}"
# Tells why clients of a model, or of any if none is given, should ask another server.
Unready: TypeAlias = Callable[[Loaded | None], str | None]


def found(shelf: Shelf, parts: Mapping[str, Any]) -> Loaded:
    """Find the model that a path names by its parts; the default, if it names none.

    Raises:
        Problem: 404, it is not there.
    """
    return shelf.find(parts.get(MODEL[1:-1]), parts.get(VERSION[1:-1]))


def misnamed(paths: Iterable[str], shelf: Shelf) -> str | None:
    """Tell of a path that says a model's name and means the default, as a platform's own might."""
    others = {loaded.about.name for loaded in shelf.all} - {shelf.default.about.name}
    for path in paths:
        said = re.search("/models/([^/:]+)", path)
        if said and said[1] in others:
            return (
                f"{path}, a path of the platform, would mean the first model, "
                f"{shelf.default.about.name}: name {said[1]} first, or choose another path"
            )
    return None


def meant_at(path: str, shelf: Shelf) -> Callable[[Mapping[str, Any]], About | None]:
    """Give what tells of a request to a path which model it is for, if there is such a one."""
    default = shelf.default.about

    def named(parts: Mapping[str, Any]) -> About | None:
        try:
            return found(shelf, parts).about
        except Problem:
            return None

    return named if MODEL in path else lambda _: default


def shown(path: str, shelf: Shelf, describe: Callable[[Loaded], Operation]) -> Told:
    """Describe what is at a path: once for each model, if it names one.

    Of other models than the default the operations have the model's name in theirs; and what is
    described otherwise than for the default has it too.
    """
    usual = describe(shelf.default)
    if MODEL not in path:
        return {path: usual}
    if VERSION in path:  # which is another operation
        usual = replace(usual, name=f"{usual.name}OfVersion")
    told: dict[str, Operation] = {}
    for loaded in shelf.all:
        name, version = loaded.about.name, loaded.about.version
        tells = usual
        if loaded is not shelf.default:
            tells = replace(describe(loaded), name=f"{usual.name}.{name}")
            if tells.schemas != usual.schemas:
                tells = of_model(tells, name)
        told[path.replace(MODEL, name).replace(VERSION, version)] = tells
    return told


def of_each_model(
    part: str, shelf: Shelf, answer: Handler, describe: Callable[[Loaded, str], Operation]
) -> Iterator[Route]:
    """Give the routes of what is told of a model: by its name, and of the default without one.

    ``describe`` is given the path that is shown.
    """
    path = f"/model/{part}"
    tells_default = {path: describe(shelf.default, path)}
    yield Route("GET", path, answer, tells_default, model=meant_at(path, shelf))
    path = f"/models/{MODEL}/{part}"

    def tells(loaded: Loaded) -> Operation:
        told = describe(loaded, path.replace(MODEL, loaded.about.name))
        return replace(told, name=f"{part}OfModel", problems=(*told.problems, NOT_FOUND))

    yield Route("GET", path, answer, shown(path, shelf, tells), model=meant_at(path, shelf))
