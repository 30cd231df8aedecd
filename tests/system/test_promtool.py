"""Prometheus's own tool reads the metrics; Debian's package ``prometheus`` has it."""

import subprocess

from tests.server import ROW, Server


def test_promtool_finds_nothing_wrong_with_the_metrics(server: Server) -> None:
    for data in (ROW, [True], [1e308] * 4):
        server.http.post("/predict", json={"data": data})
    server.http.post("/predict/batch", json={"data": [ROW, ROW]})
    server.http.get("/nothing")
    exposition = server.http.get("/metrics").content
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=exposition, capture_output=True
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
