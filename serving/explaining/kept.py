"""What training keeps for explanations: a file of arrays, and of what is told about them in JSON.

There is no Python in it that reading could run.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson

from serving.model.outputs import Array

_TOLD = "told"  # the name of the array that has the JSON


@dataclass(frozen=True, slots=True)
class Kept:
    """Arrays by name, and ``told``: what is no array, as JSON has it."""

    told: Mapping[str, Any]
    arrays: Mapping[str, Array] = field(default_factory=dict)

    def packed(self) -> bytes:
        """Give what a file of it has."""
        file = io.BytesIO()
        text = np.frombuffer(orjson.dumps(self.told), dtype=np.uint8)
        np.savez_compressed(file, **{_TOLD: text}, **self.arrays)  # type: ignore[arg-type]
        return file.getvalue()


def read(file: Path | IO[bytes]) -> Kept:
    """Read a file, or what a file of it would have.

    Raises:
        OSError: it can't be read.
        ValueError: it is none of these.
    """
    with np.load(file, allow_pickle=False) as found:
        arrays = dict(found)
    return Kept(orjson.loads(arrays.pop(_TOLD).tobytes()), arrays)
