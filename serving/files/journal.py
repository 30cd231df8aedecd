"""What a run has done, beside what it writes: a line of JSON for each part, after who it is.

The file is locked while a run lives, so that no other writes to the same place.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from serving.files.partials import locked, write_all

# The lines of another layout are not gone on with.
LAYOUT = 1


class Journal:
    """Lines of JSON in a file; what follows the last whole line is none."""

    def __init__(self, place: Path) -> None:
        """Open and lock it.

        Raises:
            OutputError: another run is at it.
        """
        self.place = place
        self._file = locked(place)

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Begin anew."""
        self.cut(0)
        self.append({"layout": LAYOUT, "identity": identity})

    def lines(self) -> list[tuple[Any, int]]:
        """Give lines, each with the place where it ends; none, if they are of another layout."""
        lines: list[tuple[Any, int]] = []
        end = 0
        for line in self.place.read_bytes().splitlines(keepends=True):
            end += len(line)
            try:
                read = orjson.loads(line)
            except orjson.JSONDecodeError:
                break
            if line.endswith(b"\n"):
                lines.append((read, end))
        return lines if lines and lines[0][0].get("layout") == LAYOUT else []

    def append(self, line: Mapping[str, Any]) -> None:
        """Write a line."""
        write_all(self._file, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def cut(self, size: int) -> None:
        """Cut off what follows."""
        os.truncate(self._file, size)
        os.lseek(self._file, size, os.SEEK_SET)

    def remove(self) -> None:
        """Leave nothing."""
        self.place.unlink(missing_ok=True)

    def close(self) -> None:
        """Close and unlock it."""
        os.close(self._file)


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Tell what of two runs is not the same."""
    now = orjson.loads(orjson.dumps(now))
    return [
        f"{name} was {_told(was.get(name))}, and is {_told(now.get(name))}"
        for name in dict.fromkeys([*was, *now])
        if was.get(name) != now.get(name)
    ]


def _told(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
