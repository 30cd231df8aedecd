"""Damaged files are read, each in a process of its own: ``python -m tests.unit.files.fuzz``.

Prints how often what became of them, and ends with 1 if that is nothing that anybody could tell.
"""

import json
import os
import resource
import sys
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from serving.files.decoding import MEMORY_BYTES, read
from tests.unit.files.arrow_tables import Asking, damaged

_LONGEST_S = 60
TOLD, READ, CRASHED = "told", "read", "crashed"


def _outcome(path: Path, form: str) -> str:
    process = os.fork()
    if not process:
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (_LONGEST_S, _LONGEST_S))
        other = Asking(str(path), form)
        try:
            read(cast("Connection", other))
        finally:
            os._exit(0 if other.end.get("end") else 3 if other.end.get("error") else 4)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return {0: READ, 3: TOLD}.get(status, CRASHED)


def main(seed: int, count: int) -> int:
    """Read so many of them."""
    outcomes: Counter[str] = Counter()
    with TemporaryDirectory() as folder:
        for number, (form, data) in enumerate(damaged(seed, count)):
            path = Path(folder, f"t.{form}")
            path.write_bytes(data)
            outcome = _outcome(path, form)
            outcomes[outcome] += 1
            if outcome == CRASHED:
                print(f"number {number}, {form}", file=sys.stderr)
    print(json.dumps(outcomes))
    return int(CRASHED in outcomes)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
