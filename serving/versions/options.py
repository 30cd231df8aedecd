"""The options of the command; what can't be meant is refused with exit code 2."""

import argparse
import math
import re
from collections.abc import Callable

from serving.settings import TAG, name_of

PROGRAM = "python -m serving.versions"


def parser() -> argparse.ArgumentParser:
    """Give what reads the command line."""
    made = argparse.ArgumentParser(prog=PROGRAM, description="Decide which versions are served.")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")

    add = commands.add_parser("promote", help="let a version answer").add_argument
    add("tag", type=_tag, metavar="TAG", help="NAME:VERSION, NAME:latest or NAME@ALIAS")
    _breaking(add)
    worse = "refuse it, if its score can't be compared or is worse by more than this"
    add("--margin", type=_number(0, math.inf), metavar="X", help=worse)
    _deciding(add)
    _waiting(add)

    add = commands.add_parser("rollback", help="let the version before answer").add_argument
    add("name", type=_name, metavar="NAME")
    _deciding(add)
    _waiting(add)

    alias = commands.add_parser("alias", help="give a version a name")
    add = alias.add_argument
    add("alias", type=_alias, metavar="NAME@ALIAS")
    either = alias.add_mutually_exclusive_group(required=True)
    either.add_argument("tag", type=_tag, nargs="?", metavar="TAG")
    either.add_argument("--remove", action="store_true", help="let it stand for nothing")
    _breaking(add)
    _deciding(add)
    _waiting(add)

    add = commands.add_parser("shadow", help="ask a version as well, unseen").add_argument
    add("tag", type=_tag, metavar="TAG")
    share = _number(0, 100, is_open=True)
    add("--share", type=share, default=100.0, metavar="PERCENT", help="of all requests; 100")
    _deciding(add)
    _timeout(add)

    add = commands.add_parser("stop", help="ask no version as well").add_argument
    add("name", type=_name, metavar="NAME")
    _deciding(add)

    add = commands.add_parser("compare", help="tell what a shadow has said").add_argument
    add("name", type=_name, metavar="NAME")
    add("--json", action="store_true", help="print JSON")

    add = commands.add_parser("list", help="tell what there is, and who serves it").add_argument
    add("name", type=_name, nargs="?", metavar="NAME")
    add("--json", action="store_true", help="print JSON")

    add = commands.add_parser("history", help="tell what was decided").add_argument
    add("name", type=_name, metavar="NAME")
    add("--json", action="store_true", help="print JSON")
    return made


_Add = Callable[..., argparse.Action]


def _breaking(add: _Add) -> None:
    add("--breaking", action="store_true", help="though it would break clients")


def _deciding(add: _Add) -> None:
    add("--why", default="", metavar="TEXT", help="for the history")
    add("--who", metavar="NAME", help="for the history, if not who is logged in")


def _waiting(add: _Add) -> None:
    add("--wait", action="store_true", help="until no old worker is left")
    _timeout(add)


def _timeout(add: _Add) -> None:
    limit = _number(0, math.inf, is_open=True)
    add("--timeout", type=limit, metavar="S", help="for servers, before it is taken back")


def _tag(text: str) -> str:
    if not re.fullmatch(TAG, text) or text == name_of(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME:VERSION, NAME:latest or NAME@ALIAS")
    return text


def _alias(text: str) -> str:
    if not re.fullmatch(TAG, text) or "@" not in text:
        told = f"{text!r} is not NAME@ALIAS, of lower-case letters, digits, - and _"
        raise argparse.ArgumentTypeError(told)
    return text


def _name(text: str) -> str:
    if not re.fullmatch(TAG, text) or text != name_of(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a model")
    return text


def _number(least: float, most: float, *, is_open: bool = False) -> Callable[[str], float]:
    """Give what reads a finite number; ``is_open`` leaves out the least."""

    def number(text: str) -> float:
        value = float(text)
        is_low = value <= least if is_open else value < least
        if is_low or not value <= most or value == math.inf:
            limit = f" and at most {most:g}" if most < math.inf else ""
            bound = "above" if is_open else "at least"
            raise argparse.ArgumentTypeError(f"{text} is not {bound} {least:g}{limit}")
        return value

    return number
