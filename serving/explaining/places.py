"""The place of each value of a column that is no number: for what is kept of it in tables."""

from collections.abc import Sequence

from serving.model.features import Value


class Places:
    """Known values, each at its place; behind them any other value, and last a missing one."""

    def __init__(self, values: Sequence[Value]) -> None:
        """Take the values that are known, none of which is missing."""
        # In JSON 1 and true are not alike, in Python they are.
        self._places = {(type(value), value): place for place, value in enumerate(values)}
        self.other, self.missing = len(values), len(values) + 1

    def __len__(self) -> int:
        """Give the number of places."""
        return self.missing + 1

    def of(self, value: Value) -> int:
        """Give the place of a value."""
        if value is None:
            return self.missing
        return self._places.get((type(value), value), self.other)
