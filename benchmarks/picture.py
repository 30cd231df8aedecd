"""Draws the dashboard: what Prometheus answers to its queries while the service is under load.

Serves the iris model with keys, a quota for one client, and the prediction log on. Prometheus
(Debian's package) reads its metrics each second, with the project's configuration. The load is
mixed traffic, every answer checked (see ``traffic.py``), in phases: as always, and beside that
requests that are wrong; a client beyond its quota; rows unlike those of training; many clients.
Then the panels of ``deploy/grafana/dashboards`` that show the course of something are drawn, with
their own queries, titles, units, colours and thresholds; those where nothing has happened are left
out.

    PYTHONPATH=. python benchmarks/picture.py --output docs/dashboard.png
"""

import argparse
import asyncio
import hashlib
import io
import os
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.ticker import EngFormatter, FuncFormatter, PercentFormatter
from models import find
from peers import SERVERS
from PIL import Image
from servers import Server, running
from traffic import DEADLINE_S, KEYS, QUOTA, Known, Traffic

from tests.system.monitoring import Panel, Prometheus, Series, panels, prometheus

CLIENTS = 10
PAUSE_S = 0.04  # between the requests of one of them
CROWD = 24
LEFT_OUT = {"slow_body"}  # takes a second in any case, and nothing else would be seen of latency
COLOURS = 128  # of the file: enough for lines and areas
STEP_S = 1
COLUMNS = 3
CURVES = "timeseries"  # what Grafana calls panels that show the course of something
MOST_NAMES = 6  # in a legend
EXPLAINED = {"cps": "/s", "reqps": "/s", "s": "", "percentunit": "", "none": ""}


@dataclass(frozen=True)
class Phase:
    """What is sent beside the usual, and when."""

    title: str
    start: float  # as shares of the whole time
    end: float
    kind: str  # a method of Traffic
    clients: int = 2
    pause_s: float = PAUSE_S


PHASES = (
    Phase("wrong requests", 0.17, 0.30, "refused", 4),
    Phase("beyond a quota", 0.35, 0.48, "limited"),
    Phase("unusual values", 0.53, 0.66, "unusual", 4),
    Phase("a crowd", 0.71, 0.86, "single", CROWD, 0.02),
)


async def repeat(kind: Callable[[], Awaitable[None]], end: float, pause_s: float) -> None:
    """Ask again and again."""
    while time.monotonic() < end:
        await kind()
        await asyncio.sleep(pause_s)


async def load(server: Server, known: Known, seconds: float) -> None:
    """Send the traffic, phase by phase."""
    base = f"http://127.0.0.1:{server.port}"
    connector = aiohttp.TCPConnector(limit=CLIENTS + CROWD + 8)
    timeout = aiohttp.ClientTimeout(total=6 * DEADLINE_S)
    async with aiohttp.ClientSession(base, connector=connector, timeout=timeout) as session:
        traffic = Traffic(session, server.port, known)
        start = time.monotonic()

        async def usual() -> None:
            sent = [kind for kind in traffic.kinds if kind[1].__name__ not in LEFT_OUT]
            weights, kinds = zip(*sent, strict=True)
            while time.monotonic() < start + seconds:
                await traffic.random.choices(kinds, weights)[0]()
                await asyncio.sleep(PAUSE_S)

        async def beside(phase: Phase) -> None:
            await asyncio.sleep(phase.start * seconds)
            async with asyncio.TaskGroup() as tasks:
                for _ in range(phase.clients):
                    end = start + phase.end * seconds
                    tasks.create_task(repeat(getattr(traffic, phase.kind), end, phase.pause_s))

        async with asyncio.TaskGroup() as tasks:
            for _ in range(CLIENTS):
                tasks.create_task(usual())
            for phase in PHASES:
                tasks.create_task(beside(phase))
            tasks.create_task(traffic.stalls(start + seconds))


def formatter(unit: str) -> Any:  # noqa: ANN401 (matplotlib has no types)
    """Write values in a unit of Grafana's."""
    if unit == "percentunit":
        return PercentFormatter(1.0, decimals=0)
    if unit == "s":
        return EngFormatter(unit="s", sep=" ")
    return FuncFormatter(lambda value, _: f"{value:,.4g}{EXPLAINED[unit]}")


def aligned(series: list[tuple[str, Series]], times: list[float]) -> list[list[float]]:
    """Give the values of each series at each of these times, 0 where it has none."""
    at = [dict(each.points) for _, each in series]
    return [[points.get(moment, 0.0) for moment in times] for points in at]


def draw(axes: Any, panel: Panel, answers: list[tuple[str, Series]], start: float) -> None:  # noqa: ANN401
    """Draw one panel."""
    answers = sorted(answers, key=lambda answer: -max(v for _, v in answer[1].points))
    names = [name if place < MOST_NAMES else None for place, (name, _) in enumerate(answers)]
    if panel.stacked:
        times = sorted({at for _, each in answers for at, _ in each.points})
        colours = [panel.colour(name) or f"C{place}" for place, (name, _) in enumerate(answers)]
        axes.stackplot(
            [at - start for at in times],
            aligned(answers, times),
            labels=[name or "_" for name in names],
            colors=colours,
            alpha=0.75,
            edgecolor="white",
            linewidth=0.4,
        )
    else:
        for shown, (name, each) in zip(names, answers, strict=True):
            xs, ys = zip(*((at - start, value) for at, value in each.points), strict=True)
            axes.plot(xs, ys, label=shown or "_", color=panel.colour(name), linewidth=1.1)
    top = axes.get_ylim()[1]
    if panel.limit is not None:
        top = max(top, panel.limit * 1.15)
        axes.axhline(panel.limit, color="tab:red", linestyle="--", linewidth=0.9)
    axes.set_ylim(0, panel.maximum or max(top, 1e-9))
    axes.yaxis.set_major_formatter(formatter(panel.unit))
    axes.set_title(panel.title, loc="left", fontsize=9, fontweight="bold")
    axes.legend(
        fontsize=6.5,
        loc="upper left",
        bbox_to_anchor=(0, -0.12),
        ncols=3,
        frameon=False,
        handlelength=1,
        columnspacing=1,
        borderaxespad=0,
    )


def picture(source: Prometheus, start: float, end: float, output: Path) -> None:
    """Ask Prometheus what the dashboard asks, and draw it.

    Raises:
        SystemExit: a panel has nothing to show.
    """
    curves: list[tuple[Panel, list[tuple[str, Series]]]] = []
    for panel in panels():
        if panel.kind == CURVES:
            answers = [
                (query.name(each.labels), each)
                for query in panel.queries
                for each in source.of_panel(query, start, end, STEP_S)
            ]
            if not answers:
                sys.exit(f"nothing to show for {panel.title}")
            if any(value for _, each in answers for _, value in each.points):
                curves.append((panel, answers))
    mpl.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "font.size": 7})
    rows = -(-len(curves) // COLUMNS)
    figure, places = plt.subplots(rows, COLUMNS, figsize=(12, 2.1 * rows), layout="constrained")
    for axes, (panel, answers) in zip(places.flat, curves, strict=False):
        draw(axes, panel, answers, start)
        axes.set_xlim(0, end - start)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} s"))
        for phase in PHASES:
            axes.axvspan(
                *(share * (end - start) for share in (phase.start, phase.end)),
                color="0.93",
                zorder=0,
                linewidth=0,
            )
    for axes in places.flat[len(curves) :]:
        axes.axis("off")
    for axes in places[0]:
        for phase in PHASES:
            middle = (phase.start + phase.end) / 2
            axes.text(
                *(middle, 0.98),
                phase.title,
                transform=axes.transAxes,
                rotation=90,
                ha="center",
                va="top",
                fontsize=6,
                color="0.35",
                bbox={"facecolor": "white", "alpha": 0.6, "linewidth": 0, "pad": 1},
            )
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=110)
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(COLOURS).save(output, optimize=True)


def main() -> None:
    """Serve, watch, load, draw."""
    sys.stdout.reconfigure(errors="backslashreplace")  # whatever the terminal can show
    parser = argparse.ArgumentParser(description="The dashboard, drawn under load")
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--port", type=int, default=8120)
    parser.add_argument("--output", type=Path, default=Path("docs/dashboard.png"))
    args = parser.parse_args()
    if args.seconds < 60:
        parser.error("a minute is the least: each phase takes some seconds")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are stopped too
    mpl.use("agg")
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})  # the load, and Prometheus
    model = find()
    main_key, limited_key = (hashlib.sha256(key.encode()).hexdigest() for key in KEYS.values())
    with tempfile.TemporaryDirectory() as folder:
        variables = {
            "SERVING_MODEL": "iris:latest",
            "SERVING_LOG_LEVEL": "warning",
            "SERVING_API_KEYS": f"main:{main_key}:off,limited:{limited_key}:{QUOTA}/minute",
            "SERVING_PREDICTION_LOG": str(Path(folder) / "predictions.jsonl"),
            "SERVING_REQUEST_TIMEOUT_S": str(DEADLINE_S),
        }
        server = replace(SERVERS["plain"], port=args.port, variables=variables)
        known = Known(server, model)
        with (
            running(server, cores[0], model),
            prometheus(Path(folder), server.port, scrape_s=1) as source,
        ):
            start = time.time()
            asyncio.run(load(server, known, args.seconds))
            picture(source, start, start + args.seconds, args.output)
    print(f"drawn: {args.output}, {args.output.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
