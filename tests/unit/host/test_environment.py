"""What libraries and worker processes read from the environment is passed on to them there."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.host.process import (
    MODELS,
    forbid_usage_reports,
    pin_models,
    pinned_models,
    prepare_environment,
)
from serving.settings import Settings

PASSED_ON = (
    "BENTOML_CONFIG",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
    "BENTOML_DO_NOT_TRACK",
    "FORWARDED_ALLOW_IPS",
)
CONFIGURATION = Path("configuration.yaml")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Begin without the variables that are passed on, and end with those that were there."""
    for name in PASSED_ON:
        monkeypatch.setenv(name, "")  # so that what is set in between is undone
        monkeypatch.delenv(name)
    yield monkeypatch
    for name in PASSED_ON:
        os.environ.pop(name, None)


def test_libraries_and_workers_are_told_what_they_read_themselves(
    environment: pytest.MonkeyPatch,
) -> None:
    settings = Settings(threads=3, trusted_proxies=("10.0.0.0/8", "::1"))
    prepare_environment(settings, CONFIGURATION)
    assert {name: os.environ.get(name) for name in PASSED_ON} == {
        "BENTOML_CONFIG": str(CONFIGURATION.resolve()),
        "OMP_NUM_THREADS": "3",
        "OPENBLAS_NUM_THREADS": "3",
        "MKL_NUM_THREADS": "3",
        "LOKY_MAX_CPU_COUNT": "3",
        "BENTOML_DO_NOT_TRACK": "True",
        "FORWARDED_ALLOW_IPS": "10.0.0.0/8,::ffff:10.0.0.0/104,::1",
    }


def test_what_the_operator_has_told_them_stays(environment: pytest.MonkeyPatch) -> None:
    for name in ("BENTOML_CONFIG", "OMP_NUM_THREADS", "BENTOML_DO_NOT_TRACK"):
        environment.setenv(name, "mine")
    prepare_environment(Settings(), CONFIGURATION)
    for name in ("BENTOML_CONFIG", "OMP_NUM_THREADS", "BENTOML_DO_NOT_TRACK"):
        assert os.environ[name] == "mine"


def test_no_proxy_is_believed_unless_it_is_trusted(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("FORWARDED_ALLOW_IPS", "*")
    prepare_environment(Settings(), CONFIGURATION)
    assert os.environ["FORWARDED_ALLOW_IPS"] == ""


def test_usage_reports_are_off_unless_the_operator_decides(
    environment: pytest.MonkeyPatch,
) -> None:
    forbid_usage_reports()
    assert os.environ["BENTOML_DO_NOT_TRACK"] == "True"
    environment.setenv("BENTOML_DO_NOT_TRACK", "False")
    forbid_usage_reports()
    assert os.environ["BENTOML_DO_NOT_TRACK"] == "False"


def test_versions_that_were_chosen_hold_for_workers_started_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(MODELS, "")
    assert pinned_models() == ()
    pin_models(["iris:v7", "wine:v2"])
    assert pinned_models() == ("iris:v7", "wine:v2")
