"""A real browser shows drift: small and large, light and dark, and with hostile names."""

import asyncio
import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.server import BATCH, ROOT, Server, eventually, run_python, serving
from tests.system.browsing import Page, devtools, page_in
from tests.trained import copy_of

PHONE_PX, DESK_PX = 375, 1200
PICTURE = b"\x89PNG\r\n\x1a\n"
ROWS = 400
COLOURS = ("red", "blue", "<b>green</b>", "a & b", "missing")
# What a person sees: bars in pixels beside the texts of their rows, and what is written in which
# colour on which.
LOOK = """(() => {
    const sections = [...document.querySelectorAll(".one")].map((one) => ({
        name: one.querySelector("h3 bdi").textContent,
        told: one.querySelector("p").textContent,
        bins: [...one.querySelectorAll("tbody tr")].map((row) => ({
            told: row.querySelector("th").textContent,
            room: row.querySelector(".pair").clientWidth
                - parseFloat(getComputedStyle(row.querySelector(".pair")).paddingRight),
            then: row.querySelector(".then").getBoundingClientRect().width,
            now: row.querySelector(".now").getBoundingClientRect().width,
        })),
    }));
    const style = (selector) => getComputedStyle(document.querySelector(selector));
    return {
        sections,
        scripts: document.scripts.length,
        images: document.images.length,
        verdict: document.querySelector(".verdict strong").textContent,
        width: document.documentElement.scrollWidth,
        height: document.documentElement.scrollHeight,
        page: style("body").backgroundColor,
        ink: style("body").color,
        soft: style(".soft").color,
        then: style(".then").backgroundColor,
        now: style(".now").backgroundColor,
    };
})()"""


def rows(seed: int, *, drifted: bool) -> list[list[Any]]:
    """Give rows of a table whose first column may have moved."""
    rng = np.random.default_rng(seed)
    shares = [0.05, 0.05, 0.6, 0.2, 0.1] if drifted else [0.3, 0.3, 0.2, 0.1, 0.1]
    columns = (
        np.round(rng.normal(16 if drifted else 10, 3, ROWS), 3),
        rng.poisson(3, ROWS),
        rng.choice(COLOURS, ROWS, p=shares),
    )
    return [list(row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def train(folder: Path) -> None:
    """Train a model whose features and categories have names that a page has to escape."""
    names = ['"<img src=x onerror=alert(1)>"', "visits", "colour", "kind"]
    lines = [
        ",".join(map(str, (*row, "ham" if row[0] + row[1] > 13 else "<i>spam</i>")))
        for row in rows(1, drifted=False)
    ]
    table = folder / "table.csv"
    table.write_text("\n".join([",".join(names), *lines]))
    model = ("--target", "kind", "--name", "drifting", "--estimator", "LogisticRegression")
    run_python(folder, str(ROOT / "train.py"), "--data", str(table), *model)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve that model, after it has been asked for rows that have drifted."""
    folder = tmp_path_factory.mktemp("drift")
    home = copy_of(train, "drift", folder)
    with serving(home, folder / "output", SERVING_MODEL="drifting") as running:
        assert running.ask(rows(2, drifted=True), BATCH).status_code == 200
        eventually("counted rows", lambda: report(running)["rows"] == ROWS)
        yield running


def report(server: Server) -> Any:  # noqa: ANN401 (any JSON)
    """Give the same as JSON."""
    return server.http.get("/model/drift").raise_for_status().json()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give a browser."""
    with devtools(tmp_path_factory.mktemp("browser")) as listening:
        yield listening


async def looked_at(browser: str, url: str, width: int, scheme: str) -> tuple[Page, Any, bytes]:
    """Look at the page, and take a picture of all of it."""
    async with page_in(browser) as page:
        screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        await page.call("Emulation.setDeviceMetricsOverride", **screen)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await page.call("Emulation.setEmulatedMedia", features=features)
        await page.open(url)
        seen = await page.run(LOOK)
        clip = {"x": 0, "y": 0, "width": width, "height": seen["height"], "scale": 1}
        taken = await page.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        return page, seen, base64.b64decode(taken["data"])


def lightness(colour: str) -> float:
    """Give the relative luminance of ``rgb(r, g, b)`` (WCAG 2.2)."""
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").rstrip(")").split(", ")]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((lightness(one), lightness(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("width", [PHONE_PX, DESK_PX])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_can_be_read(server: Server, browser: str, width: int, scheme: str) -> None:
    url = f"{server.url}/model/drift"
    page, seen, picture = asyncio.run(looked_at(browser, url, width, scheme))
    assert page.complaints == []
    loaded = [each["request"]["url"] for each in page.told("Network.requestWillBeSent")]
    assert [address for address in loaded if not address.startswith("data:")] == [url]
    assert seen["width"] == width
    assert picture.startswith(PICTURE)
    assert (lightness(seen["page"]) > 0.5) is (scheme == "light")
    assert contrast(seen["ink"], seen["page"]) > 7
    assert contrast(seen["soft"], seen["page"]) > 4.5
    assert contrast(seen["now"], seen["page"]) > 3
    assert contrast(seen["now"], seen["then"]) > 2.5  # also to who sees no colours
    assert contrast(seen["then"], seen["page"]) > 1.5


def share_of_longest(bins: Sequence[Any], which: str) -> list[float]:
    longest = max(max(each["ratio"], each["training_ratio"]) for each in bins)
    return [each[which] / longest for each in bins]


def test_bars_and_words_are_those_of_the_report(server: Server, browser: str) -> None:
    url = f"{server.url}/model/drift"
    _, seen, _ = asyncio.run(looked_at(browser, url, DESK_PX, "light"))
    told = report(server)
    everything = [*told["features"], *told["predictions"], *told["confidence"]]
    assert [one["name"] for one in seen["sections"]] == [each["name"] for each in everything]
    assert seen["verdict"] == f"{told['told'].capitalize()}."
    for one, each in zip(seen["sections"], everything, strict=True):
        words = one["told"].replace("\N{NO-BREAK SPACE}", " ")
        assert words == f"{each['told'][0].upper()}{each['told'][1:]}."
        assert [bar["told"] for bar in one["bins"]] == [bar["told"] for bar in each["bins"]]
        for bar, which in (("now", "ratio"), ("then", "training_ratio")):
            drawn = [row[bar] / row["room"] for row in one["bins"]]
            wanted = share_of_longest(each["bins"], which)
            assert drawn == pytest.approx(wanted, abs=0.02)


def test_hostile_names_are_read_and_do_nothing(server: Server, browser: str) -> None:
    url = f"{server.url}/model/drift"
    page, seen, _ = asyncio.run(looked_at(browser, url, DESK_PX, "light"))
    assert page.told("Page.javascriptDialogOpening") == []
    assert (seen["scripts"], seen["images"]) == (0, 0)
    names = {one["name"] for one in seen["sections"]}
    assert names == {"<img src=x onerror=alert(1)>", "visits", "colour", "kind"}
    bins = {bar["told"] for one in seen["sections"] for bar in one["bins"]}
    assert {"<b>green</b>", "a & b", "<i>spam</i>"} <= bins


def test_what_has_drifted_is_told(server: Server) -> None:
    told = report(server)
    drifted = {each["name"] for each in told["features"] if each["drifts"]}
    assert drifted == {"<img src=x onerror=alert(1)>", "colour"}
