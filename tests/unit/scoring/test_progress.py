"""How far a run is, on a terminal and elsewhere."""

import io

from serving.scoring.progress import STILL_S, Progress


class Clock:
    """A clock that a test sets."""

    now_s = 100.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now_s


def test_rows_their_rate_and_a_standstill_are_told() -> None:
    clock = Clock()
    progress = Progress("score.py", io.StringIO(), clock)
    clock.now_s += 2
    progress.advance(65_536)
    assert progress.told() == "65,536 rows, 32,768 rows a second"
    clock.now_s += 2
    progress.advance(65_536, share=0.5)
    assert progress.told() == "50 %, 131,072 rows, 32,768 rows a second"
    assert progress.bar() == f"\r[{'#' * 15}{'.' * 15}] {progress.told()}\x1b[K"
    clock.now_s += STILL_S
    assert "nothing for 60 s: Ctrl-C ends it, and keeps what is done" in progress.told()


def test_who_has_stopped_reading_ends_no_run() -> None:
    stream = io.StringIO()
    with Progress("score.py", stream) as progress:
        stream.close()
        progress.advance(1)
