"""``python -m serving.shadowing``: what a worker starts for a shadow, and nobody else.

It takes the number of its end of a pair of sockets, the tag that is served and that of the shadow.
It ends when the other end is closed, and with the thread that has started it.
"""

import ctypes
import signal
import socket
import sys
from contextlib import suppress

from serving.host.logs import PrintsAsLog, configure_logging
from serving.model.stored import ModelError
from serving.prediction.frames import Channel
from serving.settings import load_settings
from serving.shadowing.shadow import Shadow

_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>


def main(descriptor: str, served: str, shadow: str) -> None:
    """Say whether the shadow can be asked, and answer until nobody asks any more."""
    for number in (signal.SIGINT, signal.SIGTERM):  # its worker may drain for a while yet
        signal.signal(number, signal.SIG_IGN)
    with suppress(AttributeError, OSError):  # a model that hangs would not see that it is alone
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    sys.stdout = PrintsAsLog()
    channel = Channel(socket.socket(fileno=int(descriptor)))
    with suppress(EOFError, OSError):
        try:
            loaded = Shadow(settings, served, shadow)
        except ModelError as exc:
            channel.send(str(exc))
            return
        channel.send("")
        while True:
            channel.send(tuple(loaded.find(channel.receive())))


if __name__ == "__main__":
    main(*sys.argv[1:])
