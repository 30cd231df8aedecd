"""The command line of ``score.py``: what does not go together is refused at once."""

import re
import signal
from multiprocessing import forkserver

import pytest

import score
from serving.files.formats import Format
from serving.scoring.table import Options

GIVEN = ("--model", "iris:latest", "--data", "in.csv", "--out", "out.csv")


def parsed(*options: str) -> Options:
    """Give options as the command line takes them."""
    given = vars(score.build_parser().parse_args([*GIVEN, *options]))
    given.pop("model")
    return Options(**given)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--errors", "drop"), "expected fail, null, or a file whose name ends in .ndjson"),
        (("--workers", "0"), "expected a whole number from 1"),
        (("--workers", "all"), "invalid workers value"),
        (("--resume", "--out", "-"), "--resume needs files"),
        (("--resume", "--data", "-"), "--resume needs files"),
        (("--report", "out.csv"), "--report needs a file of its own"),
        (("--data", "in", "--report", "in/drift.html"), "--report needs a file of its own"),
        (("--to", "xlsx"), "invalid choice"),
    ],
)
def test_what_makes_no_sense_is_refused(
    options: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        score.main([*GIVEN, *options])
    assert caught.value.code == 2
    assert re.search(re.escape(told), capsys.readouterr().err)


def test_columns_and_workers_may_stand_alone() -> None:
    args = score.build_parser().parse_args([*GIVEN, "--columns", "--workers"])
    assert args.columns == []
    assert args.workers >= 1
    usual = score.build_parser().parse_args(GIVEN)
    assert (usual.columns, usual.workers, usual.errors) == (None, 1, "fail")


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--out", "-"), (Format.TSV, False)),
        (("--out", "-", "--to", "arrows"), (Format.ARROWS, False)),
        (("--out", "x.jsonl.gz"), (Format.NDJSON, True)),
        (("--out", "x.gz", "--to", "csv"), (Format.CSV, True)),
    ],
)
def test_answers_have_the_format_that_is_named_or_that_of_what_comes_in(
    options: tuple[str, ...], found: tuple[Format, bool]
) -> None:
    assert parsed(*options).output_format(Format.TSV) == found


def test_what_decides_of_the_bytes_is_told_as_it_is_said() -> None:
    usual, other = parsed().deciding, parsed("--columns", "--from", "csv", "--missing", "?", "-9")
    assert (usual["--columns"], usual["--missing"], usual["--encoding"]) == (
        "not given",
        "nothing",
        "utf-8",
    )
    assert usual | other.deciding == usual | {
        "--columns": "nothing",
        "--from": "csv",
        "--missing": "'?', '-9'",
    }


def test_what_workers_are_made_of_never_gets_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    blocked: list[set[int]] = []

    def started() -> None:
        blocked.append(signal.pthread_sigmask(signal.SIG_BLOCK, []))

    monkeypatch.setattr(forkserver, "ensure_running", started)
    monkeypatch.setattr("multiprocessing.set_forkserver_preload", lambda names: None)
    monkeypatch.setenv("PYTHONPATH", "")
    score.prepare_workers()
    assert signal.SIGINT in blocked[0]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
