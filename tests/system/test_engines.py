"""Ray on two nodes and Spark give the very rows that one machine gives.

Needs the environments of the engines, which ``make test-system`` makes, and Java.
"""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.adopted import known_penguins
from tests.examples import example
from tests.server import BIN, ROOT, environment, run_python

ENVIRONMENTS = BIN.parent / "engines"
FILES, ROWS = 4, 30_000  # of some megabytes, so that each engine has several parts to give out
SPARK = ("spark-submit", "--master", "local[2]", "--conf", "spark.ui.enabled=false")
PROGRAMS = {
    "ray": ("python", "-m", "tests.system.engines.two_nodes", "examples/score_ray.py"),
    "spark": (*SPARK, "examples/score_spark.py"),
}


def table(number: int) -> pa.Table:
    """Make a file's rows: penguins anew, some of whose values the model does not take."""
    drawn = np.random.default_rng(number)
    frame = known_penguins().drop(columns="species")
    frame = frame.iloc[drawn.integers(0, len(frame), ROWS)]
    mass = frame["body_mass_g"].to_numpy() + drawn.normal(0, 500, ROWS)
    mass[drawn.random(ROWS) < 0.01] = np.inf
    frame = frame.assign(body_mass_g=mass, id=np.arange(ROWS) + number * ROWS)
    return pa.Table.from_pandas(frame, preserve_index=False)


def rows(scored: pa.Table) -> pa.Table:
    """Give the rows in an order that is the same wherever they were computed."""
    return scored.sort_by("id").combine_chunks()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder that all nodes see, with a model and a table in several files."""
    folder = example("penguins", tmp_path_factory.mktemp("engines"))
    exported = "import bentoml, sys; bentoml.models.export_model('penguins:latest', sys.argv[1])"
    run_python(folder, "-c", exported, str(folder / "penguins.bentomodel"))
    (folder / "table").mkdir()
    for number in range(FILES):
        pq.write_table(table(number), folder / "table" / f"{number}.parquet")
    files = ("--data", str(folder / "table"), "--out", str(folder / "expected.parquet"))
    model = ("--model", str(folder / "penguins.bentomodel"))
    run_python(folder, "score.py", *model, *files, "--errors", "null")
    return folder


@pytest.mark.parametrize("engine", PROGRAMS)
def test_an_engine_gives_the_rows_that_one_machine_gives(engine: str, shared: Path) -> None:
    model, target = shared / "penguins.bentomodel", shared / f"by-{engine}"
    path = os.pathsep.join([str(ENVIRONMENTS / engine / "bin"), os.environ["PATH"]])
    own = {
        "HOME": str(shared),  # where Ray keeps a token
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DATA_USE_DATASOURCE_V2": "0",  # a process for each file's footer, which takes long
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    program, *options = PROGRAMS[engine]
    command = [str(shutil.which(program, path=path)), *options]
    done = subprocess.run(
        [*command, str(model), str(shared / "table"), str(target)],
        cwd=ROOT,
        env=environment(shared / "no-store", own),
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert engine != "ray" or "nodes with actors: 2" in done.stdout, done.stdout
    expected = pq.read_table(shared / "expected.parquet")
    assert 0 < expected["error"].null_count < len(expected)
    assert rows(pq.read_table(target)).equals(rows(expected))
    assert not (shared / "no-store").exists()
