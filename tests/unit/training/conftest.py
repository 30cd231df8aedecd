"""What the tests of training share: a folder of their own, and a quick way through."""

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep files of tests apart, and name them as a person in their folder does."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask a model of few rows, and look at it no closer: no proofs, no card, no other process."""
    # Not imported at the top: bentoml warns, and what is to be let pass is not yet known there.
    from training import publish
    from training.describing import batches, boundary, probe
    from training.describing.packages import Needed

    monkeypatch.setattr(probe, "MAX_PROBED_ROWS", 10)
    monkeypatch.setattr(batches, "BATCH_SIZES", ())
    monkeypatch.setattr(batches, "MAX_MIXED_ROWS", 10)
    monkeypatch.setattr(boundary, "MAX_BOUNDARIES", 3)
    monkeypatch.setattr(publish, "needed_by", lambda *_: Needed((), ()))
    monkeypatch.setattr(publish, "compile_estimator", lambda *_: ("it was not tried", None))
    monkeypatch.setattr(publish, "explain", lambda *_, **__: ("it was not tried", None))
    monkeypatch.setattr(publish, "with_shortcut", lambda _, described, *__: described)
    monkeypatch.setattr(publish, "card", lambda *_: "a card")
