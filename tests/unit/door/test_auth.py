"""Keys: exactly those that were given out are known, and nothing tells of them."""

import runpy
from hashlib import sha256

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.door import auth
from serving.door.auth import Keyring, main, new_key
from serving.keys import ApiKey
from serving.problems import UNAUTHORIZED, Problem
from tests.unit.door.doors import api_key
from tests.unit.fakes import Headers

BARE = 'Bearer realm="model-api"'
INVALID = f'{BARE}, error="invalid_token"'
UNCLEAR = f'{BARE}, error="invalid_request"'


ALICE, BOB = api_key("alice", "wonderland"), api_key("bob", "builder", "5/second")
RING = Keyring([ALICE, BOB])


def bearer(value: str | bytes) -> tuple[bytes, bytes]:
    """Give an Authorization header."""
    return (b"authorization", value.encode() if isinstance(value, str) else value)


def own(value: str | bytes) -> tuple[bytes, bytes]:
    """Give an X-API-Key header."""
    return (b"x-api-key", value.encode() if isinstance(value, str) else value)


def refusal(*headers: tuple[bytes, bytes]) -> Problem:
    """Give the problem of a request that nobody is found for."""
    with pytest.raises(Problem) as caught:
        RING.identify(headers)
    assert caught.value.kind is UNAUTHORIZED
    return caught.value


@pytest.mark.parametrize(
    "headers",
    [
        [bearer("Bearer wonderland")],
        [bearer("bearer wonderland")],
        [bearer("BEARER   wonderland ")],
        [own("wonderland")],
        [own(" wonderland\t")],
        [own("wonderland"), bearer("Bearer wonderland")],
        [own("wonderland"), bearer("Basic dXNlcjpwYXNz")],
        [(b"accept", b"*/*"), own("wonderland"), (b"x-request-id", b"builder")],
    ],
)
def test_a_key_is_known_in_either_header(headers: Headers) -> None:
    assert RING.identify(headers) is ALICE


def test_each_key_has_its_own_name_and_quota() -> None:
    found = RING.identify([own("builder")])
    assert (found.name, found.quota) == ("bob", "5/second")


def test_a_name_may_have_two_keys_while_they_are_rotated() -> None:
    ring = Keyring([api_key("alice", "old"), api_key("alice", "new")])
    assert [ring.identify([own(secret)]).name for secret in ("old", "new")] == ["alice", "alice"]


@pytest.mark.parametrize(
    ("headers", "challenge", "detail"),
    [
        ([], BARE, "no API key"),
        ([bearer("")], BARE, "no API key"),
        ([bearer("Basic dXNlcjpwYXNz")], BARE, "no API key"),
        ([bearer("Bearerwonderland")], BARE, "no API key"),
        ([bearer("wonderland")], BARE, "no API key"),
        ([bearer(b"\xff\xfe wonderland")], BARE, "no API key"),
        ([bearer("Bearer")], UNCLEAR, "empty"),
        ([bearer("Bearer ")], UNCLEAR, "empty"),
        ([own("")], UNCLEAR, "empty"),
        ([own(" \t")], UNCLEAR, "empty"),
        ([own("wonderlands")], INVALID, "not one that this service knows"),
        ([own("Wonderland")], INVALID, "not one that this service knows"),
        ([own("Bearer wonderland")], INVALID, "not one that this service knows"),
        ([bearer("Bearer wonder land")], INVALID, "not one that this service knows"),
        ([bearer('Bearer "wonderland"')], INVALID, "not one that this service knows"),
        ([bearer("Bearer wonderland,")], INVALID, "not one that this service knows"),
        ([own(b"wonderl\xe4nd")], INVALID, "not one that this service knows"),
        ([own("wonderland\x00")], INVALID, "not one that this service knows"),
        ([own("w" * 60_000)], INVALID, "not one that this service knows"),
        ([own(ALICE.digest.hex())], INVALID, "not one that this service knows"),
        ([own(ALICE.digest)], INVALID, "not one that this service knows"),
        ([own("wonderland"), own("wonderland")], UNCLEAR, "more than once"),
        ([bearer("Bearer wonderland")] * 2, UNCLEAR, "more than once"),
        ([bearer("Basic x"), bearer("Bearer wonderland")], UNCLEAR, "more than once"),
        ([own("wonderland"), bearer("Bearer builder")], UNCLEAR, "different keys"),
        ([own("wonderland"), bearer("Bearer ")], UNCLEAR, "different keys"),
        ([own(""), bearer("Bearer wonderland")], UNCLEAR, "different keys"),
    ],
)
def test_whatever_else_is_sent_is_refused_with_the_challenge_that_is_due(
    headers: Headers, challenge: str, detail: str
) -> None:
    problem = refusal(*headers)
    assert problem.headers == {"WWW-Authenticate": challenge}
    assert detail in problem.detail


def test_without_keys_nobody_is_known() -> None:
    with pytest.raises(Problem):
        Keyring([]).identify([own("wonderland")])


SECRETS = st.binary(min_size=1, max_size=40).filter(lambda secret: secret.strip(b" \t") == secret)


@given(keys=st.lists(SECRETS, unique=True), others=st.lists(SECRETS))
@example(keys=[b"key"], others=[b"ke", b"keys", b"KEY"])
def test_exactly_the_keys_are_known(keys: list[bytes], others: list[bytes]) -> None:
    entries = {secret: ApiKey(f"n{i}", sha256(secret).digest()) for i, secret in enumerate(keys)}
    ring = Keyring(list(entries.values()))
    for secret in keys:
        assert ring.identify([own(secret)]) is entries[secret]
        assert ring.identify([bearer(b"Bearer " + secret)]) is entries[secret]
    for secret in set(others) - set(keys):
        with pytest.raises(Problem):
            ring.identify([own(secret)])


@given(st.lists(st.tuples(st.sampled_from([b"authorization", b"x-api-key"]), st.binary())))
def test_any_bytes_are_decided_and_never_repeated(headers: list[tuple[bytes, bytes]]) -> None:
    problem = refusal(*headers)
    assert problem.detail.isascii()
    assert problem.detail in vars(auth).values()  # fixed texts
    assert problem.headers["WWW-Authenticate"] in {BARE, INVALID, UNCLEAR}


@pytest.mark.parametrize("sent", ["first", "third", "none"])
def test_a_key_is_compared_with_every_digest(sent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(kept: bytes, given: bytes) -> bool:
        compared.append(kept)
        return kept == given

    monkeypatch.setattr("hmac.compare_digest", compare)
    keys = [api_key(name, name) for name in ("first", "second", "third")]
    ring = Keyring(keys)
    if sent == "none":
        with pytest.raises(Problem):
            ring.identify([own(sent)])
    else:
        assert ring.identify([own(sent)]).name == sent
    assert compared == [key.digest for key in keys]


@pytest.mark.parametrize("quota", ["", "1000/minute", "off"])
def test_a_new_key_is_known_by_the_entry_that_is_kept(quota: str) -> None:
    secret, entry = new_key("alice", quota)
    assert secret not in entry
    kept = ApiKey.parse(entry)
    assert (kept.name, kept.quota) == ("alice", quota or None)
    assert Keyring([kept]).identify([bearer(f"Bearer {secret}")]) is kept


def test_no_two_new_keys_are_alike() -> None:
    secrets = {new_key("alice")[0] for _ in range(100)}
    assert len(secrets) == 100
    assert {len(secret) for secret in secrets} == {43}  # 256 bits in base64url


@pytest.mark.parametrize("module", ["serving.auth", "serving.door.auth"])  # its name of old, too
@pytest.mark.filterwarnings("ignore:.* found in sys.modules:RuntimeWarning")
def test_the_command_prints_the_key_once_and_what_to_keep(
    module: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["auth", "alice", "1000/minute"])
    runpy.run_module(module, run_name="__main__")
    out, err = capsys.readouterr()
    secret, entry = (line.strip() for line in out.splitlines() if line.startswith("    "))
    assert Keyring([ApiKey.parse(entry)]).identify([own(secret)]).quota == "1000/minute"
    assert out.count(secret) == 1
    assert "SERVING_API_KEYS" in out
    assert "SERVING_API_KEYS_FILE" in out
    assert err == ""


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["al ice"], "A-Z a-z 0-9"),
        (["al:ice"], "A-Z a-z 0-9"),
        (["al,ice"], "A-Z a-z 0-9"),
        ([""], "A-Z a-z 0-9"),
        (["a" * 65], "A-Z a-z 0-9"),
        (["alice", "often"], "no quota"),
        (["alice", "0/minute"], "no quota"),
    ],
)
def test_the_command_refuses_what_the_settings_would(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="no key was made: ") as caught:
        main(arguments)
    assert complaint in str(caught.value)
    assert capsys.readouterr().out == ""
