"""The pages for people: the OpenAPI document in a browser, and what each problem type means.

Nothing in them comes from another host: Swagger UI is the copy that BentoML ships.
"""

import html
from pathlib import Path

from serving.errors import ProblemType

# What a page may load: only what this service serves (Swagger UI styles elements inline).
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_FOLDER = Path(__file__).with_name("static")


def docs_page() -> str:
    """Give the page that shows ``/docs.json``."""
    return (_FOLDER / "docs.html").read_text()


def docs_script() -> str:
    """Give the script that starts Swagger UI on the page."""
    return (_FOLDER / "docs.js").read_text()


def problem_page(kind: ProblemType) -> str:
    """Write the page of a problem type."""
    title, cause, remedy = (html.escape(text) for text in (kind.title, kind.cause, kind.remedy))
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f"<title>{kind.status} {title}</title>\n"
        f"<style>body {{ font: 1rem/1.5 system-ui; margin: 3rem auto; max-width: 40rem }}</style>\n"
        f"<h1>{kind.status} {title}</h1>\n"
        f"<h2>What it means</h2>\n<p>{cause}</p>\n<h2>What to do</h2>\n<p>{remedy}</p>\n"
        f'<p><a href="../">The API of this service</a></p>\n</html>\n'
    )
