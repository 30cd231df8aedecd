"""The folder of the workers' metrics: of a worker that is no more counts stay, and gauges go."""

import os
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from serving.exposition import exposition

NOBODY = 2**22 + 1  # more than any system gives to a process


def keep(folder: Path, kind: str, pid: int, value: float) -> None:
    """Write a metric as a worker does."""
    file = MmapedDict(str(folder / f"{kind}_{pid}.db"))  # type: ignore[no-untyped-call]
    name = kind.replace("_", "")
    file.write_value(mmap_key(name, name, [], [], "Help."), value, 0.0)  # type: ignore[no-untyped-call]
    file.close()  # type: ignore[no-untyped-call]


def test_of_dead_workers_counts_are_told_and_gauges_are_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # One that drained while its successor started, which could not know of its end.
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    for pid, value in ((os.getpid(), 1.0), (NOBODY, 0.0)):
        keep(tmp_path, "gauge_livemin", pid, value)
        keep(tmp_path, "counter", pid, 2.0)
    told = exposition().decode().splitlines()
    assert "gaugelivemin 1.0" in told
    assert any(line.startswith("counter") and line.endswith(" 4.0") for line in told)
