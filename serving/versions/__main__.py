"""``python -m serving.versions``: which versions are served, as people or a program decide.

It writes the desired state beside the model store, or where SERVING_STATE_FILE says, and waits for
what the servers of this machine say. It takes the service's requirements. On stderr there is why
something is refused or has failed, and nothing else.
"""

import argparse
import getpass
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from serving.console import show
from serving.model.state import read_state
from serving.model.stored import ModelError
from serving.settings import Settings, load_settings, name_of
from serving.versions import listing
from serving.versions.commands import Versions
from serving.versions.deciding import By, VersionsError
from serving.versions.options import PROGRAM, parser
from serving.versions.servers import Watch, running


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what is asked.

    Raises:
        SystemExit: 1, with one line about why it is refused or has failed; 2, if it can't be
            understood; 130, if it was interrupted, and taken back.
    """
    options = parser()
    args = options.parse_args(arguments)
    if args.command == "alias" and args.tag and name_of(args.tag) != name_of(args.alias):
        options.error(f"{args.alias} can't stand for {args.tag}, of another model")
    settings = load_settings()
    try:
        if args.command in {"compare", "list", "history"}:
            _tell(settings, args)
        else:
            _decide(settings, args)
    except (VersionsError, ModelError, OSError) as exc:  # the last: a store that is another user's
        options.exit(1, f"{PROGRAM}: {exc}\n")
    except KeyboardInterrupt:
        sys.exit(130)


def _tell(settings: Settings, args: argparse.Namespace) -> None:
    state = read_state(settings.state_path)
    there = running(settings.state_path)
    match args.command:
        case "history":
            told = listing.history(state, args.name)
            lines = listing.history_lines(told)
        case "compare":
            from serving.versions import comparing  # which brings metrics, and only this needs them

            folders = [Path(status.metrics) for status in there.values()]
            told = comparing.Comparison(args.name, folders).documents()
            lines = comparing.lines(args.name, told)
        case _:
            told = listing.versions(state, there, args.name)
            lines = listing.version_lines(told)
    show(json.dumps(told, indent=2) if args.json else "\n".join(lines))


def _decide(settings: Settings, args: argparse.Namespace) -> None:
    # Whoever ends it ends it as Ctrl-C does: nothing stays half decided.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    versions = Versions(
        settings,
        By(args.who or _who(), datetime.now(UTC), args.why),
        Watch(partial(running, settings.state_path)),
        show,
        patience_s=vars(args).get("timeout"),
        waits=vars(args).get("wait", False),
    )
    match args.command:
        case "promote":
            versions.promote(args.tag, may_break=args.breaking, margin=args.margin)
        case "rollback":
            versions.rollback(args.name)
        case "alias":
            versions.alias(args.alias, args.tag, may_break=args.breaking)
        case "shadow":
            versions.shadow(args.tag, args.share)
        case "stop":
            versions.stop(args.name)


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # in a container, a user may have a number alone
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


if __name__ == "__main__":
    main()
