"""A bento, which `bentoml build` makes of the service and its model."""

import subprocess
from pathlib import Path

from tests.server import BATCH, BIN, ROOT, ROW, environment, serving

OTHER_ROW = [6.3, 3.3, 6.0, 2.5]


def test_a_bento_serves_the_model_that_was_packed_into_it(home: Path, tmp_path: Path) -> None:
    own = tmp_path / "home"
    own.mkdir()
    (own / "models").symlink_to(home / "models")
    packed = environment(own, {"SERVING_MODEL": "numbered"})
    subprocess.run([BIN / "bentoml", "build", ROOT], env=packed, check=True, capture_output=True)
    (bento,) = (own / "bentos" / "model_api").glob("*/bento.yaml")
    with serving(own, tmp_path / "output", bento.parent) as server:
        info = server.http.get("/model/info").json()
        assert (info["name"], info["classes"]) == ("numbered", [0, 1, 2])
        # Labels that are numbers stay numbers, and no probabilities are made up.
        one = server.ask(ROW).json()
        many = server.ask([ROW, OTHER_ROW], BATCH).json()["predictions"]
        assert list(one) == ["prediction", "scores", "model", "request_id"]
        assert (type(one["prediction"]), one["prediction"]) == (int, 0)
        assert [answer["prediction"] for answer in many] == [0, 2]
        for answer in (one, *many):
            assert list(answer["scores"]) == ["0", "1", "2"]
            assert max(answer["scores"], key=answer["scores"].get) == str(answer["prediction"])
        assert server.metric("serving_predictions_total", **{"class": "2"}) == 1
    with serving(own, tmp_path / "named", bento.parent, SERVING_MODEL="iris") as server:
        assert server.http.get("/model/info").json()["name"] == "iris"


def test_a_bento_serves_all_models_that_were_packed_into_it_in_their_order(
    home: Path, tmp_path: Path
) -> None:
    own = tmp_path / "home"
    own.mkdir()
    (own / "models").symlink_to(home / "models")
    packed = environment(own, {"SERVING_MODELS": "numbered,iris"})
    subprocess.run([BIN / "bentoml", "build", ROOT], env=packed, check=True, capture_output=True)
    (bento,) = (own / "bentos" / "model_api").glob("*/bento.yaml")
    with serving(own, tmp_path / "output", bento.parent) as server:
        names = [each["name"] for each in server.http.get("/models").json()["models"]]
        assert names == ["numbered", "iris"]
        answers = [server.ask(ROW, f"/models/{name}/predict").json() for name in names]
        assert [answer["prediction"] for answer in answers] == [0, "setosa"]
        assert server.ask(ROW).json()["model"]["name"] == "numbered"
