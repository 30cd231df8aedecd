"""Vertex AI names the paths, at which KServe's V1 protocol is spoken."""

import json

import pytest

from serving.dialects.vertex import dialect
from serving.settings import Settings
from tests.unit.dialects.foreign import ABOUT, NAMED, ROW, ROWS, answered, places, refusal, sent


def test_without_paths_nothing_is_spoken() -> None:
    spoken = dialect(Settings())
    assert (dict(spoken.conversations), list(spoken.tells)) == ({}, [])


def test_at_its_paths_instances_are_predicted_and_the_model_is_ready() -> None:
    spoken = dialect(Settings(aip_predict_route="/predict", aip_health_route="/health"))
    ((path, predict),) = spoken.conversations.items()
    (health,) = spoken.tells
    request = predict.read(sent({"instances": [ROW, NAMED]}), ABOUT, ROWS)
    assert path == "/predict"
    assert json.loads(answered(request, "one label").body) == {"predictions": ["ham", "spam"]}
    assert (health.path, health.is_open, health.ready) == ("/health", True, True)
    assert health.tell([ABOUT]) == {"name": "mail", "ready": True}


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/predict", "application/problem+json"),
        ("/v10/predict", "application/problem+json"),
        ("/v1", "application/json"),
        ("/v1/endpoints/7/deployedModels/8:predict", "application/json"),
        ("/v2/models/mail", "application/json"),
    ],
)
def test_what_is_refused_is_worded_as_all_is_where_the_path_lies(
    path: str, media_type: str
) -> None:
    spoken = dialect(Settings(aip_predict_route=path, aip_health_route=path))
    predict, (health,) = spoken.conversations[path], spoken.tells
    problem = refusal(predict, sent({"instances": [["x", 2.0]]}))
    assert places(problem) == ["/instances/0/0"]
    for wording in (predict.wording, health.wording):
        assert wording.media_type == media_type
        assert "error" in json.loads(wording.body(problem, "id-1", path))
