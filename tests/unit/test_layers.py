"""Who may import whom, read from the syntax trees: the ladder that docs/architecture.md draws."""

import ast
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# From the bottom to the top, wing by wing and room by room: a room imports what stands before it,
# but never a room of a sibling's.
GROUND = "console problems json_text thrift keys telemetry settings exposition gathering metrics"
WINGS = {
    "model": "domains features reading description outputs columns answers wrapped "
    "lightgbm_file onnx_session onnx_file shortcut scores about rows estimator compiled "
    "code stored facts store state named changes",
    "drift": "ranges bins watch comparison words report page",
    "explaining": "kept numbers places attribution linear conditions leaves coalitions explanation",
    "prediction": "lanes batching explaining cache sinks log history tally drift predictor loaded "
    "shelf frames findings waiting companion shadow",
    "files": "source fit formats inputs arrow texts footers written partials journal "
    "output batches decoding columnar delimiter transcoded records splitting head cells "
    "delimited ndjson opening",
    "dialects": "dialect manners schemas lines tables ndjson arrow_messages arrow_buffers "
    "arrow_columns arrow parquet_pages parquet formats ours tensors v2_outputs v2_rows v2 v1 "
    "arrays invocations_rows invocations vertex",
    "door": "auth windows quotas bodies negotiation routes openapi naming telling "
    "streamed explaining predicting pages trying models drift probes edge",
    "host": "process logs letters protocol wanted following life succession supervisor "
    "shadowed application bento",
    "outcomes": "reading versions joining report __main__",
    "shadowing": "comparison shadow __main__",
    "versions": "deciding servers listing comparing commands options __main__",
    "scoring": "quantiles tally progress summary parts workers run table",
}
SIBLINGS = {"prediction", "dialects"}
ORDER = (
    *GROUND.split(),
    *(f"{wing}.{room}" for wing in WINGS if wing != "scoring" for room in WINGS[wing].split()),
    "auth",  # `python -m serving.auth`
    "bulk",  # what engines call, and what scores a file
    *(f"scoring.{room}" for room in WINGS["scoring"].split()),
    "service",  # the composition root
)

# Which rooms of other wings a wing knows: what lengthens this is worth a thought.
KNOWN_BY = {
    "drift": "model.answers model.columns model.description model.domains model.features "
    "model.outputs",
    "explaining": "model.answers model.columns model.description model.features model.outputs",
    "prediction": "drift.comparison drift.report drift.watch explaining.attribution "
    "explaining.explanation explaining.kept model.about model.facts "
    "model.features model.outputs model.rows model.state model.store model.stored",
    "files": "model.columns model.description model.features model.outputs model.reading "
    "model.rows",
    "dialects": "model.about model.description model.domains model.features model.outputs "
    "model.rows",
    "door": "dialects.dialect drift.page drift.report model.about model.domains "
    "model.facts model.rows prediction.cache prediction.drift prediction.loaded "
    "prediction.predictor prediction.shelf",
    "host": "door.edge door.windows model.domains model.state model.store model.stored "
    "prediction.companion prediction.frames prediction.shadow prediction.shelf "
    "prediction.sinks",
    "outcomes": "model.description model.features model.outputs model.scores model.stored",
    "shadowing": "host.logs model.about model.changes model.description model.features "
    "model.outputs model.rows model.store model.stored prediction.frames "
    "prediction.predictor prediction.sinks",
    "versions": "host.letters host.wanted model.changes model.description model.scores "
    "model.state model.stored",
}

# Who of serving may import a package that few may know.
FOREIGN: dict[str, set[str]] = {
    "bentoml": {"host.bento", "model.named", "model.store", "model.stored", "service"},
    "_bentoml_impl": {"host.bento"},
    "_bentoml_sdk": set(),
    "prometheus_client": {"exposition", "gathering", "metrics"},
    "structlog": {"host.logs", "telemetry"},
    "circus": {"host.supervisor"},
    "uvicorn": {"host.protocol"},
    "redis": {"door.windows"},
    "cachetools": {"prediction.cache"},
    "jinja2": {"drift.page"},
    "sklearn": {
        "model.estimator",
        "model.lightgbm_file",
        "model.onnx_file",
        "model.scores",
        "model.wrapped",
    },
    "pandas": {"model.estimator"},
    "pyarrow": {
        "bulk",
        "dialects.parquet",
        "files.columnar",
        "files.arrow",
        "files.batches",
        "files.cells",
        "files.delimited",
        "files.ndjson",
        "files.decoding",
        "files.splitting",
        "files.texts",
        "files.written",
    },
    "onnxruntime": {"model.onnx_session"},
    "nanoarrow": {"dialects.arrow", "dialects.arrow_buffers"},
    "flatbuffers": {"dialects.arrow_buffers"},
    "limits": set(),
    "onnx": set(),
    "skl2onnx": set(),
    "matplotlib": set(),
    "skops": set(),
}


def _rooms() -> dict[str, Path]:
    files = (file for file in (ROOT / "serving").rglob("*.py") if file.stem != "__init__")
    named = {f.relative_to(ROOT / "serving").with_suffix(""): f for f in files}
    return {".".join(place.parts): file for place, file in named.items()} | {
        "service": ROOT / "service.py"
    }


TREES = {name: ast.parse(file.read_text("utf-8")) for name, file in _rooms().items()}


def imported(name: str, trees: Mapping[str, ast.Module] = TREES) -> set[str]:
    """Give the modules that a room imports, wherever in it."""
    modules: set[str] = set()
    for node in ast.walk(trees[name]):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            package = str(node.module)
            # A wing hands no names on: what is imported from one is a room.
            is_wing = package == "serving" or package.removeprefix("serving.") in WINGS
            names = {alias.name for alias in node.names} - {"__version__"}
            modules |= {f"{package}.{name}" for name in names} if is_wing else {package}
    return modules


def rooms(name: str, trees: Mapping[str, ast.Module] = TREES) -> set[str]:
    """Give the rooms that a room imports."""
    modules = imported(name, trees)
    return {m.removeprefix("serving.") for m in modules if m.startswith("serving.")} | (
        modules & {"service", "train"}
    )


def wing_of(name: str) -> str:
    """Give the wing of a room; none, on the ground floor and at the top."""
    return name.rpartition(".")[0]


def breaches(name: str, trees: Mapping[str, ast.Module] = TREES) -> list[str]:
    """Tell which imports of a room break the ladder."""
    told = []
    for other in sorted(rooms(name, trees)):
        if other not in ORDER:
            told.append(f"{name} imports {other}, which is no room of serving")
        elif ORDER.index(other) >= ORDER.index(name):
            told.append(f"{name} imports {other}, which stands above it")
        elif {wing_of(name), wing_of(other)} == SIBLINGS:
            told.append(f"{name} imports {other}, of a sibling")
    if any(module.partition(".")[0] == "training" for module in imported(name, trees)):
        told.append(f"{name} imports training")
    return told


def test_every_room_has_its_place() -> None:
    assert set(TREES) == set(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_a_room_imports_only_what_stands_below_it(name: str) -> None:
    assert breaches(name) == []


@pytest.mark.parametrize("wing", KNOWN_BY)
def test_a_wing_knows_few_rooms_of_others(wing: str) -> None:
    inside = [name for name in ORDER if wing_of(name) == wing]
    known = {other for name in inside for other in rooms(name)}
    assert {o for o in known if wing_of(o) not in {"", wing}} == set(KNOWN_BY[wing].split())


@pytest.mark.parametrize("package", FOREIGN)
def test_a_foreign_package_is_known_to_few(package: str) -> None:
    users = {name for name in TREES if package in {m.partition(".")[0] for m in imported(name)}}
    assert users == FOREIGN[package]


def test_what_bentoml_has_inside_is_known_to_one_room() -> None:
    inside = ("_bentoml_impl", "_bentoml_sdk", "bentoml._internal")
    users = [n for n in TREES for m in imported(n) if m.startswith(inside)]
    assert set(users) == {"host.bento"}
    assert len(users) <= 4


def test_pandas_is_imported_only_when_a_model_needs_it() -> None:
    at_import = ast.Module(
        [
            n
            for n in TREES["model.estimator"].body
            if not isinstance(n, ast.ClassDef | ast.FunctionDef)
        ],
        [],
    )
    modules = imported("model.estimator", {"model.estimator": at_import})
    assert "numpy" in modules
    assert not {"pandas", "sklearn"} & modules


def test_only_two_rooms_know_the_environment() -> None:
    names = {"environ", "getenv", "putenv"}
    users = {
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in names)
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "os"
            and {a.name for a in node.names} & names
        )
    }
    assert users == {"settings", "host.process"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def f():\n    from serving.door import edge", "door.edge, which stands above it"),
        ("import serving.host.life", "host.life, which stands above it"),
        ("from training.table.table import Table", "training"),
        ("from serving.nowhere import x", "nowhere, which is no room of serving"),
        ("from service import ModelApi", "service, which stands above it"),
    ],
)
def test_a_breach_would_be_noticed(text: str, told: str) -> None:
    trees = {**TREES, "door.bodies": ast.parse(text)}
    assert breaches("door.bodies", trees) == [f"door.bodies imports {told}"]


def test_a_sibling_would_be_noticed() -> None:
    trees = {**TREES, "dialects.ours": ast.parse("from serving.prediction.cache import Lookup")}
    assert breaches("dialects.ours", trees) == [
        "dialects.ours imports prediction.cache, of a sibling"
    ]
