"""What is told of versions: those of the store, what is wanted of them, who serves them.

Each as a document for JSON, and as lines for people.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from serving.model.description import Description
from serving.model.state import CHAMPION, State
from serving.model.stored import ModelError, described, kept
from serving.settings import name_of
from serving.versions.servers import Servers

_GAP = "  "


def versions(state: State, servers: Servers, name: str | None = None) -> list[dict[str, Any]]:
    """Give all versions of the store, or those of one model, by model, the oldest first.

    After them come those that are gone from it, and are served or wanted all the same.

    Raises:
        ModelError: there is no such model.
    """
    tags = [str(model.tag) for model in kept()]
    names = sorted({name_of(tag) for tag in tags} | state.models.keys())
    if name is not None and name not in names:
        raise ModelError(f"no model {name} in the model store")
    return [
        {"name": each, "versions": [*_versions(each, tags, state, servers)]}
        for each in names
        if name in {None, each}
    ]


def _versions(
    name: str, tags: Sequence[str], state: State, servers: Servers
) -> Iterator[dict[str, Any]]:
    wanted = state.of(name)
    shadow = wanted.shadow
    own = [tag for tag in tags if name_of(tag) == name]
    answering = [status.models.get(name) for status in servers.values()]
    also = {*answering, *wanted.promoted[-1:], *wanted.aliases.values(), shadow and shadow.version}
    gone = {f"{name}:{version}" for version in also if version} - {*own}
    for tag in (*own, *sorted(gone)):
        version = tag.partition(":")[2]
        yield {
            "version": version,
            "is_gone": tag in gone,
            **_told(tag),
            "champion": wanted.of_alias(CHAMPION) == version,
            "aliases": sorted(alias for alias, of in wanted.aliases.items() if of == version),
            "shadow": shadow.share if shadow and shadow.version == version else None,
            "served_by": sorted(
                status.parent for status in servers.values() if status.models.get(name) == version
            ),
        }


def _told(tag: str) -> dict[str, Any]:
    """Tell what a version says of itself; what is damaged can say nothing."""
    try:
        description = described(tag)
    except ModelError as exc:
        return {"created": None, "score": None, "problem": str(exc)}
    return {
        "created": description.created.isoformat(timespec="seconds"),
        "score": _score(description),
        "problem": None,
    }


def _score(description: Description) -> dict[str, Any] | None:
    first = next(iter(description.metrics.values.items()), None)
    return None if first is None else {"name": first[0], "value": first[1]}


def version_lines(models: Iterable[Mapping[str, Any]]) -> list[str]:
    """Give a table of them."""
    lines = [
        [
            f"{model['name']}:{each['version']}",
            each["created"] or "",
            f"{each['score']['name']} {each['score']['value']:.4f}" if each["score"] else "",
            ", ".join(_roles(each)),
            ", ".join(map(str, each["served_by"])),
        ]
        for model in models
        for each in model["versions"]
    ]
    return aligned([["MODEL", "CREATED", "SCORE", "IS", "SERVED BY"], *lines])


def _roles(version: Mapping[str, Any]) -> Iterator[str]:
    if version["champion"]:
        yield CHAMPION
    yield from version["aliases"]
    if version["shadow"] is not None:
        yield f"shadow of {version['shadow']:g} %"
    if version["problem"]:
        yield "gone from the store" if version["is_gone"] else "damaged"


def history(state: State, name: str) -> list[dict[str, Any]]:
    """Give what was decided about a model, the oldest first."""
    return [change.model_dump(mode="json") for change in state.of(name).history]


def history_lines(changes: Iterable[Mapping[str, Any]]) -> list[str]:
    """Give a table of it."""
    of = ("time", "who", "action", "before", "after", "why")
    lines = [[change[each] or "" for each in of] for change in changes]
    return aligned([["TIME", "WHO", "WHAT", "FROM", "TO", "WHY"], *lines])


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Give lines of cells with columns below each other."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        _GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
