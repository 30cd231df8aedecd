"""What an operator grants to clients: keys and quotas, and how both are written.

A key is kept by its digest alone. A quota is so many requests in so much time: ``100/minute``,
``100 per minute``, ``5/second``, ``1000/2 hours``.
"""

import re
from dataclasses import dataclass
from typing import Self

OFF = "off"
MOST = 10**9  # requests, and seconds, of a quota: headers have room for a few digits more

_MINUTE_S, _DAY_S = 60, 24 * 60 * 60
_UNITS_S = {
    "second": 1,
    "minute": _MINUTE_S,
    "hour": 60 * _MINUTE_S,
    "day": _DAY_S,
    "month": 30 * _DAY_S,
    "year": 360 * _DAY_S,  # twelve of these months
}
# Of text in small letters: to re.IGNORECASE the long s, U+017F, is an s too. Of as many digits as
# MOST has: int() reads only some thousands.
_QUOTA = re.compile(
    rf"\s*0*([0-9]{{1,10}})\s*(?:/|per)\s*(?:0*([0-9]{{1,10}}))?\s*({'|'.join(_UNITS_S)})s?\s*"
)
_KEY_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Quota:
    """So many requests in a window of so many seconds."""

    amount: int
    window_s: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read a quota; none for ``off``, which is no limit.

        Raises:
            ValueError: it is neither.
        """
        if text.lower() == OFF:
            return None
        if match := _QUOTA.fullmatch(text.lower()):
            amount, times, unit = match.groups()
            quota = cls(int(amount), int(times or 1) * _UNITS_S[unit])
            if 1 <= quota.amount <= MOST and 1 <= quota.window_s <= MOST:
                return quota
        raise ValueError(f"{text!r} is no quota such as 100/minute, 5/second or off")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A client's key as it is kept: a name for logs, the SHA-256 of the key, its own quota."""

    name: str
    digest: bytes
    quota: str | None = None

    @classmethod
    def parse(cls, entry: str) -> Self:
        """Read ``NAME:SHA256`` or ``NAME:SHA256:QUOTA``; a mistake is told without the value.

        Raises:
            ValueError: it is neither.
        """
        name, colon, rest = entry.partition(":")
        digest, _, quota = rest.partition(":")
        if not (colon and _KEY_NAME.fullmatch(name)):  # it may be a key itself
            raise ValueError("it has to begin with a name of A-Z a-z 0-9 _ . - and a colon")
        if not _SHA256.fullmatch(digest):
            raise ValueError("it has no SHA-256 of a key, in lower-case hex, after its name")
        if not quota:
            return cls(name, bytes.fromhex(digest))
        return cls(name, bytes.fromhex(digest), OFF if Quota.parse(quota) is None else quota)
