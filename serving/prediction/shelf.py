"""The shelf: loaded versions by the names of their models."""

from collections.abc import Sequence

from serving.model.stored import ModelError
from serving.prediction.loaded import Loaded
from serving.problems import NOT_FOUND, Problem


class Shelf:
    """Holds what is loaded: of each model one version."""

    def __init__(self, loaded: Sequence[Loaded]) -> None:
        """Take what is loaded, first what answers where no model is named.

        Raises:
            ModelError: two are of one name.
        """
        self.all = tuple(loaded)
        self.default = self.all[0]
        self._by_name: dict[str, Loaded] = {}
        for each in self.all:
            about = each.about
            if (other := self._by_name.setdefault(about.name, each)) is not each:
                raise ModelError(
                    f"two models call themselves {about.name}: versions {other.about.version} and "
                    f"{about.version}; serve one of them, or train one under another --name"
                )

    def find(self, name: str | None, version: str | None = None) -> Loaded:
        """Give what is loaded of a model, by its name and perhaps its version.

        Raises:
            Problem: 404, there is no such model, or it is not loaded in this version.
        """
        found = self.default if name is None else self._by_name.get(name)
        if found is None:
            raise Problem(NOT_FOUND, "there is no such model")
        if version is not None and version != found.about.version:
            raise Problem(NOT_FOUND, "this version of the model is not loaded")
        return found

    @property
    def running_s(self) -> float:
        """For how many seconds the longest of the batches that run has run; 0 if none does."""
        return max(each.batcher.running_s for each in self.all)

    def hanging(self, longer_than_s: float) -> tuple[Loaded, ...]:
        """Give the models whose batch has run for longer."""
        return tuple(each for each in self.all if each.batcher.running_s > longer_than_s)

    @property
    def stacks(self) -> str:
        """Where the threads that run a batch are, without the values that they work on."""
        return "\n".join(
            f"{each.about.name}:\n{each.batcher.stack()}" for each in self.hanging(0.0)
        )

    def close(self) -> None:
        """Let the models' threads end."""
        for each in self.all:
            each.close()
