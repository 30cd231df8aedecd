"""The folder of the workers' metrics: of a worker that is no more counts stay, and gauges go."""

import os
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from serving.exposition import exposition
from serving.gathering import GATHER_S, gather

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


SERVED = {("iris", "v2")}


def count(folder: Path, pid: int, version: str, kind: str = "counter", by: float = 1.0) -> None:
    """Count in a file, as the worker with this number does."""
    file = MmapedDict(str(folder / f"{kind}_{pid}.db"))  # type: ignore[no-untyped-call]
    labels = {"model_name": "iris", "version": version} if version else {"endpoint": "/metrics"}
    names, values = [*labels], [*labels.values()]
    key = mmap_key(f"{kind}s", f"{kind}s", names, values, "Help.")
    value, _ = file.read_value(key)  # type: ignore[no-untyped-call]
    file.write_value(key, value + by, 0.0)  # type: ignore[no-untyped-call]
    file.close()  # type: ignore[no-untyped-call]


def files(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_what_dead_workers_have_counted_is_gathered_and_told_as_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    lives = os.getpid()
    for kind in ("counter", "histogram"):
        for pid, version in [(NOBODY, "v1"), (NOBODY + 1, "v1"), (NOBODY + 1, ""), (lives, "v2")]:
            count(tmp_path, pid, version, kind, by=1.5)
    before = exposition()
    assert b'version="v1"} 3.0' in before
    (tmp_path / f"counter_{NOBODY + 2}.db").touch()  # it was killed before it counted
    gather(tmp_path, SERVED)
    assert set(exposition().splitlines()) == set(before.splitlines())
    own = {f"{kind}_{name}.db" for kind in ("counter", "histogram") for name in ("gathered", lives)}
    assert files(tmp_path) == own
    gather(tmp_path, SERVED)
    assert set(exposition().splitlines()) == set(before.splitlines())


def test_a_version_that_nobody_serves_is_forgotten_at_the_next_gathering_but_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    count(tmp_path, NOBODY, "v1")
    gather(tmp_path, SERVED)
    assert b'model_name="iris",version="v1"' in exposition()
    for version in ("v2", ""):
        count(tmp_path, NOBODY, version)
    gather(tmp_path, SERVED)
    told = exposition().decode()  # of other tests, too
    assert 'model_name="iris",version="v1"' not in told
    assert 'version="v2"} 1.0' in told
    assert 'endpoint="/metrics"} 1.0' in told


def test_histories_that_nobody_goes_on_with_are_removed(tmp_path: Path) -> None:
    for name, age_s in (("old", GATHER_S + 60), ("young", 60)):
        file = tmp_path / f"drift_iris_{name}_9.totals"
        file.touch()
        os.utime(file, (file.stat().st_mtime - age_s,) * 2)
    gather(tmp_path, SERVED)
    assert files(tmp_path) == {"drift_iris_young_9.totals"}


def test_without_room_all_stays_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    count(tmp_path, NOBODY, "v1")
    before = exposition()

    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", no_room)
    with pytest.raises(OSError, match="No space"):
        gather(tmp_path, SERVED)
    assert exposition() == before
