"""``make audit`` tells vulnerable, sound and not audited apart; a service of our own answers it.

Needs pip-audit in its own environment, which ``make test-system`` makes.
"""

import json
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.server import BIN, ROOT, free_port

PYTHON = BIN.parent / "audit" / "bin" / "python"
KNOWN = {"/sound": {"jinja2"}, "/vulnerable": {"jinja2", "numpy"}, "/blind": set[str]()}
OLD = "2.4.1"  # the version of jinja2 that audit.py asks about first


class Vulnerabilities(BaseHTTPRequestHandler):
    """Answers as api.osv.dev does; its path tells which packages it calls vulnerable."""

    def do_POST(self) -> None:
        """Answer about one version of one package."""
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name, version = query["package"]["name"], query["version"]
        known = name in KNOWN.get(self.path, set()) and (name != "jinja2" or version == OLD)
        events = [{"introduced": "0"}, {"fixed": "99"}]
        affected = {
            "package": {"name": name, "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": events}],
        }
        vulns = [{"id": "TEST-1", "affected": [affected], "published": "2026-01-01T00:00:00Z"}]
        body = json.dumps({"vulns": vulns} if known else {}).encode()
        self.send_response(200 if self.path in KNOWN else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Be silent."""


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """Run the service."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Vulnerabilities) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def audit(url: str, *options: str) -> tuple[int, str]:
    """Audit the project with a service; give the exit code and what was said."""
    done = subprocess.run(
        [PYTHON, ROOT / ".ci" / "audit.py", *options, "-s", "osv", "--osv-url", url],
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout


def test_a_vulnerable_package_fails_and_is_named(service: str) -> None:
    code, said = audit(f"{service}/vulnerable", "--may-be-offline")
    assert code == 1
    (line,) = said.splitlines()
    assert line.startswith("VULNERABLE: numpy ")
    assert "TEST-1; fixed in 99" in line


def test_all_packages_of_all_files_are_asked_about(service: str) -> None:
    code, said = audit(f"{service}/sound")
    assert code == 0
    pinned = {
        line
        for file in ROOT.glob("requirements*.txt")
        for line in file.read_text().splitlines()
        if "==" in line
    }
    assert said == f"{len(pinned)} packages audited, none is known to be vulnerable\n"


@pytest.mark.parametrize("path", ["/blind", "/broken"])
def test_a_service_that_knows_nothing_is_no_audit(service: str, path: str) -> None:
    code, said = audit(f"{service}{path}")
    assert code == 3
    assert said.startswith("NOT AUDITED")
    assert audit(f"{service}{path}", "--may-be-offline") == (0, said)


def test_a_service_that_cannot_be_reached_is_no_audit() -> None:
    code, said = audit(f"http://127.0.0.1:{free_port()}/")
    assert code == 3
    assert said.startswith("NOT AUDITED")
