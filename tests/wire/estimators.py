"""Estimators that behave badly on purpose; a server under test unpickles them."""

import json
import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

FAILS_ABOVE = 100.0  # a first feature beyond this makes `Fragile` raise
REFUSES = 120.0  # a first feature of this value makes it refuse, as scikit-learn does
EXITS_AT = 150.0  # a first feature of this value makes it exit
STUCK_AT = 5.5  # a first feature of this value makes `Stuck` hold the interpreter
QUITS_AT = 5.21  # a first feature of this value makes `Ruinous` end its process
HOARDS_AT = 5.22  # and of this one want more memory than there is
DISSENTS_ABOVE = 6.0  # a first feature beyond this makes `Dissenting` say something else
WARNS_BELOW = -100.0  # a first feature below this makes it warn
GATE = "TEST_GATE"  # names the folder by which a test and `Gated` talk
GATE_PATIENCE_S = 60.0


class Wrapped:
    """Answers as the estimator inside does."""

    def __init__(self, inner: Any) -> None:  # noqa: ANN401 (scikit-learn has no type for it)
        """Take a fitted classifier."""
        self.inner = inner
        self.classes_ = inner.classes_
        self.n_features_in_ = inner.n_features_in_

    def predict(self, rows: Array) -> Array:
        """Give the labels."""
        return np.asarray(self.inner.predict(rows))

    def predict_proba(self, rows: Array) -> Array:
        """Give the probabilities."""
        return np.asarray(self.inner.predict_proba(rows))


class Fragile(Wrapped):
    """Raises on some rows and warns on others, and tells their values, as estimators do."""

    def predict(self, rows: Array) -> Array:
        """Give the labels, or raise for all rows because of one."""
        print("asked about", len(rows), "rows")
        for value in rows[:, 0]:
            if value == EXITS_AT:
                sys.exit(f"can't go on with {value!r}")
            if value == REFUSES:
                raise ValueError(f"Input X contains {value!r}")
            if value > FAILS_ABOVE:
                raise RuntimeError(f"can't compute with {value!r}")
            if value < WARNS_BELOW:
                print("seen:", value)
                warnings.warn("a warning from elsewhere", RuntimeWarning, stacklevel=2)
                logging.getLogger("elsewhere").error("an error from elsewhere\nin two lines")
        return super().predict(rows)


class Gated(Wrapped):
    """Notes what it is asked, and answers when the gate is open."""

    def predict(self, rows: Array) -> Array:
        """Note the first feature of each row, wait, give the labels."""
        folder = Path(os.environ[GATE])
        with (folder / "seen").open("a") as seen:
            seen.write(json.dumps(rows[:, 0].tolist()) + "\n")
        end = time.monotonic() + GATE_PATIENCE_S
        while (folder / "closed").exists() and time.monotonic() < end:
            time.sleep(0.005)
        return super().predict(rows)


def _raise(answer: Array) -> Array:
    raise ValueError("-".join(["no", "such", "luck"]))  # as it does not stand in a stack trace


# What `Faulty` does to its answer for all rows because of one, by the first feature of that row:
# the index of the method, 0 for `predict`. The values are usual ones, which are nobody's mistake.
FAULTS: dict[str, tuple[float, int, Callable[[Array], Any]]] = {
    "raises": (5.01, 0, _raise),
    "exits": (5.02, 0, lambda _: sys.exit("-".join(["no", "more"]))),
    "gives nothing": (5.03, 0, lambda _: None),
    "gives too few": (5.04, 0, lambda answer: answer[1:]),
    "gives too many": (5.05, 0, lambda answer: np.append(answer, answer[:1])),
    "gives an unknown label": (5.06, 0, lambda answer: np.full(len(answer), "tulip")),
    "gives a missing label": (5.07, 0, lambda answer: np.full(len(answer), np.nan)),
    "raises of probabilities": (5.08, 1, _raise),
    "gives too few probabilities": (5.09, 1, lambda answer: answer[1:]),
    "gives a column too few": (5.11, 1, lambda answer: answer[:, 1:]),
    "gives a column too many": (5.12, 1, lambda answer: np.hstack([answer, answer[:, :1]])),
    "gives probabilities that are NaN": (5.13, 1, lambda answer: answer * np.nan),
    "gives infinite probabilities": (5.14, 1, lambda answer: answer * np.inf),
}


class Faulty(Gated):
    """Answers nonsense when it is asked about certain rows, and notes what it is asked."""

    def predict(self, rows: Array) -> Array:
        """Give the labels, or what it should not."""
        return self._spoilt(super().predict(rows), rows, 0)

    def predict_proba(self, rows: Array) -> Array:
        """Give the probabilities, or what it should not."""
        return self._spoilt(super().predict_proba(rows), rows, 1)

    def _spoilt(self, answer: Array, rows: Array, method: int) -> Array:
        for value, at, fault in FAULTS.values():
            if at == method and value in rows[:, 0]:
                answer = fault(answer)
        return answer


class Stuck(Gated):
    """Lets no other thread run, for one value: native code that holds the interpreter's lock."""

    def predict(self, rows: Array) -> Array:
        """Give the labels, or hold on."""
        if STUCK_AT in rows[:, 0]:
            re.match(r"(a+)+$", "a" * 40 + "b")  # tries some 2 ** 40 ways
        return super().predict(rows)


class Dissenting(Wrapped):
    """Says something else of some rows: the next class, with the same probabilities, moved."""

    def _moves(self, rows: Array) -> Array:
        return np.asarray(rows[:, 0] > DISSENTS_ABOVE)

    def predict(self, rows: Array) -> Array:
        """Give the labels, some of them moved."""
        labels = super().predict(rows)
        places = np.searchsorted(self.classes_, labels)
        moved = self.classes_[(places + 1) % len(self.classes_)]
        return np.where(self._moves(rows), moved, labels)

    def predict_proba(self, rows: Array) -> Array:
        """Give the probabilities, some of them moved."""
        probabilities = super().predict_proba(rows)
        moved = np.roll(probabilities, 1, axis=1)
        return np.where(self._moves(rows)[:, None], moved, probabilities)


class Ruinous(Gated):
    """Does to its process what a model may do, for certain values; or waits at the gate."""

    def predict(self, rows: Array) -> Array:
        """Give the labels, or take the process along."""
        if QUITS_AT in rows[:, 0]:
            os._exit(7)
        if HOARDS_AT in rows[:, 0]:
            bytearray(2**62)
        return super().predict(rows)


class Unloadable(Wrapped):
    """Can be pickled, but not unpickled."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Fail as a pickle does whose code has changed."""
        raise AttributeError("its code has changed")


class Exiting(Wrapped):
    """Ends the process that unpickles it, as native code does that crashes."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        """End at once."""
        os._exit(3)


class Other(Wrapped):
    """Answers otherwise: the classes in turn, whatever it is asked."""

    def predict(self, rows: Array) -> Array:
        """Give the label that follows the right one."""
        return self.classes_[self.predict_proba(rows).argmax(axis=1)]  # type: ignore[no-any-return]

    def predict_proba(self, rows: Array) -> Array:
        """Give the probabilities of its neighbour to each class."""
        return np.roll(super().predict_proba(rows), 1, axis=1)
