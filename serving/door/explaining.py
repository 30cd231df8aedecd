"""The query by which clients ask for explanations: ``?explain=``, on paths that know it.

Refuses what it does not know, and more than one. Anything else in the query is nobody's affair.
"""

from collections.abc import Mapping

from starlette.requests import Request

from serving.model.domains import Schema
from serving.model.rows import Explain
from serving.problems import INVALID_INPUT, Problem

EXPLAIN = "explain"
_WORDS: Mapping[str, Explain | None] = {"false": None, **{each.value: each for each in Explain}}

QUERY: Mapping[str, Schema] = {
    EXPLAIN: {
        "description": "Whether to tell what each feature contributed to the number answered: "
        "`true` for that of the class predicted, `all` for each class. The answer is JSON then.",
        "schema": {"type": "string", "enum": [*_WORDS], "default": "false"},
    }
}


def explanation_asked(request: Request) -> Explain | None:
    """Read of what an explanation is asked for, if it is.

    Raises:
        Problem: 422, it is not said in one of the words.
    """
    if not request.scope["query_string"]:
        return None
    asked = request.query_params.getlist(EXPLAIN)
    if len(asked) > 1:
        raise Problem(INVALID_INPUT, f"{EXPLAIN} is given more than once")
    if asked and asked[0] not in _WORDS:
        raise Problem(INVALID_INPUT, f"{EXPLAIN} is one of {', '.join(_WORDS)}")
    return _WORDS[asked[0]] if asked else None
