"""Every answer outside 2xx: one exception family, one body shape (RFC 9457).

Any room may raise a `Problem`; the edge alone turns it into an answer. Here stands what each kind
of problem means to the client, for the answer itself, for its page at ``/errors/{slug}`` and for
``docs/errors.md``. Texts name places and what is accepted; they never repeat input values.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson

MEDIA_TYPE = "application/problem+json"
# The detail where an estimator refuses rows that have such values.
UNLIKE_TRAINING = "the model can't compute with values unlike those of training"
JSON_MEDIA_TYPE = "application/json"
RETRY_AFTER_S = "1"
MAX_TOLD_PLACES = 3  # in a sentence


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A kind of problem: its slug in ``/errors/{slug}``, its status, and what it tells a client."""

    slug: str
    status: int
    title: str
    cause: str
    remedy: str

    def reference(self, path: str) -> str:
        """Give the ``type`` member for a request to a path: how its page is reached from there.

        A status without a kind of its own has no page (RFC 9457, section 4.2.1).
        """
        return f"{way_to_root(path)}errors/{self.slug}" if self.slug else "about:blank"


MALFORMED_BODY = ProblemType(
    "malformed-body",
    400,
    "Malformed body",
    "The body is not what it is declared to be. As JSON: a syntax error, no UTF-8, a key given "
    "twice, NaN or Infinity, a number too large for a double, or nesting that is too deep. As CSV, "
    "Arrow, Parquet, an array, binary tensors or gzip: it is damaged, cut off, or its sizes do not "
    "agree.",
    "Send one JSON object as RFC 8259 describes it, or mend what the detail tells: where reading "
    "stopped, or what does not agree.",
)
UNAUTHORIZED = ProblemType(
    "unauthorized",
    401,
    "Unauthorized",
    "This service asks for an API key, and the request has none that it knows.",
    "Send the header Authorization: Bearer KEY, or X-API-Key: KEY. The operator gives keys out.",
)
NOT_FOUND = ProblemType(
    "not-found",
    404,
    "Not found",
    "There is nothing at this path.",
    "Look the path up in this service's OpenAPI document, docs.json at its root.",
)
METHOD_NOT_ALLOWED = ProblemType(
    "method-not-allowed",
    405,
    "Method not allowed",
    "The path exists, but not for this HTTP method.",
    "Use one of the methods in the Allow header.",
)
NOT_ACCEPTABLE = ProblemType(
    "not-acceptable",
    406,
    "Not acceptable",
    "The Accept header names no media type that this path can answer with.",
    "Name one of those in the detail, or leave the header out.",
)
BODY_TOO_LARGE = ProblemType(
    "body-too-large",
    413,
    "Body too large",
    "The request body is larger than this service accepts, or the table in it; what is compressed "
    "counts inflated.",
    "Send fewer rows in a request. The operator sets the limit (SERVING_MAX_BODY_BYTES).",
)
BATCH_TOO_LARGE = ProblemType(
    "batch-too-large",
    413,
    "Batch too large",
    "The batch has more rows than this service accepts in one request.",
    "Split the batch. The operator sets the limit (SERVING_MAX_BATCH_ROWS, or with explanations "
    "SERVING_EXPLAIN_MAX_ROWS).",
)
UNSUPPORTED_MEDIA_TYPE = ProblemType(
    "unsupported-media-type",
    415,
    "Unsupported media type",
    "The body is not declared as a media type that this path reads, such as JSON, or it is "
    "compressed otherwise than by gzip.",
    "Send the header Content-Type: application/json, or another that Accept-Post names, and a body "
    "as it is, or compressed by gzip once, with Content-Encoding: gzip.",
)
INVALID_INPUT = ProblemType(
    "invalid-input",
    422,
    "Invalid input",
    "The body can be read, but is not what the model takes: a feature is missing, unknown, of the "
    "wrong type, null where training always saw a value, or outside the domain that the model can "
    "compute with. Or the query has what the path does not take.",
    "Mend the places that the pointers in errors name (RFC 6901), or what the detail tells. GET "
    "/model/info lists the features, their types and domains, and an example of each.",
)
NOT_EXPLAINED = ProblemType(
    "not-explained",
    422,
    "Not explained",
    "The request asks for explanations, and there are none of this model's predictions.",
    "Ask without explain. The detail has the reason; /model/info tells of each model whether its "
    "predictions are explained.",
)
QUOTA_EXCEEDED = ProblemType(
    "quota-exceeded",
    429,
    "Quota exceeded",
    "This client has asked for as many predictions as it may within its window of time.",
    "Wait for the seconds in the Retry-After header. Send many rows in one /predict/batch, which "
    "counts as one request. The operator sets the quota (SERVING_RATE_LIMIT).",
)
INTERNAL_ERROR = ProblemType(
    "internal-error",
    500,
    "Internal error",
    "A defect in this service or in its model. It was logged with its stack trace.",
    "Report the request_id to the operator, who finds the log line by it.",
)
UNAVAILABLE = ProblemType(
    "unavailable",
    503,
    "Unavailable",
    "This server can't answer now: it is shutting down, or its model does not come back.",
    "Try again after the seconds in the Retry-After header.",
)
OVERLOADED = ProblemType(
    "overloaded",
    503,
    "Overloaded",
    "More rows wait for the model than it can answer in time, so this request was not begun.",
    "Try again after the seconds in the Retry-After header, which is how long the rows that wait "
    "are expected to take.",
)
DEADLINE_EXCEEDED = ProblemType(
    "deadline-exceeded",
    504,
    "Deadline exceeded",
    "The answer was not ready before the request's deadline; its work was dropped.",
    "Try again later, or with fewer rows. The operator sets the deadline "
    "(SERVING_REQUEST_TIMEOUT_S).",
)

PROBLEM_TYPES: Mapping[str, ProblemType] = {
    kind.slug: kind
    for kind in (
        MALFORMED_BODY,
        UNAUTHORIZED,
        NOT_FOUND,
        METHOD_NOT_ALLOWED,
        NOT_ACCEPTABLE,
        BODY_TOO_LARGE,
        BATCH_TOO_LARGE,
        UNSUPPORTED_MEDIA_TYPE,
        INVALID_INPUT,
        NOT_EXPLAINED,
        QUOTA_EXCEEDED,
        INTERNAL_ERROR,
        UNAVAILABLE,
        OVERLOADED,
        DEADLINE_EXCEEDED,
    )
}
_BY_STATUS = {
    kind.status: kind
    for kind in PROBLEM_TYPES.values()
    if kind not in {BATCH_TOO_LARGE, NOT_EXPLAINED, OVERLOADED}
}


@dataclass(frozen=True, slots=True)
class FieldError:
    """One mistake in a body: its place as a JSON Pointer (RFC 6901), and what is wrong there."""

    pointer: str
    detail: str


class Problem(Exception):
    """A request that ends outside 2xx, and all that its answer says."""

    def __init__(
        self,
        kind: ProblemType,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Describe one occurrence of a kind of problem."""
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})
        if kind is UNAVAILABLE:
            self.headers.setdefault("Retry-After", RETRY_AFTER_S)

    @property
    def sentence(self) -> str:
        """What is wrong, and at which places first: for clients that show a line."""
        told = self.errors[:MAX_TOLD_PLACES]
        places = [
            f"{each.pointer}: {each.detail}" if each.pointer else each.detail for each in told
        ]
        return "; ".join([self.detail, *places])


@dataclass(frozen=True, slots=True)
class Wording:
    """How routes word what they refuse: as RFC 9457 has it, if nothing else is said.

    ``schema`` names the schema of a body in the OpenAPI document. ``statuses`` has those that stand
    for others, and ``members`` what a body has beside those of RFC 9457.
    """

    schema: str = "Problem"
    media_type: str = MEDIA_TYPE
    statuses: Mapping[int, int] = field(default_factory=dict)
    members: Mapping[str, Callable[[Problem], str]] = field(default_factory=dict)

    def status(self, kind: ProblemType) -> int:
        """Give the status that a kind of problem has here."""
        return self.statuses.get(kind.status, kind.status)

    def body(self, problem: Problem, request_id: str, path: str) -> bytes:
        """Write the body (RFC 9457, section 3) for a request to a path, as it came."""
        document: dict[str, Any] = {
            "type": problem.kind.reference(path),
            "title": problem.kind.title,
            "status": self.status(problem.kind),
            "detail": problem.detail,
        }
        if problem.errors:
            document["errors"] = problem.errors
        for name, text in self.members.items():
            document[name] = text(problem)
        document["request_id"] = request_id
        return orjson.dumps(document)


PROBLEM_JSON = Wording()


def from_status(status: int, headers: Mapping[str, str] | None = None) -> Problem:
    """Give the problem for a bare HTTP status, such as a framework raises."""
    kind = _BY_STATUS.get(status)
    if kind is None:
        phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Error"
        return Problem(ProblemType("", status, phrase, phrase, ""), phrase, headers=headers)
    return Problem(kind, kind.cause, headers=headers)


def way_to_root(path: str) -> str:
    """Give the relative reference that leads from a path, as it came, to the service's root.

    A proxy may have taken a prefix from the path. The client knows the whole of it, and resolves
    by that (RFC 3986, 5.2: the last segment counts for nothing).
    """
    depth = 0
    for segment in path.split("/")[1:-1]:
        if segment == "..":
            depth = max(depth - 1, 0)
        elif segment != ".":
            depth += 1
    return "../" * depth or "./"


def pointer(*parts: str | int) -> str:
    """Write a JSON Pointer: ``~`` and ``/`` within a part are escaped (RFC 6901, section 3)."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)


def name_at(place: str) -> str:
    """Give the name that a JSON Pointer of one part has; none, if it is that of the whole."""
    return place[1:].replace("~1", "/").replace("~0", "~")
