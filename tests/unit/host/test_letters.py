"""What a worker leaves is read once; that one has served stays."""

import os
from pathlib import Path

import pytest

from serving.host.letters import Letters
from serving.model.state import ShadowLetter

PID = os.getpid()


@pytest.fixture
def letters(tmp_path: Path) -> Letters:
    """Give letters in a folder of their own."""
    return Letters(tmp_path)


def test_that_a_worker_has_served_is_known_from_then_on(letters: Letters) -> None:
    assert not letters.has_served
    letters.tell_served()
    assert letters.has_served
    letters.tell_served()
    assert letters.has_served


def test_a_refusal_is_read_once(letters: Letters) -> None:
    letters.refuse("model iris is damaged: \ud800")  # a file's name that is no text, perhaps
    assert letters.refusal_of(PID + 1) == ""
    assert letters.refusal_of(PID) == r"model iris is damaged: \ud800"
    assert letters.refusal_of(PID) == ""


def test_stacks_are_read_once_though_they_are_cut_off(letters: Letters) -> None:
    stream = letters.open_stacks()
    assert stream is not None
    with stream:
        os.write(stream.fileno(), b"in predict \xc3")
    assert letters.stacks_of(PID) == "in predict \ufffd"
    assert letters.stacks_of(PID) == ""


def test_shadows_are_told_by_model_until_they_or_their_workers_are_gone(letters: Letters) -> None:
    iris = ShadowLetter(worker=PID, revision=1, model="iris", version="b", state="starting")
    mail = iris.model_copy(update={"model": "mail"})
    letters.tell_shadow(iris)
    letters.tell_shadow(mail)
    assert letters.shadows() == [iris, mail]
    refused = iris.model_copy(update={"state": "refused", "reason": "it is damaged"})
    letters.tell_shadow(refused)
    letters.forget_shadow("mail")
    assert letters.shadows() == [refused]
    letters.tell_shadow(mail.model_copy(update={"worker": 2**22 + 1}))  # there is no such process
    assert letters.shadows() == [refused]
    letters.forget(PID)
    assert letters.shadows() == []


def test_where_the_folder_has_been_taken_away_nothing_is_told_and_nothing_fails(
    tmp_path: Path,
) -> None:
    letters = Letters(tmp_path / "nowhere")
    letters.tell_served()
    letters.refuse("it is damaged")
    letters.tell_shadow(
        ShadowLetter(worker=PID, revision=1, model="iris", version="b", state="running")
    )
    letters.forget_shadow("iris")
    assert letters.shadows() == []
    assert letters.open_stacks() is None
    assert not letters.has_served
    assert letters.refusal_of(PID) == ""
