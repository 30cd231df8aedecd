"""A bento, which `bentoml build` makes of the service and its model."""

import subprocess
from pathlib import Path

from tests.server import BIN, ROOT, environment, serving


def test_a_bento_serves_the_model_that_was_packed_into_it(home: Path, tmp_path: Path) -> None:
    own = tmp_path / "home"
    own.mkdir()
    (own / "models").symlink_to(home / "models")
    packed = environment(own, {"SERVING_MODEL": "numbered"})
    subprocess.run([BIN / "bentoml", "build", ROOT], env=packed, check=True, capture_output=True)
    (bento,) = (own / "bentos" / "model_api").glob("*/bento.yaml")
    with serving(own, tmp_path / "output", bento.parent) as server:
        assert server.http.get("/model/info").json()["name"] == "numbered"
    with serving(own, tmp_path / "named", bento.parent, SERVING_MODEL="iris") as server:
        assert server.http.get("/model/info").json()["name"] == "iris"
