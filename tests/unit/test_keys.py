"""Keys and quotas, as an operator writes them: read, or refused in plain words."""

from hashlib import sha256

import pytest

from serving.keys import OFF, ApiKey, Quota

DIGEST = sha256(b"wonderland").hexdigest()
NO_QUOTA = "is no quota such as 100/minute, 5/second or off"


@pytest.mark.parametrize(
    ("text", "amount", "window_s"),
    [
        ("100/minute", 100, 60),
        ("5/2second", 5, 2),
        ("1000 per hour", 1000, 3600),
        ("3per2minutes", 3, 120),
        (" 007 / 01 DAYS\n", 7, 86_400),
        ("1/month", 1, 30 * 86_400),
        ("1/year", 1, 360 * 86_400),
        ("1000000000/1000000000 seconds", 10**9, 10**9),
    ],
)
def test_a_quota_is_so_many_requests_in_so_much_time(text: str, amount: int, window_s: int) -> None:
    assert Quota.parse(text) == Quota(amount, window_s)


@pytest.mark.parametrize("text", ["off", "OFF"])
def test_off_is_no_quota(text: str) -> None:
    assert Quota.parse(text) is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "often", "100", "100/fortnight", "-1/minute", "1.5/minute", "off "),
        *("10/second;100/minute", "10/second,"),
        *("0/minute", "1/0 minutes"),
        *("1000000001/second", "1/1000000001 seconds", "3 per 9999 years"),
        *("9" * 5000 + "/minute", "1/" + "9" * 5000 + "seconds"),  # which int() would not read
        *("\u0663/minute", "1/\u0663 minutes"),  # a three to int()
        *("1/\u017fecond", "1/second\u017f", "1/m\u0131nute"),  # an s, an i to re.IGNORECASE
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_what_is_no_quota_is_refused_in_plain_words(text: str) -> None:
    with pytest.raises(ValueError, match=NO_QUOTA):
        Quota.parse(text)


@pytest.mark.parametrize(
    ("entry", "quota"),
    [
        (f"b.-_2:{DIGEST}", None),
        (f"b.-_2:{DIGEST}:", None),
        (f"b.-_2:{DIGEST}:5/2second", "5/2second"),
        (f"b.-_2:{DIGEST}:OFF", OFF),
    ],
)
def test_a_key_is_a_name_a_digest_and_perhaps_a_quota(entry: str, quota: str | None) -> None:
    assert ApiKey.parse(entry) == ApiKey("b.-_2", bytes.fromhex(DIGEST), quota)


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("alice", "begin with a name"),
        (DIGEST, "begin with a name"),
        (f":{DIGEST}", "begin with a name"),
        (f"al ice:{DIGEST}", "begin with a name"),
        (f"älice:{DIGEST}", "begin with a name"),
        (f"{'a' * 65}:{DIGEST}", "begin with a name"),
        (f"alice:{DIGEST[1:]}", "no SHA-256"),
        (f"alice:{DIGEST.upper()}", "no SHA-256"),
        ("alice:hunter2", "no SHA-256"),
        (f"alice:{DIGEST}:often", NO_QUOTA),
    ],
)
def test_a_key_is_refused_without_telling_what_may_be_a_secret(entry: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        ApiKey.parse(entry)
    assert not any(secret in str(caught.value) for secret in ("hunter2", DIGEST, DIGEST[1:]))
