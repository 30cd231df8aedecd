"""What a worker and the process of a shadow tell each other, over a pair of sockets.

A frame is a message behind its length: first the shadow's word of whether it can be asked, then
rows with what was answered, and for each such frame what the shadow has found. Messages are of
Python's own plain types, which both sides write and read in no time.
"""

import marshal
import socket
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

FRAME_ROWS = 100  # at most, in one frame
_LENGTH_BYTES = 8
_RECEIVED_BYTES = 2**16  # in one call

# Rows of a request: its id, their numbers there, the rows, and for each the value, the
# probabilities and the scores that were answered.
Part: TypeAlias = tuple[str, list[int], list[Any], list[tuple[Any, Any, Any]]]


class Findings(NamedTuple):
    """What a shadow has found of the rows of a frame; those that it does not tell have failed.

    ``differences`` are counted by the buckets of the metric, the last of which has no bound,
    ``labels`` by what was answered and what the shadow says. ``seconds`` is how long it took for
    all rows that it answered. ``written`` and ``lost`` are lines of the prediction log.
    """

    same: int
    different: int
    differences: list[int]
    differences_sum: float
    labels: list[tuple[str, str, int]]
    seconds: float
    written: int
    lost: int


class Channel:
    """One end of the pair."""

    def __init__(self, end: socket.socket) -> None:
        """Take it; if it has a timeout, whoever waits is told each time that this is over."""
        self._end = end

    def send(self, message: Any, wait: Callable[[], None] = lambda: None) -> None:  # noqa: ANN401 (any message)
        """Send a message; ``wait`` may raise to give up, here and below.

        Raises:
            OSError: the other end is closed.
            ValueError: it is not of Python's own plain types.
        """
        data = marshal.dumps(message)
        rest = memoryview(len(data).to_bytes(_LENGTH_BYTES) + data)
        while rest:
            try:
                rest = rest[self._end.send(rest) :]
            except TimeoutError:
                wait()

    def receive(self, wait: Callable[[], None] = lambda: None) -> Any:  # noqa: ANN401 (any message)
        """Receive a message.

        Raises:
            EOFError, OSError: the other end is closed.
        """
        # At most as much as there is: nobody sends another before this is answered.
        data = bytearray()
        while len(data) < _LENGTH_BYTES or len(data) < _length(data):
            try:
                part = self._end.recv(_RECEIVED_BYTES)
            except TimeoutError:
                wait()
                continue
            if not part:
                raise EOFError
            data += part
        return marshal.loads(memoryview(data)[_LENGTH_BYTES:])  # noqa: S302 (from a process of ours)

    def close(self) -> None:
        """Close this end."""
        self._end.close()


def _length(data: bytearray) -> int:
    return _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES])
