"""The reverse proxy of ``deploy/nginx.conf`` before a real server; Debian's package ``nginx``."""

import getpass
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.server import (
    PATIENCE_S,
    ROOT,
    ROW,
    Server,
    eventually,
    free_port,
    kill,
    serving,
)

CONFIGURATION = ROOT / "deploy" / "nginx.conf"
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
BODY = {"data": ROW}


def configuration(folder: Path, port: int, *upstreams: int) -> str:
    """Give the file with another port, other servers and a folder of its own to write to."""
    text = CONFIGURATION.read_text()
    servers = "\n".join(f"server 127.0.0.1:{upstream} max_fails=0;" for upstream in upstreams)
    for old, new in {
        "user www-data;": f"user {getpass.getuser()};",
        "/run/nginx.pid": f"{folder}/pid",
        "/var/lib/nginx/": f"{folder}/",
        "listen 80 default_server;": f"listen 127.0.0.1:{port} default_server;",
        "server 127.0.0.1:8000 max_fails=0;": servers,
    }.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def behind(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve, with the proxy's address trusted."""
    output = tmp_path_factory.mktemp("behind") / "output"
    with serving(home, output, SERVING_TRUSTED_PROXIES="127.0.0.1") as running:
        yield running


@pytest.fixture(scope="module")
def proxy(behind: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Run nginx before that server, and one that is not there: requests for it go to the other."""
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    file = folder / "nginx.conf"
    file.write_text(configuration(folder, port, free_port(), behind.port))
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [NGINX, "-c", str(file), "-g", "daemon off;"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S)
    try:

        def listens() -> bool:
            assert process.poll() is None, (folder / "output").read_text()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        eventually("nginx listens", listens)
        yield client
    finally:
        client.close()
        kill(process)


def assert_problem(answer: httpx.Response, status: int) -> dict[str, object]:
    """Check that a refusal of nginx's has the service's shape."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, object] = answer.json()
    assert list(body) == ["type", "title", "status", "detail", "request_id"]
    assert body["status"] == status
    assert body["request_id"] == answer.headers["x-request-id"]
    return body


def raw(proxy: httpx.Client) -> socket.socket:
    """Open a bare connection to nginx."""
    return socket.create_connection(("127.0.0.1", proxy.base_url.port or 80), timeout=PATIENCE_S)


def test_the_file_stands_as_it_is(tmp_path: Path) -> None:
    text = configuration(tmp_path, free_port(), 8000)
    (tmp_path / "nginx.conf").write_text(text)
    checked = subprocess.run(
        [NGINX, "-t", "-c", str(tmp_path / "nginx.conf")], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    assert "[warn]" not in checked.stderr


def test_predictions_pass_though_one_of_two_servers_is_not_there(proxy: httpx.Client) -> None:
    for _ in range(10):
        answer = proxy.post("/predict", json=BODY)
        assert answer.status_code == 200, answer.text
        assert answer.json()["prediction"] == "setosa"


def test_request_ids_pass(proxy: httpx.Client, behind: Server) -> None:
    answer = proxy.post("/predict", json=BODY, headers={"X-Request-ID": "through-nginx"})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "through-nginx"
    assert behind.log_of("through-nginx")["status"] == 200
    answer = proxy.post("/predict", json=BODY, headers={"X-Request-ID": 'no "sane" one'})
    assert behind.log_of(answer.headers["x-request-id"])["status"] == 200


def test_the_service_logs_the_clients_address_and_not_a_forged_one(
    proxy: httpx.Client, behind: Server
) -> None:
    # From another loopback address, or the client's would be that of the proxy.
    port = proxy.base_url.port
    transport = httpx.HTTPTransport(local_address="127.0.0.2")
    with httpx.Client(transport=transport, base_url=f"http://127.0.0.1:{port}") as client:
        plain = client.post("/predict", json=BODY)
        forged = client.post("/predict", json=BODY, headers={"X-Forwarded-For": "203.0.113.9"})
    for answer in (plain, forged):
        assert behind.log_of(answer.headers["x-request-id"])["client"] == "127.0.0.2"


def test_the_services_own_problems_pass_as_they_are(proxy: httpx.Client) -> None:
    body = assert_problem(proxy.get("/nothing"), 404)
    assert body["type"] == "./errors/not-found"
    wrong = proxy.post("/predict", json={"data": [1]})
    assert (wrong.status_code, wrong.json()["type"]) == (422, "./errors/invalid-input")
    assert wrong.json()["errors"]


def test_large_answers_are_compressed_for_who_asks(proxy: httpx.Client) -> None:
    body = {"data": [ROW] * 1000}
    plain = proxy.post("/predict/batch", json=body, headers={"Accept-Encoding": "identity"})
    packed = proxy.post("/predict/batch", json=body, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.json()["predictions"] == plain.json()["predictions"]
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"


def test_metrics_are_not_shown_outside(proxy: httpx.Client) -> None:
    assert_problem(proxy.get("/metrics"), 404)
    assert_problem(proxy.get("/nginx-problem"), 404)


def test_large_heads_are_refused(proxy: httpx.Client) -> None:
    body = assert_problem(proxy.get("/health", headers={"X-Large": "x" * 9000}), 431)
    assert "headers" in str(body["detail"])
    many = {f"X-Many-{number}": "x" * 2000 for number in range(30)}
    assert_problem(proxy.get("/health", headers=many), 431)
    assert_problem(proxy.get("/" + "x" * 9000), 414)


def test_large_bodies_are_refused(proxy: httpx.Client) -> None:
    body = assert_problem(proxy.post("/predict", content=b" " * 1_048_577), 413)
    assert body["type"] == "/errors/body-too-large"


def test_what_is_no_http_is_refused_in_the_same_shape(proxy: httpx.Client) -> None:
    with raw(proxy) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")  # no Host
        head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in head
    assert b'"status":400' in body


def test_a_slow_head_is_cut_off_while_others_are_served(proxy: httpx.Client) -> None:
    with raw(proxy) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n")
        assert proxy.get("/health").status_code == 200
        try:
            rest = connection.recv(1000)
        except ConnectionResetError:
            rest = b""
        assert rest == b""  # closed by nginx; the socket's own patience is longer


def test_a_service_that_is_not_there_is_told_in_the_same_shape(
    tmp_path: Path, proxy: httpx.Client
) -> None:
    port = free_port()
    (tmp_path / "nginx.conf").write_text(configuration(tmp_path, port, free_port()))
    process = subprocess.Popen(
        [NGINX, "-c", str(tmp_path / "nginx.conf"), "-g", "daemon off;"],
        stderr=subprocess.DEVNULL,
    )
    try:

        def answers() -> list[httpx.Response]:
            try:
                return [httpx.post(f"http://127.0.0.1:{port}/predict", json=BODY)]
            except httpx.TransportError:
                return []

        (answer,) = eventually("an answer", answers)
        assert_problem(answer, 502)
        assert answer.headers["retry-after"] == "1"
    finally:
        kill(process)


def test_one_address_cannot_take_all_connections(proxy: httpx.Client) -> None:
    # Connections count once their head has been read, so each holds back its body; nginx waits 5 s
    # for that, so on a slow machine they may be gone too early: then once more.
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n"
    head += b"Content-Type: application/json\r\n\r\n"

    def refusals() -> list[httpx.Response]:
        with ExitStack() as stack:
            for _ in range(110):
                stack.enter_context(raw(proxy)).sendall(head)
            answer = proxy.get("/health")
            return [answer] if answer.status_code == 503 else []

    (refusal,) = eventually("a refusal", refusals)
    assert assert_problem(refusal, 503)["type"] == "/errors/overloaded"
    assert refusal.headers["retry-after"] == "1"
    eventually("room again", lambda: proxy.get("/health").status_code == 200)
