"""A real browser tries models: typed, slid, by keyboard alone, on a phone, with hostile names."""

import ast
import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest

from serving.door.auth import new_key
from tests.server import BATCH, BIN, PATIENCE_S, ROOT, Server, run_python, serving
from tests.system.browsing import CONTROL, LOOKED_S, Page, devtools, page_in
from tests.trained import copy_of, train_iris

AXE = BIN.parent / "browser" / "node_modules" / "axe-core" / "axe.min.js"
PHONE_PX, DESK_PX = 360, 1200
MOVES, MOST_REQUESTS = 60, 25
LATENCY_MS = 700
TYPED = 2.718281828459045  # which nothing else has
LENGTH, WIDTH = "petal length (cm)", "petal width (cm)"
IMAGE, LONG = "<img src=x onerror=alert(1)>", "long " * 40 + "name"
TOWNS = ("Bari", "<b>Como</b>", 'it\'s "Lodi" & `$HOME`', "مدينة", "🦉")
WELCOME, WELCOME_ENTRY = new_key("welcome")
GUEST, GUEST_ENTRY = new_key("guest", "3/minute")

Steps = Callable[[Page], Awaitable[None]]


def train(folder: Path) -> None:
    """Train the default model, and one whose columns and categories a page has to escape."""
    train_iris(folder)
    rng = np.random.default_rng(0)
    rooms, rows = rng.integers(1, 9, 200).astype(float), 200
    rooms[rng.random(rows) < 0.2] = np.nan
    frame = pd.DataFrame({IMAGE: rng.normal(5, 2, rows).round(2), LONG: rng.normal(0, 1, rows)})
    frame = frame.assign(rooms=pd.array(rooms, dtype="Int64"), lift=rng.random(rows) < 0.5)
    frame["town"] = rng.choice(TOWNS, rows)
    frame["price"] = 9.0 * frame[IMAGE] + 5 * frame["lift"] + 20 * (frame["town"] == "Bari")
    frame.to_csv(folder / "houses.csv", index=False)
    forest = ("--estimator", "RandomForestRegressor", "--param", "n_estimators=5")
    table = ("--data", str(folder / "houses.csv"), "--target", "price", "--name", "houses")
    run_python(folder, str(ROOT / "train.py"), *table, *forest)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a model store with both."""
    return copy_of(train, "tried", tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[Server]:
    """Serve both."""
    with serving(models, models / "output", SERVING_MODELS="iris,houses") as running:
        yield running


@pytest.fixture(scope="module")
def locked(models: Path) -> Iterator[Server]:
    """Serve the default model to who has a key, one of which may not ask often."""
    keys = f"{WELCOME_ENTRY},{GUEST_ENTRY}"
    with serving(models, models / "locked", SERVING_API_KEYS=keys) as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give a browser."""
    with devtools(tmp_path_factory.mktemp("browser")) as listening:
        yield listening


def visit(
    browser: str, url: str, *steps: Steps, width: int = DESK_PX, scheme: str = "light"
) -> Page:
    """Open a page, go through steps there, and give it back with all that it has told."""

    async def visited() -> Page:
        async with page_in(browser) as page:
            await page.open("about:blank")  # another fragment alone would load nothing
            await page.sized(width, scheme=scheme)
            await page.open(url)
            for step in steps:
                await step(page)
            return page

    return asyncio.run(visited())


def control(name: str, kind: str = "input:not([type=range])") -> str:
    """Write the script that finds the control of a feature."""
    group = f"(each) => each.dataset.feature === {json.dumps(name)}"
    return f"[...document.querySelectorAll('[data-feature]')].find({group}).querySelector('{kind}')"


def button(name: str) -> str:
    """Write the script that finds a button by its name."""
    named = f"(each) => each.textContent.trim() === {json.dumps(name)}"
    return f"[...document.querySelectorAll('button')].find({named})"


def answer(region: str = "answer") -> str:
    """Write the script that reads what is answered; nothing, while that is not up to date."""
    found = f"document.querySelectorAll('#{region} data')"
    return f"document.querySelector('#{region} .stale') ? [] : [...{found}].map((d) => d.value)"


def message(name: str) -> str:
    """Write the script that reads what is told of a feature."""
    return f"{control(name, '.message')}.textContent"


STATUS = "document.querySelector('#status').textContent"


def told(of: Any) -> list[Any]:  # noqa: ANN401 (any JSON)
    """Give what a page shows of an answer."""
    return [of["prediction"], *of.get("probabilities", {}).values()]


async def shows(page: Page, expected: list[Any], region: str = "answer") -> None:
    """Wait until a page shows an answer, in all its digits."""
    for _ in range(int(PATIENCE_S / 2 / LOOKED_S)):
        found = await page.run(answer(region))
        if [each if isinstance(each, str) else float(each) for each in expected] == [
            text if isinstance(each, str) else float(text)
            for each, text in zip(expected, found, strict=False)
        ] and len(found) == len(expected):
            return
        await asyncio.sleep(LOOKED_S)
    raise AssertionError(f"{found} rather than {expected}")


async def write(page: Page, name: str, text: str) -> None:
    """Type a text into the control of a feature."""
    await page.click(control(name))
    await page.type(text)


def asked(page: Page, path: str = "/predict") -> list[str]:
    """Give the addresses that were asked for predictions."""
    urls = [each["request"]["url"] for each in page.told("Network.requestWillBeSent")]
    return [url for url in urls if path in url]


def predicted(server: Server, row: object, model: str = "iris") -> list[Any]:
    """Ask without a page."""
    return told(server.ask(row, f"/models/{model}/predict").raise_for_status().json())


def example(server: Server, model: str = "iris") -> dict[str, Any]:
    """Give the row that a page begins with."""
    features = server.http.get(f"/models/{model}/info").raise_for_status().json()["features"]
    return {feature["name"]: feature["example"] for feature in features}


def test_what_is_typed_is_answered_and_explained(server: Server, browser: str) -> None:
    row = example(server)
    after = row | {LENGTH: TYPED}
    explained = server.ask(after, "/predict?explain=true").raise_for_status().json()["explanation"]

    async def steps(page: Page) -> None:
        await shows(page, predicted(server, row))
        await write(page, LENGTH, str(TYPED))
        await shows(page, predicted(server, after))
        why = "[...document.querySelectorAll('#why .bars data')].map((d) => Number(d.value))"
        found = await page.run(why)
        assert sorted(found) == sorted(explained["contributions"].values())

    page = visit(browser, f"{server.url}/try", steps)

    assert page.complaints == []


def test_a_slider_that_is_moved_a_lot_asks_seldom_and_ends_right(
    server: Server, browser: str
) -> None:
    async def steps(page: Page) -> None:
        await shows(page, predicted(server, example(server)))
        page.events.clear()
        shares = [0.1 + 0.8 * move / MOVES for move in range(MOVES + 1)]
        await page.drag(control(LENGTH, "[type=range]"), shares)
        value = json.loads(await page.run(f"{control(LENGTH)}.value"))
        assert value > example(server)[LENGTH]
        await shows(page, predicted(server, example(server) | {LENGTH: value}))

    page = visit(browser, f"{server.url}/try", steps)

    assert len(asked(page)) <= MOST_REQUESTS
    assert page.complaints == []


def test_what_is_cleared_is_a_mistake_at_its_control_until_it_is_filled_in(
    server: Server, browser: str
) -> None:
    row = example(server)

    async def steps(page: Page) -> None:
        await shows(page, predicted(server, row))
        await write(page, WIDTH, "")
        await page.until("a mistake", message(WIDTH))
        await page.until("a status", STATUS)
        assert await page.run(f"{control(WIDTH)}.getAttribute('aria-invalid')") == "true"
        assert not await page.run(message(LENGTH))
        await write(page, WIDTH, "99")
        await shows(page, predicted(server, row | {WIDTH: 99}))
        assert "outside of the range" in await page.run(message(WIDTH))
        assert not await page.run(STATUS)

    visit(browser, f"{server.url}/try", steps)


def test_each_kind_of_column_has_a_control(server: Server, browser: str) -> None:
    row = example(server, "houses")
    row |= {"rooms": None, "lift": not row["lift"], "town": TOWNS[2]}

    async def steps(page: Page) -> None:
        await page.until("an answer", f"{answer()}.length")
        await page.click(control("rooms", "[type=checkbox]"))
        await page.click(control("lift", "[role=switch]"))
        await page.run(f"{control('town', 'select')}.focus()")
        options = f"[...{control('town', 'select')}.options].map((o) => o.textContent)"
        names = await page.run(options)
        assert set(names) == {*TOWNS, "other…"}
        await choose(page, "town", names.index(TOWNS[2]))
        await shows(page, predicted(server, row, "houses"))
        await choose(page, "town", names.index("other…"))
        await write(page, "town", "Rome")
        await shows(page, predicted(server, row | {"town": "Rome"}, "houses"))

    visit(browser, f"{server.url}/try#model=houses", steps)


async def choose(page: Page, name: str, place: int) -> None:
    """Choose an option, as far as a page can tell: the list itself is the browser's own."""
    select = control(name, "select")
    event = "new Event('input', { bubbles: true })"
    await page.run(f"{select}.selectedIndex = {place}; {select}.dispatchEvent({event})")


def test_an_answer_that_is_pinned_stays_beside_the_next(server: Server, browser: str) -> None:
    before = example(server)
    after = before | {LENGTH: 6.5}

    async def steps(page: Page) -> None:
        await shows(page, predicted(server, before))
        await page.click(button("Pin"))
        await write(page, LENGTH, "6.5")
        await shows(page, predicted(server, after))
        await shows(page, predicted(server, before), "pinned")
        assert LENGTH in await page.run("document.querySelector('#pinned').textContent")
        await page.click(button("Unpin"))
        assert await page.run("document.querySelector('#pinned').hidden")

    visit(browser, f"{server.url}/try", steps)


@pytest.mark.parametrize("model", ["iris", "houses"])
def test_what_is_copied_gives_the_answer_that_is_shown(
    server: Server, browser: str, model: str
) -> None:
    row = example(server, model)
    row |= {LENGTH: TYPED} if model == "iris" else {"town": TOWNS[2], IMAGE: 1e-7}
    fragment = f"#model={model}&data={quote(json.dumps(row))}"
    copied = {}

    async def steps(page: Page) -> None:
        await shows(page, predicted(server, row, model))
        for name in ("curl", "Python", "JavaScript", "link"):
            label = "Copy link" if name == "link" else f"Copy as {name}"
            await page.click(button(label))
            copied[name] = await page.run("document.querySelector('#code').value")

    visit(browser, f"{server.url}/try{fragment}", steps)

    for command in (["bash", "-c", copied["curl"]], [sys.executable, "-c", copied["Python"]]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stderr
        found = done.stdout if command[0] == "bash" else python_literal(done.stdout)
        assert told(json.loads(found)) == predicted(server, row, model)
    module = ["node", "--input-type=module", "-e", copied["JavaScript"]]
    done = subprocess.run(module, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr

    async def again(page: Page) -> None:
        await shows(page, predicted(server, row, model))

    visit(browser, copied["link"], again)


def python_literal(text: str) -> str:
    """Write as JSON what Python has printed."""
    return json.dumps(ast.literal_eval(text))


def test_while_the_server_is_slow_the_last_question_wins(server: Server, browser: str) -> None:
    row = example(server)

    async def steps(page: Page) -> None:
        await shows(page, predicted(server, row))
        await page.network(latency_ms=LATENCY_MS)
        for length in ("6.5", "1.5", "4.5"):
            await write(page, LENGTH, length)
            await asyncio.sleep(0.3)  # so that it is asked, and not yet answered
        assert await page.run(f"{control(LENGTH)}.value") == "4.5"  # which can be used meanwhile
        await shows(page, predicted(server, row | {LENGTH: 4.5}))
        await asyncio.sleep(2 * LATENCY_MS / 1000)
        await shows(page, predicted(server, row | {LENGTH: 4.5}))

    visit(browser, f"{server.url}/try", steps)


def test_when_the_network_is_away_that_is_told_and_it_goes_on_later(
    server: Server, browser: str
) -> None:
    row = example(server)

    async def steps(page: Page) -> None:
        await shows(page, predicted(server, row))
        await page.network(is_away=True)
        await write(page, LENGTH, "6.5")
        await page.until("that it is away", STATUS)
        kept = "document.querySelectorAll('#answer .stale data').length"
        assert await page.run(kept) == len(predicted(server, row))
        await page.network()
        await page.click(button("Try again"))
        await shows(page, predicted(server, row | {LENGTH: 6.5}))
        assert not await page.run(STATUS)

    visit(browser, f"{server.url}/try", steps)


def test_a_key_is_asked_for_and_kept_nowhere(locked: Server, browser: str) -> None:
    async def steps(page: Page) -> None:
        await page.until("a question", "!document.querySelector('#key').closest('[hidden]')")
        await page.click("document.querySelector('#key')")
        await page.type("wrong")
        await page.press("Enter")
        await page.until("that it is wrong", f"{STATUS}.includes('key')")
        await page.click("document.querySelector('#key')")
        await page.type(WELCOME)
        await page.press("Enter")
        await page.until("an answer", f"{answer()}.length")
        everywhere = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
        everything = f"{everywhere} + location.href + document.documentElement.outerHTML"
        assert WELCOME not in await page.run(everything)
        await page.click(button("Copy as curl"))
        assert WELCOME not in await page.run("document.querySelector('#code').value")

    visit(browser, f"{locked.url}/try", steps)
    assert WELCOME not in locked.text()


def test_when_a_quota_is_used_up_it_waits_and_says_so(locked: Server, browser: str) -> None:
    async def steps(page: Page) -> None:
        await page.until("a question", "!document.querySelector('#key').closest('[hidden]')")
        await page.click("document.querySelector('#key')")
        await page.type(GUEST)
        await page.press("Enter")
        await page.until("an answer", f"{answer()}.length")
        for length in (1.5, 2.5, 3.5, 4.5):
            await write(page, LENGTH, str(length))
            await asyncio.sleep(0.4)
        await page.until("that it waits", f"/\\d+ s/.test({STATUS})")
        before = len(asked(page))
        await write(page, LENGTH, "5.5")
        await asyncio.sleep(0.6)
        assert len(asked(page)) == before

    visit(browser, f"{locked.url}/try", steps)


@pytest.mark.parametrize("model", ["iris", "houses"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE_PX, DESK_PX])
def test_everybody_can_use_it(
    server: Server, browser: str, model: str, scheme: str, width: int
) -> None:
    async def steps(page: Page) -> None:
        await page.until("an answer", f"{answer()}.length")
        await page.until("a curve", "!!document.querySelector('#whatif svg, #whatif .bars')")
        await page.click(button("Pin"))
        first = next(iter(example(server, model)))
        await write(page, first, "")
        await page.until("a mistake", message(first))
        assert await page.run("document.documentElement.scrollWidth") <= width
        await page.run(AXE.read_text() + "; 0")
        violations = await page.run("axe.run().then((found) => found.violations)")
        assert [(each["id"], each["nodes"][0]["html"]) for each in violations] == []

    visit(browser, f"{server.url}/try#model={model}", steps, width=width, scheme=scheme)


def test_it_can_be_used_by_keyboard_alone(server: Server, browser: str) -> None:
    row = example(server, "houses")

    async def reach(page: Page, what: str) -> None:
        for _ in range(60):
            await page.press("Tab")
            if await page.run(f"document.activeElement === {what}"):
                return
        raise AssertionError(f"{what} can't be reached")

    async def steps(page: Page) -> None:
        await shows(page, predicted(server, row, "houses"))
        await reach(page, control(IMAGE))
        await page.press("a", CONTROL)
        await page.type("7.25")
        await shows(page, predicted(server, row | {IMAGE: 7.25}, "houses"))
        await reach(page, control("rooms", "[type=range]"))
        await page.press("ArrowRight")
        rooms = row["rooms"] + 1
        await shows(page, predicted(server, row | {IMAGE: 7.25, "rooms": rooms}, "houses"))
        await reach(page, control("lift", "[role=switch]"))
        await page.press("Space")
        after = row | {IMAGE: 7.25, "rooms": rooms, "lift": not row["lift"]}
        await shows(page, predicted(server, after, "houses"))
        await reach(page, button("Pin"))
        ring = "getComputedStyle(document.activeElement).outlineStyle"
        assert await page.run(ring) != "none"
        await page.press("Enter")
        await shows(page, predicted(server, after, "houses"), "pinned")

    visit(browser, f"{server.url}/try#model=houses", steps)


def test_hostile_names_are_read_and_do_nothing(server: Server, browser: str) -> None:
    async def steps(page: Page) -> None:
        await page.until("an answer", f"{answer()}.length")
        names = "[...document.querySelectorAll('[data-feature]')].map((g) => g.dataset.feature)"
        assert await page.run(names) == list(example(server, "houses"))
        labels = (
            "[...document.querySelectorAll('[data-feature] label[for]')].map((l) => l.innerText)"
        )
        assert {IMAGE, LONG.strip()} <= {label.strip() for label in await page.run(labels)}
        assert (
            await page.run("document.images.length + document.querySelectorAll('bdi b').length")
            == 0
        )

    hostile = quote(json.dumps({"town": TOWNS[1], IMAGE: "<script>alert(2)</script>"}))
    for fragment in ("#model=houses", f"#model={quote(IMAGE)}&data={hostile}"):
        page = visit(
            browser, f"{server.url}/try{fragment}", *[steps] * (fragment == "#model=houses")
        )
        assert page.told("Page.javascriptDialogOpening") == []
        assert page.complaints == []


def test_what_if_is_one_request_over_the_feature_that_is_looked_at(
    server: Server, browser: str
) -> None:
    async def steps(page: Page) -> None:
        await page.until("a curve", "!!document.querySelector('#whatif svg')")
        page.events.clear()
        await page.click(control(WIDTH))
        shown = f"document.querySelector('#whatif').textContent.includes({json.dumps(WIDTH)})"
        await page.until("its curve", f"{shown} && !!document.querySelector('#whatif svg')")

    page = visit(browser, f"{server.url}/try", steps)

    assert [url.removeprefix(server.url) for url in asked(page)] == [BATCH]


def test_no_value_reaches_a_log_a_path_or_another_host(server: Server, browser: str) -> None:
    row = example(server) | {LENGTH: TYPED}

    async def steps(page: Page) -> None:
        await shows(page, predicted(server, example(server)))
        await write(page, LENGTH, str(TYPED))
        await shows(page, predicted(server, row))
        assert str(TYPED) in await page.run("decodeURIComponent(location.hash)")

    page = visit(browser, f"{server.url}/try", steps)

    urls = [url for url in asked(page, "") if not url.startswith("data:")]
    assert {"/try", "/try.js", "/models", "/model/info"} <= {
        url.removeprefix(server.url) for url in urls
    }
    assert all(url.startswith(f"{server.url}/") for url in urls)
    assert not any(str(TYPED) in url for url in urls)
    assert str(TYPED) not in server.text()
    assert server.events("request.finished")


async def hooked(page: Page, script: str) -> None:
    """Have a script see what the page asks for: `path`, `asked`, and `go()`, which asks."""
    await page.run(
        "{ const own = fetch; window.fetch = async (path, asked) => "
        f"{{ const go = () => own(path, asked); {script} }} }} 0"
    )


async def show_model(page: Page, name: str) -> None:
    """Choose a model."""
    select = "document.querySelector('#model')"
    await page.run(f"{select}.value = '{name}'; {select}.dispatchEvent(new Event('change'))")


async def opened(page: Page) -> None:
    """Wait until all that a page shows at first is there."""
    await page.until("a curve", "!!document.querySelector('#whatif svg')")


def test_of_two_models_that_are_chosen_the_later_is_shown_whichever_comes_first(
    server: Server, browser: str
) -> None:
    late = "new Promise((then) => setTimeout(then, 500))"

    async def steps(page: Page) -> None:
        await opened(page)
        await hooked(page, f"if (/houses.info/.test(path)) await {late}; return go();")
        await show_model(page, "houses")
        await show_model(page, "iris")
        await asyncio.sleep(0.8)
        await shows(page, predicted(server, example(server)))
        assert await page.run("document.querySelector('h1').textContent") == "iris"

    visit(browser, f"{server.url}/try", steps)


def test_a_curve_of_the_model_before_is_not_drawn(server: Server, browser: str) -> None:
    late = "await new Promise((then) => setTimeout(then, 800)); return told;"

    async def steps(page: Page) -> None:
        await opened(page)
        hook = (
            f"const told = await go(); if (/^predict.batch/.test(path)) {{ {late} }} return told;"
        )
        await hooked(page, hook)
        await page.click(control(WIDTH))
        await asyncio.sleep(0.4)  # so that its curve is asked for
        await show_model(page, "houses")
        drawn = "document.querySelector('#whatif svg')?.getAttribute('aria-label')"
        await page.until("the next curve", f"{drawn}?.includes('onerror')")
        await asyncio.sleep(0.8)
        assert "onerror" in await page.run(drawn)

    visit(browser, f"{server.url}/try", steps)


def test_that_another_version_answers_or_no_service_at_all_is_told(
    server: Server, browser: str
) -> None:
    other = """const told = await go(), found = await told.json();
        if (found.model) found.model.version = "later";
        return Response.json(found);"""

    async def steps(page: Page) -> None:
        await opened(page)
        await hooked(page, other)
        await write(page, LENGTH, "4.5")
        await page.until("another version", f"{STATUS}.includes('later')")
        await hooked(page, "return new Response('<h1>Welcome to our WLAN</h1>');")
        await write(page, LENGTH, "4")
        await page.until("no answer", f"{STATUS}.includes('Not answered')")
        assert await page.run("!!document.querySelector('#answer .stale data')")

    visit(browser, f"{server.url}/try", steps)


def test_what_of_a_link_is_lost_is_told(server: Server, browser: str) -> None:
    async def steps(page: Page) -> None:
        await shows(page, predicted(server, example(server)))
        await page.until("that it is cut off", f"{STATUS}.includes('cut off')")

    visit(browser, f"{server.url}/try#model=iris&data=%7B%22petal", steps)


def test_a_range_too_wide_to_be_divided_has_no_slider_that_writes_nonsense(
    server: Server, browser: str
) -> None:
    wide = """const told = await go(), found = await told.json();
        const trained = { minimum: -1.7e308, maximum: 1.7e308 };
        found.features?.forEach((each) => Object.assign(each, { trained }));
        return Response.json(found);"""

    async def steps(page: Page) -> None:
        await opened(page)
        await hooked(page, wide)
        await show_model(page, "iris")
        await page.until("no slider", "!document.querySelector('#features [type=range]')")
        await shows(page, predicted(server, example(server)))

    visit(browser, f"{server.url}/try", steps)


def test_what_if_of_labels_alone_tells_no_score(server: Server, browser: str) -> None:
    bare = """const told = await go(), found = await told.json();
        for (const each of [found, ...found.predictions ?? []]) delete each.probabilities;
        return Response.json(found);"""
    whatif = "document.querySelector('#whatif').textContent"

    async def steps(page: Page) -> None:
        await opened(page)
        await hooked(page, bare)
        await write(page, LENGTH, "4.5")
        await page.until("labels", f"/^(?!.*Prob).*versicolor/.test({whatif})")
        assert not await page.run(f"/Score|share/.test({whatif})")

    visit(browser, f"{server.url}/try", steps)


def test_a_switch_and_bars_are_seen_where_colours_are_forced(server: Server, browser: str) -> None:
    async def steps(page: Page) -> None:
        await page.until("an answer", f"{answer()}.length")
        forced = [{"name": "forced-colors", "value": "active"}]
        await page.call("Emulation.setEmulatedMedia", features=forced)
        look = "getComputedStyle(document.querySelector('[role=switch]')).backgroundImage"
        assert await page.run(look) != "none"

    visit(browser, f"{server.url}/try#model=houses", steps)
