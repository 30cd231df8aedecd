"""Where a mistake is said to be (RFC 6901), and whether that is there."""

from typing import Any

from serving.problems import FieldError


def assert_points_into(document: object, error: FieldError) -> None:
    """Check that an error's place is there; of what is missing, that its parent is."""
    if error.detail == "missing":
        parent, _, name = error.pointer.rpartition("/")
        assert _unescaped(name) not in _resolve(document, parent)
    else:
        _resolve(document, error.pointer)


def _resolve(document: Any, pointer: str) -> Any:  # noqa: ANN401 (any JSON)
    if not pointer:
        return document
    assert pointer[0] == "/"
    for part in pointer[1:].split("/"):
        document = document[int(part) if isinstance(document, list) else _unescaped(part)]
    return document


def _unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")
