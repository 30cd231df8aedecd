"""Tests over the wire, against a real ``bentoml serve``."""
