"""How a test holds the model of a server, and sees what the model was asked."""

import json
from dataclasses import dataclass
from pathlib import Path

from tests.server import eventually
from tests.wire.estimators import GATE


@dataclass(frozen=True, slots=True)
class Gate:
    """A folder that the estimator `Gated` looks at."""

    folder: Path

    @property
    def settings(self) -> dict[str, str]:
        """What a server needs so that its model waits at this gate."""
        return {"SERVING_MODEL": "gated", GATE: str(self.folder)}

    def close(self) -> None:
        """Let the model wait in its next prediction."""
        (self.folder / "closed").touch()

    def open(self) -> None:
        """Let it go on."""
        (self.folder / "closed").unlink()

    def seen(self) -> list[list[float]]:
        """Give the first feature of each row, for each batch that reached the model."""
        return [json.loads(line) for line in (self.folder / "seen").read_text().splitlines()]

    def wait_for(self, value: float) -> None:
        """Wait until the model has been asked about a row with this first feature."""
        eventually(f"{value} in the model", lambda: any(value in batch for batch in self.seen()))
