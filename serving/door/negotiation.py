"""What clients want of an answer: the weights in Accept and Accept-Encoding (RFC 9110, 12.4.2).

What can't be read is not asked for. Refuses with 406 what can't be given.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from serving.problems import NOT_ACCEPTABLE, Problem

# As the RFC has it, and without the first zero: Java's own client sends "*/*; q=.2".
_WEIGHT = re.compile(r"q=(0(?:\.\d{0,3})?|\.\d{1,3}|1(?:\.0{0,3})?)")


def weights(values: Iterable[str]) -> dict[str, float]:
    """Read the weight of each name, in lower case, in the header's order."""
    read: dict[str, float] = {}
    for value in values:
        for item in value.lower().split(","):
            name, *parameters = (part.strip() for part in item.split(";"))
            weight = 1.0
            for parameter in parameters:
                if parameter.startswith("q="):
                    match = _WEIGHT.fullmatch(parameter)
                    weight = float(match[1]) if match else 0.0
            if name:
                read[name] = weight
    return read


def media_type_for(
    accepted: Mapping[str, float], offered: Sequence[str], what: str = "the answer"
) -> str:
    """Choose what a client takes of the media types that are offered, the usual one first.

    Of those that it likes equally, one that it names goes before one that it takes with others,
    and the first that it names before the rest.

    Raises:
        Problem: 406, it takes none of them.
    """
    if not accepted:
        return offered[0]
    order = list(accepted)
    best, best_rank = "", (0.0, 0, 0)
    for media_type in offered:
        ranges = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
        for place, name in enumerate(ranges):
            if name in accepted:
                rank = (accepted[name], -place, -order.index(name))
                if accepted[name] and (not best or rank > best_rank):
                    best, best_rank = media_type, rank
                break
    if not best:
        raise Problem(NOT_ACCEPTABLE, f"{what} is {' or '.join(offered)}")
    return best
