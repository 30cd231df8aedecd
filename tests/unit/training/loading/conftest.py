"""What the tests of loading share: files are read at once."""

import pytest


@pytest.fixture(autouse=True)
def untried(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Try no file in a process of its own, which takes seconds, unless a test is slow."""
    # Not imported at the top, as in the folder above.
    from training.loading import native, onnx

    if request.node.get_closest_marker("slow") is None:
        for room in (native, onnx):
            monkeypatch.setattr(room, "survive", lambda *_: None)
