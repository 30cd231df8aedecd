"""The command's options, its exit codes and what it says where."""

import errno
import getpass
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from serving.model.state import read_state
from serving.versions import __main__ as program
from serving.versions import listing, options
from serving.versions.__main__ import main
from serving.versions.commands import Versions
from tests.unit.fakes import SignEstimator
from tests.unit.model.saved import stored
from tests.unit.samples import description

NAME = "by-command"


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the state in a folder, and let nobody's server be asked."""
    monkeypatch.setenv("SERVING_STATE_FILE", str(tmp_path / "serving.json"))
    return tmp_path / "serving.json"


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def saved() -> str:
    """Save a version, and give its tag."""
    return str(stored(SignEstimator(), description(name=NAME)).tag)


def ended(*arguments: str) -> Any:  # noqa: ANN401 (an exit code)
    """Run the command, which has to end by itself."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return caught.value.code


def test_what_is_promoted_is_listed_and_stands_in_history(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = saved(), saved()
    main(["promote", old, "--who", "ann", "--why", "better", "--margin", "0"])
    main(["promote", f"{NAME}:latest"])
    main(["alias", f"{NAME}@next", old])
    main(["shadow", old, "--share", "12.5"])
    main(["stop", NAME])
    main(["rollback", NAME])
    main(["alias", f"{NAME}@next", "--remove"])
    assert read_state(file).of(NAME).promoted[-1] == old.partition(":")[2]
    capsys.readouterr()
    main(["history", NAME, "--json"])
    told = json.loads(capsys.readouterr().out)
    actions = ["promote", "promote", "alias next", "shadow", "stop", "rollback", "alias next"]
    assert [each["action"] for each in told] == actions
    assert [told[0][of] for of in ("who", "why")] == ["ann", "better"]
    assert told[1]["who"].startswith(f"{getpass.getuser()}@")
    main(["list", NAME, "--json"])
    (model,) = json.loads(capsys.readouterr().out)
    assert {each["version"] for each in model["versions"]} >= {new.partition(":")[2]}
    main(["list"])
    main(["history", NAME])
    out, err = capsys.readouterr()
    assert out.startswith("MODEL")
    assert err == ""


def test_what_is_refused_is_one_line_on_stderr_and_exit_code_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ended("promote", f"{NAME}:none") == 1
    told = f"python -m serving.versions: model {NAME}:none is not in the model store\n"
    assert capsys.readouterr() == ("", told)


def test_a_store_that_can_t_be_read_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "model.yaml")

    monkeypatch.setattr(listing, "kept", refuse)
    assert ended("list") == 1
    told = "python -m serving.versions: [Errno 13] Permission denied: 'model.yaml'\n"
    assert capsys.readouterr() == ("", told)


def test_who_ends_it_takes_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def promote(*_: object, **__: object) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            assert signal.getsignal(number) is signal.default_int_handler
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Versions, "promote", promote)
    assert ended("promote", f"{NAME}:x") == 130


def test_a_signal_that_is_ignored_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    def own(*_: int | FrameType | None) -> None: ...

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup has it
    signal.signal(signal.SIGTERM, own)
    monkeypatch.setattr(Versions, "stop", lambda *_: None)
    main(["stop", NAME])
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) is own


def test_a_user_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert program._who().partition("@")[0].isdecimal()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["promote"],
        ["promote", NAME],
        ["promote", "UPPER:x"],
        ["promote", f"{NAME}:x", "--margin", "-1"],
        ["promote", f"{NAME}:x", "--margin", "nan"],
        ["promote", f"{NAME}:x", "--timeout", "0"],
        ["promote", f"{NAME}:x", "--timeout", "inf"],
        ["rollback", f"{NAME}:x"],
        ["alias", NAME, f"{NAME}:x"],
        ["alias", f"{NAME}@next"],
        ["alias", f"{NAME}@next", f"{NAME}:x", "--remove"],
        ["alias", f"{NAME}@next", "other:x"],
        ["alias", f"{NAME}@Next", f"{NAME}:x"],
        ["shadow", f"{NAME}:x", "--share", "0"],
        ["shadow", f"{NAME}:x", "--share", "100.1"],
        ["shadow", f"{NAME}:x", "--share", "many"],
        ["history"],
    ],
    ids=" ".join,
)
def test_what_can_t_be_meant_is_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert options.PROGRAM in err
