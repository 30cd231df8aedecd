"""What a server has to serve: as settings, bento and desired state together have it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from serving.model.state import State, leaves_open, read_state, split_alias
from serving.settings import Settings, name_of


class Wanted(NamedTuple):
    """What is wanted, and by which settings and which revision of the desired state."""

    settings: Settings
    revision: int
    tags: tuple[str, ...]  # as they are named
    models: tuple[str, ...]  # the same, exactly; the first is meant where none is named


def wanted(
    settings: Settings, packed: Sequence[str] = (), served: Mapping[str, str] = {}
) -> Wanted:
    """Find out what is to be served.

    What settings name wins over what is ``packed`` into the bento, and what was promoted over a
    version from before. ``latest`` is found once: of a model that nobody has promoted, the version
    that is ``served``, by name, stays.

    Raises:
        ModelError: there is no such model, or no such alias.
        StateError: the desired state can't be read.
    """
    state = read_state(settings.state_path)
    is_set = settings.model_fields_set & {"model", "models"}
    tags = settings.tags if is_set or not packed else tuple(packed)
    models = tuple(exact(tag, state, served) for tag in tags)
    return Wanted(settings, state.revision, tags, models)


def versions(models: Sequence[str]) -> dict[str, str]:
    """Give the versions of exact tags, by the names of the models."""
    return dict(tag.split(":", 1) for tag in models)


def exact(tag: str, state: State, served: Mapping[str, str]) -> str:
    """Give the exact tag that one means to a server that serves these versions.

    Raises:
        ModelError: there is no such model, or no such alias.
    """
    name = name_of(tag)
    is_bare = leaves_open(tag) and not split_alias(tag)[1]
    if is_bare and name in served and not state.of(name).promoted:
        return f"{name}:{served[name]}"
    return f"{name}:{state.version_of(tag)}"
