"""Gathering: what workers that are no more have counted is kept in one file.

A server that switches versions each day would otherwise fill the memory with files, and take ever
longer to tell. The supervisor gathers now and then. What was counted of a version that nobody
serves any more goes at the next gathering but one, when Prometheus has long seen it.
"""

import json
import os
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from prometheus_client.mmap_dict import MmapedDict

from serving.exposition import is_dead, locked

GATHER_S = 3600.0
GATHERED = "gathered"  # stands in the files' names where others have the process
_KINDS = ("counter", "histogram")
_HISTORIES = "*.totals"

Served: TypeAlias = Collection[tuple[str, str]]  # names and versions


def gather(folder: Path, served: Served) -> None:
    """Gather what dead workers have counted; nobody reads the files meanwhile.

    Raises:
        OSError: there is no room; then all is as it was.
    """
    with locked(folder, alone=True):
        for kind in _KINDS:
            gathered = folder / f"{kind}_{GATHERED}.db"
            dead = [file for file in folder.glob(f"{kind}_[0-9]*.db") if is_dead(file)]
            if dead:
                values = dict(_read(gathered, served))
                for file in dead:
                    for key, value in _read(file):
                        values[key] = values.get(key, 0.0) + value
                _write(gathered, values)
                for file in dead:
                    file.unlink()
    for history in folder.glob(_HISTORIES):
        with suppress(OSError):
            if time.time() - history.stat().st_mtime > GATHER_S:  # who serves it notes each minute
                history.unlink()


def _read(file: Path, served: Served | None = None) -> Iterator[tuple[str, float]]:
    """Give the series of a file: all, or those of no version or one that is served."""
    if not file.exists() or not file.stat().st_size:
        return
    for key, value, _, _ in MmapedDict.read_all_values_from_file(str(file)):  # type: ignore[no-untyped-call]
        labels = json.loads(key)[2]
        owner = labels.get("model_name", ""), labels.get("version", "")
        if served is None or not all(owner) or owner in served:
            yield key, value


def _write(file: Path, values: dict[str, float]) -> None:
    """Write a file of series, whole or not at all."""
    unfinished = file.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    # Memory that can't be had when it is written to would end this process: take all of it first.
    size = 8 + sum(len(key.encode()) + 32 for key in values)
    with unfinished.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, size)
    written = MmapedDict(str(unfinished))  # type: ignore[no-untyped-call]
    try:
        for key, value in values.items():
            written.write_value(key, value, 0.0)  # type: ignore[no-untyped-call]
    finally:
        written.close()  # type: ignore[no-untyped-call]
    unfinished.replace(file)
