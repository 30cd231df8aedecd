"""Whether a library survives a file: it is read in a process of its own first.

Readers written in C++ may crash on a damaged file, or never come back, and would take training with
them. What they raise is for who reads it then; here it is seen that they come to an end at all.
"""

import subprocess
import sys
from pathlib import Path

from training.errors import TrainingError

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 300  # for a file that takes long because it is large


def survive(family: str, path: Path) -> None:
    """Have a file read, and asked for some rows, by `attempt` in a process of its own.

    Raises:
        TrainingError: the process crashed, or came to no end.
    """
    try:
        done = subprocess.run(  # noqa: S603 (our own module, in this Python)
            [sys.executable, "-m", "training.loading.attempt", family, path.absolute()],
            cwd=ROOT,
            capture_output=True,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise TrainingError(
            f"{path} can't be loaded: {family} has not read it in {TIMEOUT_S} s: it is damaged"
        ) from None
    if done.returncode:
        raise TrainingError(f"{path} can't be loaded: {family} crashes on it: it is damaged")
