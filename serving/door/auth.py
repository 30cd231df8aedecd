"""Keys: who asks, told by the API key that a request carries.

Asked by the edge, for routes that need a key, before a body is read. Refuses a request without a
key that is known, and never says more about a key than that. Only digests are kept, so a key can't
be read out of this process or its settings.

``python -m serving.door.auth NAME [QUOTA]`` makes a new key.
"""

import argparse
import hmac
import secrets
from collections.abc import Iterable, Sequence
from hashlib import sha256

from serving.console import show
from serving.keys import ApiKey
from serving.problems import UNAUTHORIZED, Problem

REALM = 'Bearer realm="model-api"'
NEW_KEY_BYTES = 32  # of randomness: as many bits as the digest has

_NO_KEY = "no API key: send Authorization: Bearer KEY, or X-API-Key: KEY"
_UNKNOWN = "the API key is not one that this service knows"
_REPEATED = "a header with an API key is given more than once"
_CONTRARY = "Authorization and X-API-Key have different keys: send one of them"
_EMPTY = "the API key is empty"


class Keyring:
    """The keys that clients may send."""

    def __init__(self, keys: Sequence[ApiKey]) -> None:
        """Take all keys; a name may have several, so that they can be rotated."""
        self._keys = tuple(keys)

    def identify(self, headers: Iterable[tuple[bytes, bytes]]) -> ApiKey:
        """Find out whose key a request has; names of headers are in lower case, as ASGI has them.

        ``Authorization: Bearer KEY`` (RFC 6750, 2.1) or ``X-API-Key: KEY``. Another scheme than
        Bearer is not meant for this service, perhaps for a proxy before it, and is passed over.

        Raises:
            Problem: `UNAUTHORIZED`, with the challenge that is due (RFC 6750, 3): there is no key,
                more than one, or one that is not known.
        """
        given: dict[bytes, bytes] = {}
        for name, value in headers:
            if name in (b"authorization", b"x-api-key"):
                if name in given:
                    raise _refusal(_REPEATED, "invalid_request")
                given[name] = value.strip(b" \t")
        found = []
        if b"x-api-key" in given:
            found.append(given[b"x-api-key"])
        scheme, _, token = given.get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"bearer":
            found.append(token.strip(b" \t"))
        if not found:
            raise _refusal(_NO_KEY)
        if len(set(found)) > 1:
            raise _refusal(_CONTRARY, "invalid_request")
        if not found[0]:
            raise _refusal(_EMPTY, "invalid_request")
        return self._find(found[0])

    def _find(self, secret: bytes) -> ApiKey:
        """Compare with every digest, and none faster than another: time must not tell of a key."""
        digest = sha256(secret).digest()
        match = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                match = key
        if match is None:
            raise _refusal(_UNKNOWN, "invalid_token")
        return match


def _refusal(detail: str, error: str | None = None) -> Problem:
    """Refuse with a challenge; it has no error code where no key was sent (RFC 6750, 3.1)."""
    challenge = REALM if error is None else f'{REALM}, error="{error}"'
    return Problem(UNAUTHORIZED, detail, headers={"WWW-Authenticate": challenge})


def new_key(name: str, quota: str = "") -> tuple[str, str]:
    """Make a key: the secret for the client, and the entry to keep, which does not tell it.

    Raises:
        ValueError: a name or a quota that the settings would refuse.
    """
    if ":" in name:
        raise ValueError("a name consists of A-Z a-z 0-9 _ . -")
    secret = secrets.token_urlsafe(NEW_KEY_BYTES)
    entry = f"{name}:{sha256(secret.encode()).hexdigest()}" + (f":{quota}" if quota else "")
    ApiKey.parse(entry)
    return secret, entry


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a new key, once, and what to keep of it.

    Raises:
        SystemExit: with one line about a bad name or quota.
    """
    parser = argparse.ArgumentParser(
        prog="python -m serving.door.auth", description="Make an API key."
    )
    parser.add_argument("name", help="the client's name in logs and metrics")
    parser.add_argument("quota", nargs="?", default="", help="its own quota, such as 1000/minute")
    asked = parser.parse_args(arguments)
    try:
        secret, entry = new_key(asked.name, asked.quota)
    except ValueError as exc:
        raise SystemExit(f"no key was made: {exc}") from None
    show(
        f"Give the client this key; it is shown only now, and kept nowhere:\n\n    {secret}\n\n"
        "Give the service this entry, which does not tell the key: add it to SERVING_API_KEYS\n"
        "(comma-separated), or as a line to the file that SERVING_API_KEYS_FILE names, and\n"
        f"restart the service:\n\n    {entry}"
    )


if __name__ == "__main__":
    main()
