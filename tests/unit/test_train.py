"""The command line: its options, which go together, and how a failure is told."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import train
from tests.server import ROOT
from tests.unit.training.pets import refusal
from training.describing.packages import Needed


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--test-size", "0"),
        ("--test-size", "1"),
        ("--test-size", "nan"),
        ("--tolerance", "1"),
        ("--seed", "1.5"),
        ("--seed", "-1"),
        ("--seed", str(2**32)),
        ("--name", "NoName"),
        ("--name", "iris:v1"),
        ("--name", ""),
        ("--task", "guessing"),
        ("--decimal", ";"),
    ],
)
def test_an_option_of_a_wrong_value_is_named(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"argument {option}: " in refusal(f"{option}={value}", capsys, exit_code=2)


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("--target kind", "--target and --task need --data"),
        ("--task regression", "--target and --task need --data"),
        ("--data pets.csv --target kind --param C=1", "--param needs --estimator"),
        ("--model m.skops", "--model and --reference go together, but for a model of MLflow"),
        ("--reference pets.csv", "--model and --reference go together, but for a model of MLflow"),
        ("--model m.skops --reference pets.csv --data pets.csv", "--model takes an estimator"),
        ("--model m.skops --reference pets.csv --estimator SVC", "--model takes an estimator"),
        ("--data pets.csv --target kind --category a", "--category needs --model"),
        ("--candidates boosters", "--candidates needs --data, and no --estimator"),
        ("--data a.csv --target b --candidates boosters --estimator SVC", "and no --estimator"),
        ("--data pets.csv --target", "argument --target: expected at least one argument"),
        ("pets.csv", "unrecognized arguments: pets.csv"),
    ],
)
def test_options_that_do_not_go_together_are_told(
    command: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert complaint in refusal(command, capsys, exit_code=2)


def test_code_that_can_not_travel_is_told_before_anything_is_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = refusal("--data none.csv --target kind --code gone.py", capsys)
    assert "there is no file or folder gone.py, as --code says" in told


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a.csv.gz", "a"),
        ("A_b-C.parquet", "a_b-c"),
        ("_x_.tsv", "x"),
        ("日本.csv", "model"),
        ("My Pets (2024).csv", "my-pets-2024"),
    ],
)
def test_any_files_name_makes_a_name_for_the_store(file: str, name: str) -> None:
    parser = train.build_parser()
    options = parser.parse_args(["--data", file])

    train.check(parser, options)

    assert options.name == name
    assert train.model_name(name) == name


@pytest.mark.slow
def test_it_is_a_command_that_needs_no_arguments(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("training.publish.needed_by", lambda *_: Needed((), ()))
    monkeypatch.setattr(sys, "argv", ["train.py"])

    runpy.run_path(train.__file__, run_name="__main__")

    assert capsys.readouterr().out.startswith("Saved iris:")


@pytest.mark.slow
def test_a_failure_is_a_line_for_a_person_and_an_exit_code_for_a_script(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "train.py", "--data", "none.csv", "--target", "kind"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "train.py: there is no file none.csv\n"
