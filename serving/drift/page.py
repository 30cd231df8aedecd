"""What is told of a comparison with training, as a page for people.

It is whole: it loads nothing, and all that a report says is escaped.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from serving.drift.comparison import MIN_DIFFERENCE, MIN_PSI
from serving.drift.words import percent

SHOWN_CHARS = 60  # of a category
_PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows a page is about: in words, with facts about them, by their names.

    ``windows`` are other such pages, in words, by their queries; ``window`` is this one's.
    """

    told: str
    facts: Mapping[str, str | datetime]
    window: str = ""
    windows: Mapping[str, str] | None = None


def written(report: Mapping[str, Any], rows: Rows) -> str:
    """Write the page of a report (`serving.drift.report`), with its model and what is left out."""
    return _PAGES.get_template("drift.html").render(
        report=report,
        told_rows=rows.told,
        facts=rows.facts,
        window=rows.window,
        windows=rows.windows or {},
        least={"psi": MIN_PSI, "difference": MIN_DIFFERENCE},
    )


def _share(share: float | None) -> str:
    return "\N{EN DASH}" if share is None else _unbroken(percent(share))


def _unbroken(text: str) -> str:
    """Keep a percent sign beside its number."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 1]}…"


_PAGES.filters |= {"share": _share, "shortened": _shortened, "unbroken": _unbroken}
