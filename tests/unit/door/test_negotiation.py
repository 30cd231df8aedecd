"""What clients want of an answer, and which of what is offered they get."""

import pytest

from serving.door.negotiation import media_type_for, weights
from serving.problems import NOT_ACCEPTABLE, Problem

OFFERED = ("application/json", "text/csv", "application/x-npy")


@pytest.mark.parametrize(
    ("values", "read"),
    [
        ([], {}),
        (["", " , "], {}),
        (["Text/CSV ; Q=0.5;header=present, */*"], {"text/csv": 0.5, "*/*": 1.0}),
        (["a;q=0, b;q=0.", "c;q=0.125,d;q=1,e;q=1.000"], dict(a=0, b=0, c=0.125, d=1, e=1)),
        (["*; q=.2, */*; q=.2"], {"*": 0.2, "*/*": 0.2}),  # of Java's own client
        (["a;q=1.5, b;q=-1, c;q=x, d;q=, e;q=0.1234"], dict(a=0, b=0, c=0, d=0, e=0)),
        (["a;q=0.5", "a"], {"a": 1.0}),
    ],
)
def test_a_weight_is_read_as_the_rfc_has_it_and_is_none_otherwise(
    values: list[str], read: dict[str, float]
) -> None:
    assert weights(values) == read
    assert list(weights(values)) == list(read)


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/csv", "text/csv"),
        ("text/csv; charset=utf-8", "text/csv"),
        ("text/*", "text/csv"),
        ("application/*", "application/json"),
        ("application/*, application/json;q=0.5", "application/x-npy"),
        ("text/csv;q=0.4, application/json;q=0.5", "application/json"),
        ("text/csv;q=0.5, application/json;q=0.4", "text/csv"),
        ("text/csv;q=0.001", "text/csv"),
        # Liked equally: what is named before what is taken with others, and in the client's order.
        ("*/*, text/csv", "text/csv"),
        ("text/*, */*", "text/csv"),
        ("text/csv, application/json", "text/csv"),
        ("application/x-npy, text/csv", "application/x-npy"),
        ("application/x-npy;q=0.9, */*;q=0.9", "application/x-npy"),
        # What says more of a media type says it, whatever stands beside.
        ("application/json;q=0, */*", "text/csv"),
        ("application/*;q=0.2, */*;q=0.1", "application/json"),
        ("text/*;q=0, text/csv", "text/csv"),
        ("text/csv;q=x, */*;q=0.1", "application/json"),
        ("text/html, application/xml;q=0.9, */*;q=0.8", "application/json"),  # of browsers
        ("text/html, image/gif, *; q=.2, */*; q=.2", "application/json"),  # of Java
    ],
)
def test_a_client_gets_what_it_likes_most_of_what_is_offered(accept: str, chosen: str) -> None:
    assert media_type_for(weights([accept]), OFFERED) == chosen


@pytest.mark.parametrize(
    "accept",
    ["text/html", "application/json;q=0", "*/*;q=0", "text/csv;q=2", "json", "*", "application/js"],
)
def test_a_client_that_takes_none_of_it_is_refused(accept: str) -> None:
    with pytest.raises(Problem) as caught:
        media_type_for(weights([accept]), OFFERED[:2])
    assert caught.value.kind is NOT_ACCEPTABLE
    assert caught.value.detail == "the answer is application/json or text/csv"
