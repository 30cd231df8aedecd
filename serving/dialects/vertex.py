"""Vertex AI's custom containers: KServe's V1 protocol, at the paths that the platform names."""

from serving.dialects.dialect import Dialect
from serving.dialects.manners import JSON_WORDING, wording
from serving.dialects.v1 import conversation, model_telling
from serving.problems import Wording
from serving.settings import Settings

_JSON_SEGMENTS = {"v1", "v2"}  # below which others' clients read what is refused as JSON
_WORDING = wording("VertexProblem")


def dialect(settings: Settings) -> Dialect:
    """Give what is spoken: nothing, where the platform names no path."""
    predict, health = settings.aip_predict_route, settings.aip_health_route
    asks = {predict: conversation(_wording_at(predict), "vertexPredict")} if predict else {}
    tells = [model_telling(health, "vertexHealth", _wording_at(health))] if health else []
    return Dialect(asks, tells)


def _wording_at(path: str) -> Wording:
    return JSON_WORDING if path.split("/")[1] in _JSON_SEGMENTS else _WORDING
