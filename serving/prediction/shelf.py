"""The shelf: loaded versions by the names of their models. For now there is one."""

from serving.prediction.loaded import Loaded
from serving.problems import NOT_FOUND, Problem


class Shelf:
    """Holds what is loaded."""

    def __init__(self, loaded: Loaded) -> None:
        """Take what answers where no model is named."""
        self.default = loaded

    def find(self, name: str | None) -> Loaded:
        """Give what is loaded of a model, by its name.

        Raises:
            Problem: 404, there is no such model.
        """
        if name is None or name == self.default.about.name:
            return self.default
        raise Problem(NOT_FOUND, "there is no such model")

    @property
    def running_s(self) -> float:
        """For how many seconds the longest of the batches that run has run; 0 if none does."""
        return self.default.batcher.running_s

    @property
    def stacks(self) -> str:
        """Where the models' threads are, without the values that they work on."""
        return self.default.batcher.stack()

    def close(self) -> None:
        """Let the models' threads end."""
        self.default.close()
