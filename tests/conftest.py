"""The order in which files of tests begin, where several processes run them."""

from pathlib import Path

import pytest

# Those that take longest begin first: one that is the last to begin leaves other cores idle. At the
# very first, some that train models of their own: others wait for the one that all share.
FIRST = (
    "wire/test_families",
    "wire/test_broken",
    "wire/test_examples",
    "wire/test_scoring",
    "wire/test_workers",
    "wire/test_switch",
    "wire/test_versions",
    "wire/test_drift",
    "wire/test_fitted",
    "wire/test_travelling",
    "wire/test_start",
    "wire/test_fidelity",
    "wire/test_every_kind",
    "wire/test_models",
    "system/test_engines",
    "system/clients/test_clients",
    "system/test_writers",
    "system/test_monitoring",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let those begin first."""
    places = {Path(__file__).parent / f"{name}.py": place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(FIRST)))
