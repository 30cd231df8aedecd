"""A real browser shows the pages for people."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.server import Server, eventually
from tests.system.browsing import browse

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def dom(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Open the page, and give what its scripts have made of it."""
    log = "--enable-logging=stderr"
    done = browse(f"{server.url}/", tmp_path_factory.mktemp("browser"), log, "--dump-dom")
    complaints = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    assert not complaints
    return done.stdout


def test_the_page_shows_every_operation_of_the_document(server: Server, dom: str) -> None:
    document = server.http.get("/docs.json").json()
    assert document["info"]["title"] in dom
    for path, operations in document["paths"].items():
        assert f'data-path="{path}"' in dom
        for operation in operations.values():
            assert operation["summary"] in dom
    assert "/predict/batch" in dom
    assert "Predict one instance" in dom


def test_the_page_refers_to_no_other_host(server: Server, dom: str) -> None:
    references = re.findall(r"""(?:src|href|action|poster|data)=["']([^"']+)""", dom)
    assert references
    hosts = {urlsplit(reference).netloc for reference in references}
    assert hosts <= {"", urlsplit(server.url).netloc}
    assert "validator.swagger.io" not in dom


def test_the_page_can_be_looked_at(server: Server, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    browse(f"{server.url}/", tmp_path, f"--screenshot={picture}")
    assert picture.read_bytes().startswith(PNG)
    wanted = {"/", "/docs.js", "/docs.json", "/static_content/{path}"}
    eventually(
        "requests for all that the page needs",
        lambda: wanted <= {line["route"] for line in server.events("request.finished")},
    )


def test_the_page_of_a_problem_can_be_read(server: Server, tmp_path: Path) -> None:
    page = browse(f"{server.url}/errors/invalid-input", tmp_path, "--dump-dom").stdout
    assert "422 Invalid input" in page
    assert "What to do" in page


def test_the_model_card_is_drawn_without_a_complaint(server: Server, tmp_path: Path) -> None:
    log = "--enable-logging=stderr"
    done = browse(f"{server.url}/model/card", tmp_path, log, "--dump-dom")
    assert not [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    for section in ("Scores", "Features", "Limits", "How to call it"):
        assert f"{section}</h2>" in done.stdout
    assert done.stdout.count("<svg") >= 3  # the confusion matrix and both curves
    picture = tmp_path / "card.png"
    browse(f"{server.url}/model/card", tmp_path, f"--screenshot={picture}")
    assert picture.read_bytes().startswith(PNG)
