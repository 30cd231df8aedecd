"""The service with a certificate of its own: what holds without TLS holds with it, too."""

import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.server import BIN, PATIENCE_S, ROOT, ROW, environment, eventually, free_port, kill

BODY = {"data": ROW}


def make_certificate(folder: Path) -> None:
    """Make a certificate for localhost that vouches for itself, in the place of an older one."""
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out certificate.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command.split(), *names], cwd=folder, check=True, capture_output=True)


@dataclass(frozen=True, slots=True)
class Served:
    """A server with TLS, and a client that knows its certificate."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int

    def client(self) -> httpx.Client:
        """Open a client that trusts the certificate as it is now."""
        context = ssl.create_default_context(cafile=self.folder / "certificate.pem")
        url = f"https://localhost:{self.port}"
        return httpx.Client(base_url=url, verify=context, timeout=PATIENCE_S)

    def answers(self) -> bool:
        """Tell whether a new client is answered."""
        try:
            with self.client() as client:
                return client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def serving_tls(home: Path, folder: Path) -> Iterator[Served]:
    """Serve as docs/operations.md tells, and wait until it answers."""
    make_certificate(folder)
    port = free_port()
    files = [f"--ssl-certfile={folder}/certificate.pem", f"--ssl-keyfile={folder}/key.pem"]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [BIN / "bentoml", "serve", "--port", str(port), *files],
            cwd=ROOT,
            env=environment(home, {"SERVING_REQUEST_TIMEOUT_S": "1"}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        served = Served(process, folder, port)
        eventually("an answer", served.answers)
        yield served
    finally:
        kill(process)


@pytest.fixture(scope="module")
def served(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve with TLS."""
    with serving_tls(home, tmp_path_factory.mktemp("tls")) as running:
        yield running


def test_predictions_are_answered_over_tls_on_a_connection_that_is_kept(served: Served) -> None:
    with served.client() as client:
        for _ in range(3):
            answer = client.post("/predict", json=BODY).raise_for_status()
            assert answer.json()["prediction"] == "setosa"
            assert "connection" not in answer.headers
        many = client.post("/predict/batch", json={"data": [ROW] * 1000}).raise_for_status()
        assert len(many.json()["predictions"]) == 1000


def test_limits_hold_over_tls(served: Served) -> None:
    with served.client() as client:
        assert client.get("/livez", headers={"X": "x" * 1_000_000}).status_code == 431
        json = {"Content-Type": "application/json"}
        assert client.post("/predict", content=b" " * 2_000_000, headers=json).status_code == 413


def test_a_certificate_is_read_anew_with_sighup(served: Served) -> None:
    make_certificate(served.folder)
    assert not served.answers()
    served.process.send_signal(signal.SIGHUP)
    output = served.folder / "output"  # until no worker has the old one
    eventually("that it is done", lambda: b'"event":"switch.done"' in output.read_bytes())
    assert served.answers()


def test_idle_connections_do_not_hold_up_the_end_of_a_server_with_tls(
    served: Served,
) -> None:
    with served.client() as client:  # the last test of this server
        assert client.post("/predict", json=BODY).status_code == 200
        served.process.terminate()
        assert served.process.wait(15) == 0  # a client that is idle does not read, either
