"""The shelf: what is loaded, by name."""

from types import SimpleNamespace
from typing import Any

import pytest

from serving.model.stored import ModelError
from serving.prediction.shelf import Shelf
from serving.problems import NOT_FOUND, Problem


class Loaded:
    """A loaded version whose batch has run for a while."""

    is_closed = False

    def __init__(self, name: str, version: str = "v1", running_s: float = 0.0) -> None:
        """Take what the shelf looks at."""
        self.about = SimpleNamespace(name=name, version=version)
        self.batcher = SimpleNamespace(running_s=running_s, stack=lambda: f"where {name} is")

    def close(self) -> None:
        """Note that it is."""
        self.is_closed = True


# They stand in for what is a `serving.prediction.loaded.Loaded`.
MAIL: Any = Loaded("mail")
POST: Any = Loaded("post", "v2", running_s=2.5)


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ((None,), MAIL),
        (("mail",), MAIL),
        (("mail", None), MAIL),
        (("mail", "v1"), MAIL),
        (("post",), POST),
        (("post", "v2"), POST),
    ],
)
def test_what_is_loaded_is_found_by_its_name_and_version_or_is_the_first(
    named: tuple[str | None, ...], found: object
) -> None:
    shelf = Shelf([MAIL, POST])
    assert shelf.find(*named) is found
    assert shelf.all == (MAIL, POST)
    assert shelf.default is MAIL


@pytest.mark.parametrize(
    ("named", "told"),
    [
        (("other",), "there is no such model"),
        (("other", "v1"), "there is no such model"),
        (("mail", "v2"), "this version of the model is not loaded"),
        (("post", "v1"), "this version of the model is not loaded"),
        (("mail", ""), "this version of the model is not loaded"),
    ],
)
def test_another_name_or_version_is_not_found(named: tuple[str, ...], told: str) -> None:
    with pytest.raises(Problem, match=told) as caught:
        Shelf([MAIL, POST]).find(*named)
    assert caught.value.kind is NOT_FOUND


def test_two_models_of_one_name_are_refused() -> None:
    twice: Any = [Loaded("mail"), Loaded("post"), Loaded("mail", "v3")]
    with pytest.raises(ModelError, match="mail: versions v1 and v3"):
        Shelf(twice)


def test_it_tells_how_long_and_where_batches_run_and_closes_what_is_loaded() -> None:
    loaded: Any = [Loaded("mail"), Loaded("post", running_s=2.5), Loaded("fax", running_s=1.0)]
    shelf = Shelf(loaded)
    assert (shelf.running_s, shelf.stacks) == (2.5, "post:\nwhere post is\nfax:\nwhere fax is")
    assert [shelf.hanging(seconds) for seconds in (0.5, 2.0, 2.5)] == [
        (loaded[1], loaded[2]),
        (loaded[1],),
        (),
    ]
    shelf.close()
    assert all(each.is_closed for each in loaded)
