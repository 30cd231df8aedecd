"""Which dialects are spoken, as the settings name them."""

from collections.abc import Callable

import pytest

from serving.dialects.dialect import Dialect, spoken
from serving.settings import Settings

ONE, OTHER = Dialect(), Dialect()
given: list[Settings] = []


def other(settings: Settings) -> Dialect:
    """Make a dialect of settings."""
    given.append(settings)
    return OTHER


KNOWN: dict[str, Callable[[Settings], Dialect]] = {"one": lambda _: ONE, "other": other}


@pytest.mark.parametrize(
    ("named", "dialects"),
    [
        (("all",), [ONE, OTHER]),
        (("none",), []),
        (("other",), [OTHER]),
        (("other", "one"), [ONE, OTHER]),
        (("one", "one"), [ONE]),
    ],
)
def test_those_that_are_named_are_spoken(named: tuple[str, ...], dialects: list[Dialect]) -> None:
    told = list(spoken(Settings(dialects=named), KNOWN))
    assert [id(dialect) for dialect in told] == [id(dialect) for dialect in dialects]


def test_a_dialect_is_made_of_the_settings() -> None:
    settings = Settings(dialects=("other",))
    given.clear()
    list(spoken(settings, KNOWN))
    assert given == [settings]


def test_one_that_is_not_known_ends_the_start_with_those_that_are() -> None:
    told = "SERVING_DIALECTS: no dialect 'v3'; there are one, other, all, none"
    with pytest.raises(SystemExit, match=told):
        list(spoken(Settings(dialects=("one", "v3")), KNOWN))
