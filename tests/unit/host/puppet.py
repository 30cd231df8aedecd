"""Stands in for a shadow's own program, and does as its tag says; see `test_shadowed.py`."""

import os
import signal
import socket
import sys
import time

from serving.prediction.frames import Channel
from serving.settings import METRICS_FOLDER


def main(descriptor: str, served: str, behaviour: str) -> None:
    """Begin well or badly, and answer with the process id, the tags and what is known."""
    channel = Channel(socket.socket(fileno=int(descriptor)))
    match behaviour:
        case "exits":
            sys.exit(7)
        case "refuses":
            channel.send("it is damaged")
        case "is silent":
            time.sleep(600)
    channel.send("")
    while True:
        frame = channel.receive()
        match behaviour:
            case "is killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hangs":
                time.sleep(600)
            case "does not go":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                channel.send((0, 0, [], 0.0, [], 0.0, 0, 0))
                time.sleep(600)
        known = [(served, os.environ.get(METRICS_FOLDER, "none"), len(frame))]
        channel.send((1, 2, [3], 4.0, known, 5.0, 6, 7))


if __name__ == "__main__":
    main(*sys.argv[1:])
