"""The shelf: loaded versions by the names of their models. For now there is one."""

from serving.prediction.loaded import Loaded
from serving.problems import NOT_FOUND, Problem


class Shelf:
    """Holds what is loaded."""

    def __init__(self, loaded: Loaded) -> None:
        """Take what answers where no model is named."""
        self.default = loaded

    @property
    def all(self) -> tuple[Loaded, ...]:
        """All that is loaded."""
        return (self.default,)

    def find(self, name: str | None, version: str | None = None) -> Loaded:
        """Give what is loaded of a model, by its name and perhaps its version.

        Raises:
            Problem: 404, there is no such model, or it is not loaded in this version.
        """
        about = self.default.about
        if name is not None and name != about.name:
            raise Problem(NOT_FOUND, "there is no such model")
        if version is not None and version != about.version:
            raise Problem(NOT_FOUND, "this version of the model is not loaded")
        return self.default

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
