"""What a dialect is: conversations about predictions, and what it tells beside.

A conversation reads bodies as questions, and writes answers to them. Between reading and writing,
rows go the way that all rows go. A dialect knows no HTTP but paths, the media types of bodies and
the headers that its clients send, and keeps nothing between two requests.
"""

import sys
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from serving.model.about import About
from serving.model.domains import Schema
from serving.model.outputs import Prediction
from serving.model.rows import Explain, Question, Rows
from serving.problems import JSON_MEDIA_TYPE, PROBLEM_JSON, Wording
from serving.settings import ALL, NONE, Settings


class Sent(NamedTuple):
    """A body, decoded if it was compressed, and what its request says of it."""

    body: bytes
    media_type: str = JSON_MEDIA_TYPE
    wanted: str = JSON_MEDIA_TYPE  # of what the conversation answers in, the client's choice
    headers: Mapping[str, str] = {}  # of those that it heeds, by name in lower case
    max_bytes: int = sys.maxsize  # that a body may have, and what it holds when it is inflated
    explain: Explain | None = None  # if it is asked of a conversation that explains


class Answer(NamedTuple):
    """The body of an answer, and what goes before it."""

    body: bytes
    media_type: str = JSON_MEDIA_TYPE
    headers: Mapping[str, str] = {}


# Writes the answer with a prediction for each row of a question, in order, which are explained if
# the question asks for that; and the request's id.
Write: TypeAlias = Callable[[Sequence[Any], str], Answer]


class Asked(NamedTuple):
    """What a request asks, and how its answer is to be written."""

    question: Question
    write: Write


# Reads a body part by part: each is answered, and that sent, before the next is read. What is wrong
# within a part is told in its answer, which has lines: in the place of a prediction, too, where it
# is None because the model fails on the row.
ReadParts: TypeAlias = "Callable[[Sent, About, Rows], Iterator[Asked]]"


@dataclass(frozen=True, slots=True)
class Described:
    """A conversation, for the OpenAPI document.

    ``bodies`` and ``answers`` have a Media Type Object of OpenAPI 3.1 for each media type; their
    schemas may refer to ``schemas`` as ``#/components/schemas/NAME``.
    """

    name: str
    summary: str
    description: str
    bodies: Mapping[str, Schema]
    answers: Mapping[str, Schema]
    schemas: Mapping[str, Schema] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)  # of the answer: what each tells
    is_of_one: bool = False  # prediction, which may be kept for who asks the same


@dataclass(frozen=True, slots=True)
class Conversation:
    """How one kind of client asks on one path, by POST.

    ``read`` raises a Problem, 400, 413 or 422, with the places of all mistakes in this body. Of
    the media types that it reads, an empty one stands for a body that is not declared; without
    any, all bodies are read. ``heeds`` tells of headers, in lower case, what each is for.
    ``describe`` is given the prediction for the features' examples, and how many rows a request may
    have. ``in_parts`` has the media types of bodies that may have more rows than fit into one
    batch, ``swells`` those of which few bytes may hold much, ``echoes`` those that are answered in
    kind if the client takes anything, and ``streams`` tells how to read those that are answered
    part by part if that is in kind. One that ``explains`` is told whether that is asked for, and
    then writes the first of its media types.
    """

    read: Callable[[Sent, About, Rows], Asked]
    describe: Callable[[About, Prediction, int], Described]
    reads: Sequence[str] = (JSON_MEDIA_TYPE,)
    writes: Sequence[str] = (JSON_MEDIA_TYPE,)  # the usual one first
    heeds: Mapping[str, str] = field(default_factory=dict)
    wording: Wording = PROBLEM_JSON
    in_parts: Container[str] = ()
    swells: Container[str] = ()
    echoes: Container[str] = ()
    streams: Mapping[str, ReadParts] = field(default_factory=dict)
    explains: bool = False

    def offers(self, media_type: str) -> Sequence[str]:
        """Give what a body of a media type may be answered in, the usual one first."""
        if media_type not in self.echoes:
            return self.writes
        return [media_type, *(each for each in self.writes if each != media_type)]


@dataclass(frozen=True, slots=True)
class Telling:
    """What a dialect tells of the one model that its path names, or of all if it names none.

    At such a path it may be ``of_default`` alone, the model that answers where none is named.
    ``tell`` gives JSON, or a text if that is the media type, or raises a Problem. What tells
    whether the models are ``ready`` is refused with 503 while they are not.
    """

    path: str
    name: str
    summary: str
    tell: Callable[[Sequence[About]], Any]
    schema: Schema | None  # none, if it only refuses
    method: str = "GET"
    media_type: str = JSON_MEDIA_TYPE
    ready: bool = False
    of_default: bool = False
    is_open: bool = False  # to who has no key
    wording: Wording = PROBLEM_JSON


@dataclass(frozen=True, slots=True)
class Dialect:
    """A language of clients: its conversations by path, and what it tells.

    ``alive`` is the JSON that its clients read at ``/``, beside the page there, if they do.
    """

    conversations: Mapping[str, Conversation] = field(default_factory=dict)
    tells: Sequence[Telling] = ()
    alive: Mapping[str, Any] | None = None

    @property
    def paths(self) -> Iterator[str]:
        """All paths at which it is spoken."""
        yield from self.conversations
        yield from (told.path for told in self.tells)


def spoken(
    settings: Settings, known: Mapping[str, Callable[[Settings], Dialect]]
) -> Iterator[Dialect]:
    """Give the dialects that are to be spoken, each once, in the order in which they are known.

    Raises:
        SystemExit: one is not known.
    """
    names = {ALL: tuple(known), NONE: ()}.get(settings.dialects[0], settings.dialects)
    for name in names:
        if name not in known:
            told = ", ".join([*known, ALL, NONE])
            raise SystemExit(f"SERVING_DIALECTS: no dialect {name!r}; there are {told}")
    return (make(settings) for name, make in known.items() if name in names)
