"""What a worker and a shadow tell each other arrives whole, or somebody hears that it does not."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.prediction.frames import Channel


class GivenUpError(Exception):
    """Whoever waited has had enough."""


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Give both ends, the first of which does not wait for long."""
    ours, theirs = socket.socketpair()
    ours.settimeout(0.001)
    with ours, theirs:
        yield ours, theirs


def test_messages_arrive_whole_however_large_they_are(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = map(Channel, ends)
    few = [("id", 0, [(1.5, None, "ünï\ud800", True)], [("ham", [0.5], None)])]
    with ThreadPoolExecutor(1) as other_side:
        for message in (few, "x" * 10**6):
            received = other_side.submit(theirs.receive)
            ours.send(message)
            assert received.result() == message
    theirs.send(few)
    assert ours.receive() == few


def test_who_waits_is_told_again_and_again_and_may_give_up(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours = Channel(ends[0])
    waited = 0

    def wait() -> None:
        nonlocal waited
        waited += 1
        if waited == 3:
            raise GivenUpError

    with pytest.raises(GivenUpError):
        ours.receive(wait)
    waited = 0
    with pytest.raises(GivenUpError):
        ours.send("x" * 10**7, wait)


def test_the_end_of_the_other_side_is_heard(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    theirs.send(bytes(3))  # of a length
    theirs.close()
    with pytest.raises(EOFError):
        Channel(ours).receive()
    with pytest.raises(OSError, match="Broken pipe"):
        Channel(ours).send("x")
