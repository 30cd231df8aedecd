"""What an operator grants to clients: keys and quotas, and how both are written.

A key is kept by its digest alone. A quota is so many requests in so much time: ``100/minute``,
``100 per minute``, ``5/second``, ``1000/2 hours``.
"""

import re
from dataclasses import dataclass
from pathlib import Path
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


def checked_quota(text: str) -> str:
    """Give what is a quota, or ``off``, as it is kept.

    Raises:
        ValueError: it is neither.
    """
    return OFF if Quota.parse(text) is None else text


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
        return cls(name, bytes.fromhex(digest), checked_quota(quota))


def read_keys(value: object) -> object:
    """Read keys that are separated by commas or lines; what follows ``#`` on a line is skipped.

    Raises:
        ValueError: an entry is none, told by its number; or there is none.
    """
    if not isinstance(value, str):
        return value
    lines = (line.partition("#")[0] for line in value.splitlines())
    entries = [entry for line in lines for part in line.split(",") if (entry := part.strip())]
    keys = []
    for number, entry in enumerate(entries, 1):
        try:
            keys.append(ApiKey.parse(entry))
        except ValueError as exc:  # told by its number: its parts may be in the wrong order
            raise ValueError(f"entry {number}: {exc}") from None
    if not keys:  # or a secret that did not arrive would open the service to all
        raise ValueError("there is no key in it")
    return tuple(keys)


def read_keys_in_file(value: object) -> object:
    """Read keys from a file.

    Raises:
        ValueError: as `read_keys` does, or the file can't be read.
    """
    if not isinstance(value, str):
        return value
    try:
        return read_keys(Path(value).read_text(encoding="utf-8"))
    except (OSError, UnicodeError) as exc:
        raise ValueError(f"can't read {value}: {exc}") from None
