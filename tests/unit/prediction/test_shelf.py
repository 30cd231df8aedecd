"""The shelf: what is loaded, by name."""

from types import SimpleNamespace
from typing import Any

import pytest

from serving.prediction.shelf import Shelf
from serving.problems import NOT_FOUND, Problem


class Loaded:
    """A loaded version whose batch has run for a while."""

    about = SimpleNamespace(name="mail")
    batcher = SimpleNamespace(running_s=2.5, stack=lambda: "its stack")
    is_closed = False

    def close(self) -> None:
        """Note that it is."""
        self.is_closed = True


@pytest.fixture
def loaded() -> Any:  # noqa: ANN401 (it stands in for a `serving.prediction.loaded.Loaded`)
    """Give what is loaded."""
    return Loaded()


@pytest.mark.parametrize("name", [None, "mail"])
def test_what_is_loaded_is_found_by_its_name_or_by_none(loaded: Any, name: str | None) -> None:  # noqa: ANN401
    assert Shelf(loaded).find(name) is loaded


def test_another_name_is_not_found(loaded: Any) -> None:  # noqa: ANN401
    with pytest.raises(Problem, match="there is no such model") as caught:
        Shelf(loaded).find("other")
    assert caught.value.kind is NOT_FOUND


def test_it_tells_how_long_and_where_batches_run_and_closes_what_is_loaded(loaded: Any) -> None:  # noqa: ANN401
    shelf = Shelf(loaded)
    assert (shelf.running_s, shelf.stacks) == (2.5, "its stack")
    shelf.close()
    assert loaded.is_closed
