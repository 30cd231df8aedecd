"""A model of each other library, in one server: answers over the wire as in process."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.server import BATCH, run_python, serving
from tests.trained import copy_of
from tests.zoo import assert_alike

CLIENTS = 8
ALONE = 12


def adopt_all(home: Path) -> None:
    """Bring one of each, and keep what each says in process."""
    told = run_python(home, "-m", "tests.wire.family_models", str(home))
    (home / "told.json").write_text(told)


def test_each_familys_model_answers_alone_in_batches_and_among_others_as_in_process(
    tmp_path: Path,
) -> None:
    home = copy_of(adopt_all, "families", tmp_path)
    told = json.loads((home / "told.json").read_text())
    with serving(home, tmp_path / "output", SERVING_MODELS=",".join(told)) as server:

        def alone(asked: tuple[str, int]) -> None:
            name, at = asked
            row, wanted = told[name]["rows"][at], told[name]["answers"][at]
            path = f"/models/{name}/predict"
            answer = server.send(json.dumps({"data": row}), path).raise_for_status().json()
            assert_alike({member: answer[member] for member in wanted}, wanted)

        for name, each in told.items():
            batch = server.ask(each["rows"], f"/models/{name}{BATCH}").raise_for_status().json()
            for answer, wanted in zip(batch["predictions"], each["answers"], strict=True):
                assert_alike(answer, wanted)
        with ThreadPoolExecutor(CLIENTS) as clients:
            mixed = [(name, at) for at in range(ALONE) for name in told]
            assert len(list(clients.map(alone, mixed))) == ALONE * len(told)
