"""The shelf: what is loaded, by name."""

from types import SimpleNamespace
from typing import Any

import pytest

from serving.prediction.shelf import Shelf
from serving.problems import NOT_FOUND, Problem


class Loaded:
    """A loaded version whose batch has run for a while."""

    about = SimpleNamespace(name="mail", version="v1")
    batcher = SimpleNamespace(running_s=2.5, stack=lambda: "its stack")
    is_closed = False

    def close(self) -> None:
        """Note that it is."""
        self.is_closed = True


@pytest.fixture
def loaded() -> Any:  # noqa: ANN401 (it stands in for a `serving.prediction.loaded.Loaded`)
    """Give what is loaded."""
    return Loaded()


@pytest.mark.parametrize("named", [(None,), ("mail",), ("mail", None), ("mail", "v1")])
def test_what_is_loaded_is_found_by_its_name_and_version_or_by_none(
    loaded: Any,  # noqa: ANN401
    named: tuple[str | None, ...],
) -> None:
    shelf = Shelf(loaded)
    assert shelf.find(*named) is loaded
    assert shelf.all == (loaded,)


@pytest.mark.parametrize(
    ("named", "told"),
    [
        (("other",), "there is no such model"),
        (("other", "v1"), "there is no such model"),
        (("mail", "v2"), "this version of the model is not loaded"),
        (("mail", ""), "this version of the model is not loaded"),
    ],
)
def test_another_name_or_version_is_not_found(
    loaded: Any,  # noqa: ANN401
    named: tuple[str, ...],
    told: str,
) -> None:
    with pytest.raises(Problem, match=told) as caught:
        Shelf(loaded).find(*named)
    assert caught.value.kind is NOT_FOUND


def test_it_tells_how_long_and_where_batches_run_and_closes_what_is_loaded(loaded: Any) -> None:  # noqa: ANN401
    shelf = Shelf(loaded)
    assert (shelf.running_s, shelf.stacks) == (2.5, "its stack")
    shelf.close()
    assert loaded.is_closed
