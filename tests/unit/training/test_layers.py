"""Who may import whom in training, read from the syntax trees: its own ladder, below train.py."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

# From the bottom to the top, wing by wing and room by room: a room imports what stands before it.
GROUND = ("errors", "advice", "console")
WINGS = {
    "table": "columns names marks dates numerals cells records walk quotes header "
    "delimited files flaws faults tasks table",
    "fitting": "families classes estimators telling pipeline trial choice evaluation",
    "loading": "survival code pins pickles native onnx attempt folders signature mlflow bento "
    "labels fitted",
    "describing": "columns answers tellers told loaded packages dtypes evidence asking comparing "
    "forms intervals domain boundary scores batches probe features example describe reference "
    "around",
    "compiling": "company graph rounding tree trees floats preparation lightgbm xgboost boosters "
    "converters conversion hostile proof shortcut",
    "explaining": "built steps exchange images ensembles linear cuts conditions paths leaves "
    "background case proof explain",
    "card": "numbers drawing plots importance contributions findings card",
}
TOP = ("options", "expected", "publish", "learn", "sampled", "adopt", "train")
ORDER = (*GROUND, *(f"{wing}.{room}" for wing in WINGS for room in WINGS[wing].split()), *TOP)

# Which rooms of other wings a wing knows: what lengthens this is worth a thought.
KNOWN_BY = {
    "table": "",
    "fitting": "table.columns table.table",
    "loading": "fitting.families",
    "describing": "fitting.pipeline table.columns table.files table.table",
    "compiling": "describing.asking describing.batches describing.boundary describing.comparing "
    "describing.tellers fitting.pipeline",
    "explaining": "compiling.boosters compiling.graph compiling.hostile compiling.lightgbm "
    "compiling.preparation compiling.tree compiling.trees describing.asking table.columns",
    "card": "fitting.evaluation",
}

# What of serving is known beside models and the words for a terminal.
OF_SERVING = {
    "train": {"serving.host.process"},
    "table.delimited": {"serving.files.delimiter", "serving.files.source"},
    "table.header": {"serving.files.delimiter"},
    "card.contributions": {"serving.explaining.explanation", "serving.explaining.kept"},
    "describing.reference": {"serving.drift.bins", "serving.drift.watch"},
    "explaining.built": {"serving.explaining.kept"},
    "explaining.images": {"serving.explaining.places"},
    "explaining.linear": {
        "serving.explaining.kept",
        "serving.explaining.numbers",
        "serving.explaining.places",
    },
    "explaining.leaves": {
        "serving.explaining.conditions",
        "serving.explaining.kept",
        "serving.explaining.leaves",
    },
    "expected": {"serving.drift.comparison", "serving.drift.watch"},
    "explaining.case": {"serving.explaining.numbers"},
    "explaining.proof": {
        "serving.explaining.attribution",
        "serving.explaining.coalitions",
        "serving.explaining.explanation",
        "serving.explaining.kept",
    },
    "explaining.explain": {"serving.explaining.kept", "serving.explaining.numbers"},
    "publish": {"serving.settings"},
}

# Who of training may import a package that few may know.
FOREIGN: dict[str, set[str]] = {
    "argparse": {"train"},
    "bentoml": {"loading.bento"},
    "jinja2": {"card.card"},
    "joblib": {"loading.pickles", "describing.loaded"},
    "matplotlib": {"card.drawing", "card.plots", "card.card"},
    "onnxruntime": set(),
    "pyarrow": {"describing.dtypes"},
    "pydantic": {"describing.probe"},
    "skl2onnx": {"compiling.conversion", "compiling.converters"},
    "skops": {"loading.pickles"},
    "subprocess": {"describing.packages", "loading.survival"},
    "yaml": {"loading.folders"},
}


def _rooms() -> dict[str, ast.Module]:
    files = [file for file in (ROOT / "training").rglob("*.py") if file.stem != "__init__"]
    named = {".".join(f.relative_to(ROOT / "training").with_suffix("").parts): f for f in files}
    named["train"] = ROOT / "train.py"
    return {name: ast.parse(file.read_text("utf-8")) for name, file in named.items()}


TREES = _rooms()


def imported(tree: ast.Module) -> set[str]:
    """Give the modules that a room imports, wherever in it."""
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(str(node.module))
    return modules


def rooms(tree: ast.Module) -> set[str]:
    """Give the rooms of training that a room imports."""
    modules = imported(tree)
    return {m.removeprefix("training.") for m in modules if m.startswith("training")} | (
        modules & {"train"}
    )


def breaches(name: str, tree: ast.Module) -> list[str]:
    """Tell which imports of a room break the ladder."""
    told = []
    for other in sorted(rooms(tree)):
        if other not in ORDER:
            told.append(f"{name} imports {other}, which is no room of training")
        elif ORDER.index(other) >= ORDER.index(name):
            told.append(f"{name} imports {other}, which stands above it")
    allowed = OF_SERVING.get(name, set())
    for other in sorted(module for module in imported(tree) if module.startswith("serv")):
        if not other.startswith(("serving.model.", "serving.console")) and other not in allowed:
            told.append(f"{name} imports {other}")
    return told


def test_every_room_has_its_place() -> None:
    assert set(TREES) == set(ORDER)
    assert len(set(ORDER)) == len(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_a_room_imports_only_what_stands_below_it(name: str) -> None:
    assert breaches(name, TREES[name]) == []


@pytest.mark.parametrize("wing", WINGS)
def test_a_wing_knows_few_rooms_of_others(wing: str) -> None:
    inside = [name for name in ORDER if name.startswith(f"{wing}.")]
    known = {other for name in inside for other in rooms(TREES[name]) if "." in other}
    assert {other for other in known if not other.startswith(f"{wing}.")} == set(
        KNOWN_BY[wing].split()
    )


@pytest.mark.parametrize("package", FOREIGN)
def test_a_foreign_package_is_known_to_few(package: str) -> None:
    users = {n for n in ORDER if package in {m.partition(".")[0] for m in imported(TREES[n])}}
    assert users == FOREIGN[package]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("from training.compiling.proof import x", "compiling.proof, which stands above it"),
        ("def f():\n    import train", "train, which stands above it"),
        ("from training.nowhere import x", "nowhere, which is no room of training"),
        ("from training.table import table", "table, which is no room of training"),
        ("from serving.door.edge import Edge", "serving.door.edge"),
        ("import service", "service"),
    ],
)
def test_a_breach_would_be_noticed(text: str, told: str) -> None:
    assert breaches("fitting.pipeline", ast.parse(text)) == [f"fitting.pipeline imports {told}"]
