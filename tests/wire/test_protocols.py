"""What docs/protocols.md shows is what is answered: its commands, word for word."""

import csv
import io
import json
import re
import shlex
from codecs import decode
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.server import ROOT, Server

SHOWN = re.compile(
    r"^```\n((?:curl|printf)[^`]*?http://localhost:8000[^`]*)```\n\n```(json|csv)\n(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
OF_THIS_REQUEST = {"id", "request_id", "model_version"}
CLOSE = 1e-12  # on another processor the last bits may be others
FORM = "application/x-www-form-urlencoded"  # as curl declares what it is given no type for


@dataclass(frozen=True, slots=True)
class Command:
    """A command that asks."""

    path: str
    headers: dict[str, str]
    body: bytes


def read(command: str) -> Command:
    """Read a command of curl, with what is piped into it, as a shell would."""
    words = shlex.split(command.replace("\\\n", " "))
    piped = ""
    if words[0] == "printf":
        piped, words = decode(words[1], "unicode_escape"), words[3:]
    _, url, *options = words
    headers, body = {"Content-Type": FORM}, piped
    for option, value in zip(options[::2], options[1::2], strict=True):
        if option == "-H":
            name, _, text = value.partition(": ")
            headers[name] = text
        elif (option, value) != ("--data-binary", "@-"):
            assert option == "-d"
            body = value
    return Command(url.removeprefix("http://localhost:8000"), headers, body.encode())


def shown() -> list[tuple[Command, str, str]]:
    """Give what is asked, in which form it is answered, and the answer."""
    text = (ROOT / "docs" / "protocols.md").read_text()
    return [(read(command), form, answer) for command, form, answer in SHOWN.findall(text)]


def told(answer: str, form: str) -> Any:  # noqa: ANN401 (any JSON)
    """Read an answer without what is this request's alone, so that numbers that are close agree."""
    return alike(json.loads(answer) if form == "json" else list(csv.reader(io.StringIO(answer))))


def alike(value: Any) -> Any:  # noqa: ANN401
    match value:
        case dict():
            return {
                name: alike(each) for name, each in value.items() if name not in OF_THIS_REQUEST
            }
        case list():
            return [alike(each) for each in value]
        case str() if re.fullmatch(r"\d[\d.e-]*", value):
            return alike(float(value))
        case float():
            return pytest.approx(value, rel=CLOSE, abs=CLOSE)
    return value


def test_there_are_commands_to_run() -> None:
    assert {command.path.split("/")[1] for command, *_ in shown()} == {
        *("v1", "v2", "invocations", "predict")
    }


@pytest.mark.parametrize(
    ("command", "form", "answer"),
    [pytest.param(*each, id=f"{number} {each[0].path}") for number, each in enumerate(shown())],
)
def test_what_is_shown_is_what_is_answered(
    server: Server, command: Command, form: str, answer: str
) -> None:
    got: httpx.Response = server.http.post(
        command.path, content=command.body, headers=command.headers
    )
    assert told(got.text, form) == told(answer, form)
