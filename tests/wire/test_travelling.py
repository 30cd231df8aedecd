"""Code that travels with a model, over the wire: no server has it from anywhere else."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from serving.model.state import ModelState, Shadow, State, write_state
from tests.server import Server, eventually, refused, run_python, serving
from tests.trained import copy_of
from tests.travelling import NAME, bring
from tests.wire.travelling_models import OTHER

GENTOO = ["Biscoe", 46.5, 13.5, 210, 4550]  # a large one, and with other signs a small one


class Store(NamedTuple):
    """A model store: of one model a version, and another with other code; and another model."""

    home: Path
    old: str
    new: str

    def want(self, revision: int, wanted: ModelState) -> None:
        """Decide what is to be served."""
        write_state(self.home / "serving.json", State(revision=revision, models={NAME: wanted}))


def make(home: Path) -> None:
    """Bring a model, and save two with changed code as if they had been brought too."""
    bring(home)
    old = (home / "models" / NAME / "latest").read_text("utf-8").strip()
    told = run_python(home, "-m", "tests.wire.travelling_models", old)
    (home / "versions.json").write_text(json.dumps([old, json.loads(told)[0]]), "utf-8")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Give the model store."""
    home = copy_of(make, "travelling", tmp_path_factory.mktemp("travelling"))
    return Store(home, *json.loads((home / "versions.json").read_text("utf-8")))


@pytest.fixture(scope="module")
def server(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve the first version."""
    settings = {"SERVING_MODEL": f"{NAME}:{store.old}", "SERVING_CACHE_TTL_S": "0"}
    with serving(store.home, tmp_path_factory.mktemp("server") / "output", **settings) as running:
        yield running


def answer(server: Server) -> tuple[str, str]:
    """Give what answers, and what it says of a penguin."""
    said = server.ask_apart(GENTOO).raise_for_status().json()
    return said["model"]["version"], said["prediction"]


def test_a_version_takes_the_place_of_one_with_other_code(server: Server, store: Store) -> None:
    assert answer(server) == (store.old, "Gentoo")
    store.want(1, ModelState(promoted=(store.old, store.new)))
    eventually("the new version", lambda: answer(server)[0] == store.new)
    assert answer(server)[1] != "Gentoo"
    store.want(2, ModelState(promoted=(store.old,)))
    eventually("the old version", lambda: answer(server) == (store.old, "Gentoo"))


def test_a_shadow_has_its_own_code(server: Server, store: Store) -> None:
    store.want(3, ModelState(promoted=(store.old,), shadow=Shadow(version=store.new, share=100)))
    eventually("a shadow", lambda: server.events("shadow.started"))
    assert answer(server) == (store.old, "Gentoo")
    eventually(
        "that it differs",
        lambda: server.metric("serving_shadow_rows_total", result="different") > 0,
    )
    store.want(4, ModelState(promoted=(store.old,)))


def test_two_models_share_the_same_code_and_other_code_of_its_name_is_refused(
    store: Store, tmp_path: Path
) -> None:
    told = "brings other code under the name my_steps than model"
    both = {"SERVING_MODELS": f"{NAME},{OTHER}"}
    store.want(5, ModelState(promoted=(store.old,)))
    refusal = refused(store.home, **both)
    assert refusal.exit_code != 0
    (complaint,) = refusal.complaints
    assert told in complaint
    store.want(6, ModelState(promoted=(store.new,)))
    with serving(store.home, tmp_path / "output", **both) as server:
        assert server.ask(GENTOO, f"/models/{OTHER}/predict").status_code == 200
        version, prediction = answer(server)
        assert (version, prediction) != (store.old, "Gentoo")
        store.want(7, ModelState(promoted=(store.new, store.old)))
        (refused_switch,) = eventually("a refusal", lambda: server.events("switch.refused"))
        assert told in refused_switch["reason"]
        assert answer(server) == (version, prediction)
