"""Below a path prefix, which a proxy takes away before the service sees it: nginx, a browser."""

import asyncio
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from tests.server import BIN, ROW, Server, eventually, free_port, kill
from tests.system.browsing import devtools, page_in
from tests.system.test_nginx import NGINX

PREFIX = "/models/iris"
AS_A_BROWSER = {"Accept": "text/html"}  # what else takes anything is told that the service lives
CONFIGURATION = """
pid {folder}/pid;
daemon off;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    server {{
        listen 127.0.0.1:{port};
        location {prefix}/ {{ proxy_pass http://127.0.0.1:{upstream}/; }}
        location / {{ return 418; }}
    }}
}}
"""
# What a person does: opens an operation, tries it out with its example, and reads the answer.
TRY_IT_OUT = """(async () => {
    const find = async (part) => {
        for (;;) {
            const found = document.querySelector(`#operations-Predictions-predict ${part}`);
            if (found) return found;
            await new Promise((done) => setTimeout(done, 50));
        }
    };
    (await find(".opblock-summary-control")).click();
    (await find(".try-out__btn")).click();
    (await find(".execute")).click();
    const status = await find(".live-responses-table tbody .response-col_status");
    return [(await find(".request-url pre")).textContent, parseInt(status.textContent)];
})()"""

ANSWERED = """(async () => {
    for (;;) {
        const answer = document.querySelector("#answer data");
        if (answer) return [location.href, answer.value];
        await new Promise((done) => setTimeout(done, 50));
    }
})()"""


@pytest.fixture(scope="module")
def below(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of the service below a prefix."""
    folder, port = tmp_path_factory.mktemp("prefix"), free_port()
    file = folder / "nginx.conf"
    file.write_text(
        CONFIGURATION.format(folder=folder, port=port, prefix=PREFIX, upstream=server.port)
    )
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen([NGINX, "-c", str(file)], stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}{PREFIX}"

    def answers() -> bool:
        assert process.poll() is None, (folder / "output").read_text()
        try:
            return httpx.get(f"{url}/livez").status_code == 200
        except httpx.TransportError:
            return False

    try:
        eventually("nginx answers", answers)
        yield url
    finally:
        kill(process)


@pytest.mark.parametrize(
    ("method", "path", "slug"),
    [
        ("GET", "/nowhere", "not-found"),
        ("GET", "/no/where/at/all", "not-found"),
        ("GET", "/predict/", "not-found"),
        ("GET", "/predict", "method-not-allowed"),
        ("POST", "/predict", "unsupported-media-type"),
        ("POST", "/predict/batch", "unsupported-media-type"),
        ("PUT", "/errors/not-found", "method-not-allowed"),
        ("GET", "/static_content/nothing", "not-found"),
        ("PUT", "/v2/", "method-not-allowed"),
        ("GET", "/v2/models/other/ready", "not-found"),
        ("POST", "/v2/models/iris/infer", "malformed-body"),
        ("GET", "/v1/models/iris:predict", "method-not-allowed"),
        ("POST", "/invocations", "malformed-body"),
    ],
)
def test_the_type_of_a_problem_leads_to_its_page(
    below: str, method: str, path: str, slug: str
) -> None:
    answer = httpx.request(method, below + path)
    kind = urljoin(str(answer.url), answer.json()["type"])
    assert kind == f"{below}/errors/{slug}"
    page = httpx.get(kind)
    assert answer.json()["title"] in page.text
    (link,) = re.findall(r'href="([^"]+)"', page.text)
    assert "swagger" in httpx.get(urljoin(kind, link), headers=AS_A_BROWSER).text


def test_the_document_tells_where_the_service_is(below: str) -> None:
    (told,) = httpx.get(f"{below}/docs.json").json()["servers"]
    assert urljoin(f"{below}/docs.json", told["url"]) == f"{below}/"


def test_bentomls_own_client_takes_the_prefix(below: str) -> None:
    script = f"import bentoml; print(bentoml.SyncHTTPClient('{below}').predict(data={ROW}))"
    done = subprocess.run([BIN / "python", "-c", script], capture_output=True, text=True)
    assert "'prediction': 'setosa'" in done.stdout, done.stderr


def test_what_a_person_tries_out_on_the_page_reaches_the_service(
    below: str, tmp_path: Path
) -> None:
    with devtools(tmp_path) as browser:
        tried = asyncio.run(run_in(browser, f"{below}/", TRY_IT_OUT))
    assert tried == [f"{below}/predict?explain=false", 200]  # Swagger UI sends what is usual


def test_the_page_to_try_a_model_finds_it_from_the_model_card(below: str, tmp_path: Path) -> None:
    with devtools(tmp_path) as browser:
        tried = asyncio.run(run_in(browser, f"{below}/models/iris/try", ANSWERED))
    assert tried[0].startswith(f"{below}/try#model=iris&data=")
    assert tried[1] == "versicolor"


async def run_in(browser: str, url: str, script: str) -> Any:  # noqa: ANN401 (any JSON)
    """Open a page in a browser, and give what a script makes of it."""
    async with page_in(browser) as page:
        await page.open(url)
        return await page.run(script)
