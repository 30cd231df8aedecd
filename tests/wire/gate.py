"""How a test holds the model of a server, and sees what the model was asked."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path

import httpx

from tests.server import Server, eventually
from tests.wire.estimators import GATE

Row = list[float]


@dataclass(frozen=True, slots=True)
class Gate:
    """A folder that the estimator `Gated` looks at."""

    folder: Path
    _numbers: Iterator[int] = field(default_factory=lambda: count(100))

    @property
    def settings(self) -> dict[str, str]:
        """What a server needs so that its model waits at this gate."""
        return {"SERVING_MODEL": "gated", GATE: str(self.folder)}

    def rows(self, amount: int) -> list[Row]:
        """Give rows that nobody has asked about yet."""
        return [[float(number), 1, 1, 1] for number in islice(self._numbers, amount)]

    def close(self) -> None:
        """Let the model wait in its next prediction."""
        (self.folder / "closed").touch()

    def open(self) -> None:
        """Let it go on."""
        (self.folder / "closed").unlink()

    def seen(self) -> list[list[float]]:
        """Give the first feature of each row, for each batch that reached the model."""
        return [json.loads(line) for line in (self.folder / "seen").read_text().splitlines()]

    def has_seen(self, row: Row) -> bool:
        """Tell whether the model has been asked about a row."""
        return any(row[0] in batch for batch in self.seen())

    def hold(self, server: Server, threads: ThreadPoolExecutor) -> "Future[httpx.Response]":
        """Close, and let the model wait for one row that it is asked about."""
        (row,) = self.rows(1)
        self.close()
        held = threads.submit(server.ask, row)
        eventually("a row in the model", lambda: self.has_seen(row))
        return held
