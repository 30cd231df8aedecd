"""Estimators that behave badly on purpose; a server under test unpickles them."""

import json
import logging
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

FAILS_ABOVE = 100.0  # a first feature beyond this makes `Fragile` raise
REFUSES = 120.0  # a first feature of this value makes it refuse, as scikit-learn does
EXITS_AT = 150.0  # a first feature of this value makes it exit
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


class Unloadable(Wrapped):
    """Can be pickled, but not unpickled."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Fail as a pickle does whose code has changed."""
        raise AttributeError("its code has changed")
