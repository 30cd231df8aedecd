"""Keys over the wire: who needs one, how it is sent, and that it is never seen again."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving.door.auth import new_key
from tests.server import BATCH, ROOT, ROW, Server, environment, refused, run_python, serving
from tests.wire.problems import assert_plain_problem, assert_problem
from tests.wire.raw import POST, read_all

ORIGIN = "https://shop.example"
REALM = 'Bearer realm="model-api"'
OPEN = [
    *("/health", "/livez", "/readyz", "/healthz", "/errors/unauthorized", "/metrics"),
    *("/v2/health/live", "/v2/health/ready", "/v2/models/iris/ready"),
]
CLOSED = ["/", "/docs.json", "/schema.json", "/model/info", "/model/card", "/nowhere", "/predict"]
CLOSED_TO_KSERVE = [
    *("/v2", "/v2/", "/v2/models", "/v2/models/iris", "/v2/models/iris/infer", "/v2/nowhere"),
    *("/v2/repository/index", "/v2/repository/models/iris/load", "/v2/health/nothing"),
]

OLD, OLD_ENTRY = new_key("alice")
NEW, NEW_ENTRY = new_key("alice")
BOB, BOB_ENTRY = new_key("bob", "2/minute")
STRANGER, _ = new_key("stranger")


@pytest.fixture(scope="module")
def locked(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve with keys: one from the environment, two from a file."""
    folder = tmp_path_factory.mktemp("locked")
    file = folder / "keys"
    file.write_text(f"# while it is rotated\n{NEW_ENTRY}\n\n{BOB_ENTRY}  # a guest\n")
    settings = {"SERVING_API_KEYS": OLD_ENTRY, "SERVING_API_KEYS_FILE": str(file)}
    with serving(home, folder / "output", **settings) as running:
        yield running


@pytest.fixture(scope="module")
def strict(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve with a key that the command made, for metrics too, and for a page of another origin."""
    folder = tmp_path_factory.mktemp("strict")
    printed = run_python(home, "-m", "serving.door.auth", "carol", "1000/minute")
    key, entry = (line.strip() for line in printed.splitlines() if line.startswith("    "))
    (folder / "key").write_text(key)
    settings = {"SERVING_API_KEYS": entry, "SERVING_METRICS_NEED_KEY": "true"}
    with serving(home, folder / "output", SERVING_CORS_ORIGINS=ORIGIN, **settings) as running:
        yield running


def strict_key(server: Server) -> str:
    """Give the key that the command made."""
    return (server.output.parent / "key").read_text()


def bearer(key: str) -> dict[str, str]:
    """Give the header of RFC 6750."""
    return {"Authorization": f"Bearer {key}"}


def predict(server: Server, headers: dict[str, str]) -> httpx.Response:
    """Ask for a prediction."""
    return server.ask(ROW, headers=headers)


@pytest.mark.parametrize(
    "headers", [bearer(OLD), bearer(NEW), {"X-API-Key": OLD}], ids=["Bearer", "new", "X-API-Key"]
)
def test_with_a_key_predictions_are_answered_and_logged_by_its_name(
    locked: Server, headers: dict[str, str]
) -> None:
    for answer in (predict(locked, headers), locked.ask([ROW, ROW], BATCH, headers)):
        assert answer.status_code == 200
        assert locked.log_of(answer.headers["x-request-id"])["api_key"] == "alice"


@pytest.mark.parametrize(
    ("headers", "challenge"),
    [
        ({}, REALM),
        (bearer(STRANGER), f'{REALM}, error="invalid_token"'),
        ({"X-API-Key": OLD_ENTRY.partition(":")[2]}, f'{REALM}, error="invalid_token"'),
        ({"X-API-Key": OLD, **bearer(NEW)}, f'{REALM}, error="invalid_request"'),
    ],
    ids=["none", "unknown", "the digest", "two"],
)
def test_without_a_key_that_is_known_there_is_401_and_the_challenge(
    locked: Server, headers: dict[str, str], challenge: str
) -> None:
    answer = predict(locked, headers)
    body = assert_problem(locked, answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == challenge
    for key in (OLD, NEW, BOB, STRANGER):
        assert key not in str(body)
    line = locked.log_of(body["request_id"])
    assert (line["status"], line["problem"]) == (401, "unauthorized")
    assert "api_key" not in line


def test_bytes_that_are_no_text_are_refused_as_any_other_key(locked: Server) -> None:
    with locked.raw() as connection:
        connection.sendall(
            b"GET /model/info HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Authorization: Bearer \xff\xfe\xe4\r\n\r\n"
        )
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 401 ")


def test_probes_pages_of_problems_and_metrics_need_no_key_and_all_else_does(locked: Server) -> None:
    for path in OPEN:
        assert locked.http.get(path).status_code == 200
        assert locked.http.get(path, headers=bearer(STRANGER)).status_code == 200
    for path in CLOSED:  # also what is not there
        assert_problem(locked, locked.http.get(path), 401, "unauthorized")
        assert locked.http.get(path, headers=bearer(OLD)).status_code in {200, 404, 405}
    for path in CLOSED_TO_KSERVE:
        for method in ("GET", "POST"):
            assert_plain_problem(locked, locked.http.request(method, path), 401, "unauthorized")


def test_a_body_is_not_read_before_the_key_is_known(locked: Server) -> None:
    with locked.raw() as connection:
        connection.sendall(POST + b"Content-Length: 1000\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 401"


def test_a_key_has_its_own_quota(locked: Server) -> None:
    answers = [predict(locked, bearer(BOB)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["ratelimit-policy"] == '"key";q=2;w=60'
    assert answers[0].headers["ratelimit"].startswith('"key";r=1;t=')
    assert locked.metric("serving_limited_requests_total", api_key="bob") == 1
    for _ in range(5):  # nobody else has one here
        answer = predict(locked, bearer(OLD))
        assert answer.status_code == 200
        assert "ratelimit" not in answer.headers


def test_the_document_tells_of_keys_where_they_are_asked_for_and_nowhere_else(
    locked: Server, server: Server
) -> None:
    told = locked.http.get("/docs.json", headers=bearer(OLD)).json()
    assert set(told["components"]["securitySchemes"]) == {"bearer", "header"}
    assert "401" in told["paths"]["/predict"]["post"]["responses"]
    assert "401" not in told["paths"]["/metrics"]["get"]["responses"]
    assert "securitySchemes" not in server.http.get("/docs.json").json()["components"]


def test_metrics_need_a_key_where_that_is_set(strict: Server) -> None:
    carol = {"X-API-Key": strict_key(strict)}
    assert_problem(strict, strict.http.get("/metrics"), 401, "unauthorized")
    assert strict.http.get("/metrics", headers=carol).status_code == 200
    told = strict.http.get("/docs.json", headers=carol).json()
    assert "401" in told["paths"]["/metrics"]["get"]["responses"]
    assert strict.http.get("/readyz").status_code == 200
    assert strict.events("keys.none") == []


def test_without_keys_the_service_is_open_and_says_so(server: Server) -> None:
    assert predict(server, bearer(STRANGER)).status_code == 200
    assert len(server.events("keys.none")) == 1


def test_a_browser_is_told_which_headers_it_may_send_before_it_has_a_key(strict: Server) -> None:
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-api-key",
    }
    preflight = strict.http.options("/predict", headers=asked)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    refusal = predict(strict, {"Origin": ORIGIN})
    assert refusal.status_code == 401
    assert refusal.headers["access-control-allow-origin"] == ORIGIN


def test_the_key_that_the_command_prints_opens_the_service(strict: Server) -> None:
    answer = predict(strict, {"X-API-Key": strict_key(strict)})
    assert answer.status_code == 200
    assert answer.headers["ratelimit-policy"] == '"key";q=1000;w=60'


def test_make_key_prints_a_key(home: Path) -> None:
    plan = subprocess.run(
        ["make", "--no-print-directory", "-n", "key", "NAME=carol", "QUOTA=5/second"],
        cwd=ROOT,
        env=environment(home),
        capture_output=True,
        text=True,
    )
    assert plan.stdout.splitlines()[-1].endswith("python -m serving.door.auth carol 5/second")


def test_a_start_is_refused_without_repeating_a_key(home: Path) -> None:
    refusal = refused(home, SERVING_API_KEYS=f"alice:{OLD}")
    (complaint,) = refusal.complaints
    assert refusal.exit_code != 0
    assert complaint.startswith("SERVING_API_KEYS")
    assert OLD not in complaint


def test_no_key_is_ever_logged_counted_or_answered(locked: Server) -> None:
    seen = [locked.text(), locked.http.get("/metrics").text]
    for path in ("/docs.json", "/model/info", "/schema.json"):
        seen.append(locked.http.get(path, headers=bearer(OLD)).text)
    for answer in (predict(locked, bearer(OLD)), predict(locked, bearer(STRANGER))):
        seen += [answer.text, str(answer.headers)]
        locked.log_of(answer.headers["x-request-id"])
    seen.append(locked.text())
    for text in seen:
        for key in (OLD, NEW, BOB, STRANGER):
            assert key not in text
        for entry in (OLD_ENTRY, NEW_ENTRY, BOB_ENTRY):
            assert entry.split(":")[1] not in text
