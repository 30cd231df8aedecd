"""Who may import whom, read from the syntax trees: the layers that docs/architecture.md draws."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# From the bottom to the top: a room imports what lies below it, never what lies beside or above.
LAYERS = (
    {"console", "problems", "settings", "model.description"},
    {"model.values", "dialects.ours", "telemetry"},
    {"model.rows", "metrics", "prediction.lanes", "model.compiled"},
    {
        "door.auth",
        "prediction.batching",
        "prediction.cache",
        "door.bodies",
        "model.estimator",
        "door.openapi",
        "door.pages",
        "prediction.log",
        "host.protocol",
        "door.quotas",
        "host.workers",
    },
    {"door.edge", "prediction.predictor", "model.store"},
    {"host.bento"},
    {"service", "auth"},
)

# Training stands beside serving, and leans on it.
TRAINING_USES = (
    LAYERS[0] | LAYERS[1] | {"model.rows", "model.compiled", "model.estimator", "model.store"}
)

# Who of serving may import a package that few may know; training may import any.
FOREIGN: dict[str, set[str]] = {
    "bentoml": {"service", "model.store", "host.bento"},
    "_bentoml_impl": {"host.bento"},
    "_bentoml_sdk": set(),
    "prometheus_client": {"metrics"},
    "structlog": {"telemetry"},
    "circus": {"host.workers"},
    "limits": {"settings", "door.quotas"},
    "redis": {"door.quotas"},
    "cachetools": {"prediction.cache"},
    "sklearn": {"model.estimator"},
    "onnxruntime": {"model.compiled"},
    "onnx": set(),
    "skl2onnx": set(),
    "pandas": {"model.estimator"},
    "matplotlib": set(),
    "skops": set(),
}


def found(folder: str) -> dict[str, Path]:
    """Give the rooms of a folder by their names in it; what only holds others is none."""
    files = [file for file in (ROOT / folder).rglob("*.py") if file.stem != "__init__"]
    return {".".join(f.relative_to(ROOT / folder).with_suffix("").parts): f for f in files}


FILES = found("serving")
FILES |= {f"training.{name}": file for name, file in found("training").items()}
FILES |= {name: ROOT / f"{name}.py" for name in ("service", "train")}
TRAINS = {name for name in FILES if name == "train" or name.startswith("training.")}
WINGS = {"serving", "training"} | {
    str(path.parent.relative_to(ROOT)).replace("/", ".") for path in FILES.values()
}
TREES = {name: ast.parse(file.read_text()) for name, file in FILES.items()}
LEVEL = {name: level for level, layer in enumerate(LAYERS) for name in layer}


def imported(name: str) -> set[str]:
    """Give the modules that a module imports, wherever in it."""
    modules: set[str] = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            assert node.module is not None
            if node.module in WINGS:
                modules |= {f"{node.module}.{alias.name}" for alias in node.names}
            else:
                modules.add(node.module)
    return modules


def rooms(name: str) -> set[str]:
    """Give the rooms that a module imports."""
    modules = imported(name)
    serving = {
        module.removeprefix("serving.") for module in modules if module.startswith("serving.")
    }
    return serving | (modules & {"service", *TRAINS})


def test_every_room_has_its_layer() -> None:
    assert set(FILES) - TRAINS == set(LEVEL)


@pytest.mark.parametrize("name", sorted(LEVEL))
def test_a_room_imports_only_what_lies_below_it(name: str) -> None:
    for other in rooms(name):
        assert other in LEVEL, f"{name} imports {other}, which belongs to training"
        assert LEVEL[other] <= LEVEL[name], f"{name} imports {other}, which lies above it"
        assert LEVEL[other] < LEVEL[name], f"{name} imports {other}, its sibling"


@pytest.mark.parametrize("name", sorted(LAYERS[0]))
def test_a_room_at_the_bottom_imports_no_other(name: str) -> None:
    assert rooms(name) == set()


@pytest.mark.parametrize("name", sorted(TRAINS))
def test_training_uses_of_serving_only_what_it_needs(name: str) -> None:
    assert rooms(name) - TRAINS <= TRAINING_USES


def test_nobody_imports_the_top() -> None:
    for name in FILES:
        assert not rooms(name) & {"service", "train"}


@pytest.mark.parametrize("package", FOREIGN)
def test_a_foreign_package_is_known_to_few(package: str) -> None:
    users = {
        name for name in FILES if package in {module.partition(".")[0] for module in imported(name)}
    }
    assert users - TRAINS == FOREIGN[package]


def test_training_goes_to_the_store_of_bentoml_through_serving_alone() -> None:
    for name in TRAINS:
        packages = {module.partition(".")[0] for module in imported(name)}
        assert not packages & {"bentoml", "_bentoml_impl", "_bentoml_sdk"}


def test_serving_imports_pandas_only_when_a_model_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = ast.Import | ast.ImportFrom
    body: list[ast.stmt] = [
        node for node in TREES["model.estimator"].body if isinstance(node, kinds)
    ]
    monkeypatch.setitem(TREES, "model.estimator", ast.Module(body, []))
    assert "numpy" in imported("model.estimator")
    assert "pandas" not in {module.partition(".")[0] for module in imported("model.estimator")}


def test_only_the_settings_know_the_environment() -> None:
    users = {
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "putenv"})
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "os"
            and {alias.name for alias in node.names} & {"environ", "getenv", "putenv"}
        )
    }
    assert users == {"settings"}


def test_the_rules_would_notice_a_room_that_breaks_them(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = "def f():\n    from serving.door import edge"
    monkeypatch.setitem(TREES, "door.bodies", ast.parse(edge))
    with pytest.raises(
        AssertionError, match=r"door\.bodies imports door\.edge, which lies above it"
    ):
        test_a_room_imports_only_what_lies_below_it("door.bodies")
    monkeypatch.setitem(TREES, "door.bodies", ast.parse("import serving.model.estimator"))
    with pytest.raises(AssertionError, match=r"door\.bodies imports model\.estimator, its sibling"):
        test_a_room_imports_only_what_lies_below_it("door.bodies")
    monkeypatch.setitem(TREES, "door.bodies", ast.parse("from training.table.table import Table"))
    with pytest.raises(
        AssertionError,
        match=r"door\.bodies imports training\.table\.table, which belongs to training",
    ):
        test_a_room_imports_only_what_lies_below_it("door.bodies")
    monkeypatch.setitem(TREES, "training.card.card", ast.parse("from serving.door import edge"))
    with pytest.raises(AssertionError, match=r"door\.edge"):
        test_training_uses_of_serving_only_what_it_needs("training.card.card")
    monkeypatch.setitem(TREES, "door.bodies", ast.parse("def f():\n    import pandas.api"))
    with pytest.raises(AssertionError, match=r"door\.bodies"):
        test_a_foreign_package_is_known_to_few("pandas")
