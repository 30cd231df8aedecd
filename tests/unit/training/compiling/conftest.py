"""What the tests of compiling share: quiet estimators, and proofs of fewer rows."""

import warnings
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _quiet_and_quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let estimators warn of the odd rows that they are asked for, and ask for fewer."""
    # Not imported at the top, as in the folder above.
    from training.compiling import hostile, proof
    from training.describing import batches, boundary, probe

    monkeypatch.setattr(probe, "MAX_PROBED_ROWS", 16)
    monkeypatch.setattr(batches, "BATCH_SIZES", (7,))
    monkeypatch.setattr(batches, "MAX_MIXED_ROWS", 16)
    monkeypatch.setattr(boundary, "MAX_BOUNDARIES", 6)
    for room in (hostile, proof):
        monkeypatch.setattr(room, "MAX_ROWS", 300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
