"""A table that is scored gets the answers of a server, all of it or none."""

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from signal import SIGKILL
from subprocess import Popen
from typing import Any

import psutil  # type: ignore[import-untyped]
import pyarrow.parquet as pq
import pytest

from serving.dialects.tables import named_cells
from serving.model.description import Description
from tests.examples import example
from tests.server import PATIENCE_S, Server, eventually, serving
from tests.trained import copy_of
from tests.wire import test_every_kind
from tests.wire.disks import make_room, small_disk
from tests.wire.scoring import Row, rows_for, score, started, write

ROWS, POSTED = 2_000, 500
SEVERAL = "RandomForestClassifier of several targets"
LARGE = 140_000  # rows of several parts


@pytest.fixture(scope="module")
def store(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a store with models of several kinds."""
    folder = tmp_path_factory.mktemp("scoring")
    zoo = copy_of(test_every_kind.fit, "zoo", folder)
    examples = [example(name, folder) for name in ("penguins", "diabetes")]
    for each in (home, zoo, *examples):
        shutil.copytree(each / "models", folder / "models", dirs_exist_ok=True, symlinks=True)
    several = json.loads((zoo / "told.json").read_text())[SEVERAL]["model"]
    (folder / "several").write_text(several)
    return folder


@pytest.fixture(scope="module")
def models(store: Path) -> dict[str, Description]:
    """Give their descriptions, by names."""
    names = ("iris", "lonely", "penguins", "diabetes", (store / "several").read_text())
    files = {name: next((store / "models" / name).glob("*/description.json")) for name in names}
    return {
        name: Description.model_validate_json(file.read_bytes()) for name, file in files.items()
    }


@pytest.fixture(scope="module")
def servers(store: Path, models: dict[str, Description]) -> Iterator[Server]:
    """Serve all of them."""
    with serving(store, store / "output", SERVING_MODELS=",".join(models)) as running:
        yield running


def answered(server: Server, name: str, description: Description, rows: list[Row]) -> list[Row]:
    """Give the cells that a server answers for rows, and what it tells of them."""
    lines = []
    for start in range(0, len(rows), POSTED):
        path = f"/models/{name}/predict/batch"
        answer = server.ask(rows[start : start + POSTED], path).raise_for_status().json()
        warned: dict[int, list[str]] = {}
        for warning in answer.get("warnings", ()):
            _, _, at, column = warning["pointer"].split("/")
            told = f"{description.features[int(column)].name}: {warning['detail']}"
            warned.setdefault(int(at), []).append(told)
        for at, document in enumerate(answer["predictions"]):
            cells = [cell for _, cell in named_cells(document, description.targets)]
            lines.append([*cells, "; ".join(warned.get(at, [])) or None, None])
    return lines


def test_all_labels_bits_and_warnings_are_those_of_a_server(
    servers: Server, store: Path, models: dict[str, Description], tmp_path: Path
) -> None:
    for name, description in models.items():
        rows = rows_for(description, ROWS, seed=3)
        table, out = write(tmp_path / f"{name}.parquet", description, rows), tmp_path / f"{name}.pq"
        page = tmp_path / f"{name}.html"
        options = ("--out", out, "--columns", "id", "--report", page)
        told = score(store, "--model", name, "--data", table, *options)
        answers = pq.read_table(out).to_pydict()
        assert answers.pop("id") == list(range(ROWS))
        wanted = answered(servers, name, description, rows)
        assert list(map(list, zip(*answers.values(), strict=True))) == wanted, name
        assert f"{ROWS:,} rows, {ROWS:,} answered" in told
        if description.reference:
            drift = eventually("all rows counted", partial(drift_of, servers, name, ROWS))
            assert f"drift: {drift['told']}" in told
            assert f"table {table.name}: {ROWS} rows</title>" in page.read_text("utf-8")


def drift_of(server: Server, name: str, rows: int) -> Any:  # noqa: ANN401 (JSON)
    """Give what a server tells of drift, once so many rows are counted."""
    drift = server.http.get(f"/models/{name}/drift").json()
    return drift if drift["rows"] == rows else None


def test_bad_rows_are_told_as_a_server_tells_them(
    servers: Server, store: Path, models: dict[str, Description], tmp_path: Path
) -> None:
    name, description = "penguins", models["penguins"]
    rows = rows_for(description, ROWS, seed=4)
    bad: dict[int, Row] = {}
    for at, feature in enumerate(description.features):
        of_type = 1e300 if feature.type in {"number", "integer"} else "x" * 20_000
        for place, wrong in enumerate((of_type, None)):
            if feature.mistake(wrong):
                row = list(rows[0])
                row[at] = wrong
                bad[at * 100 + place * 7] = row
    assert bad
    for place, row in bad.items():
        rows[place] = row
    table, out, apart = (tmp_path / each for each in ("table.parquet", "out.csv", "bad.ndjson"))
    write(table, description, rows)
    options = ("--model", name, "--data", table, "--out", out)
    told = score(store, *options, code=1)
    first = min(bad)
    assert f"row {first + 1:,}, column " in told
    assert "nothing is written" in told
    assert {file.name for file in tmp_path.iterdir()} == {table.name}
    told = score(store, *options, "--errors", apart)
    assert f"{len(bad)} bad rows, left out of" in told
    wanted = []
    for place, row in sorted(bad.items()):
        errors = servers.ask([row], f"/models/{name}/predict/batch").json()["errors"]
        for error in errors:
            column = description.features[int(error["pointer"].split("/")[3])].name
            wanted.append({"row": place + 1, "pointer": f"/{column}", "detail": error["detail"]})
    assert [json.loads(line) for line in apart.read_text().splitlines()] == wanted
    assert len(out.read_text().splitlines()) == 1 + ROWS - len(bad)


@pytest.fixture(scope="module")
def large(models: dict[str, Description], store: Path) -> tuple[Path, bytes]:
    """Give a table of several parts, and what it is scored to by one process."""
    table, out = store / "large.parquet", store / "whole.parquet"
    write(table, models["iris"], rows_for(models["iris"], LARGE, seed=5))
    score(store, "--model", "iris", "--data", table, "--out", out)
    return table, out.read_bytes()


def test_a_run_that_is_killed_goes_on_to_the_same_bytes_with_workers_or_without(
    store: Path, large: tuple[Path, bytes], tmp_path: Path
) -> None:
    table, whole = large
    out, journal = tmp_path / "out.parquet", tmp_path / "out.parquet.progress"
    options = ("--model", "iris", "--data", table, "--out", out, "--resume")
    killed = 0
    while not out.exists():
        lines = len(journal.read_bytes().splitlines()) if journal.exists() else 1
        run = started(store, *options, *(["--workers", "2"] if killed % 2 else []))

        def went_on(run: Popen[str] = run, lines: int = lines) -> bool:
            is_more = journal.exists() and len(journal.read_bytes().splitlines()) > lines
            return is_more or run.poll() is not None

        eventually("another part", went_on)
        others = psutil.Process(run.pid).children(recursive=True) if run.poll() is None else []
        # What reads is killed first, as the system does where memory is short.
        (others[0] if others and not killed else run).kill()
        _, told = run.communicate()
        assert psutil.wait_procs(others, PATIENCE_S)[1] == []  # none goes on alone
        assert run.returncode in ({0, -SIGKILL} if killed else {1}), told
        assert killed or "--resume goes on with it" in told
        killed += 1
    assert killed > 1
    assert out.read_bytes() == whole
    assert {file.name for file in tmp_path.iterdir()} == {out.name}


def test_a_full_disk_is_told_and_nothing_is_lost(
    store: Path, large: tuple[Path, bytes], tmp_path: Path
) -> None:
    table, whole = large
    with small_disk(tmp_path, 2 * len(whole)) as disk:
        (disk / "filler").write_bytes(bytes(len(whole) * 3 // 2))
        options = ("--model", "iris", "--data", table, "--out", disk / "out.parquet")
        told = score(store, *options, code=1)
        assert "No space left on device" in told
        assert "--resume goes on" in told
        assert not (disk / "out.parquet").exists()
        make_room(disk)
        told = score(store, *options, "--resume", code=1, SERVING_DRIFT="false")
        assert "was begun otherwise: SERVING_DRIFT was True, and is False" in told
        score(store, *options, "--resume", "--workers", "2")
        assert (disk / "out.parquet").read_bytes() == whole
