"""The page on which people try the models: ``/try``, and ways to it from where a model is shown.

It is the same for all models, and holds nothing of any: its script asks for what there is, as any
client does. So it is open where keys are asked for, and asks for one itself; what it asks for then
stays guarded. What people try stands in the fragment of its address, which browsers keep.
"""

from collections.abc import Iterator
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from serving.door.naming import MODEL
from serving.door.openapi import TRY_PAGE
from serving.door.pages import STATIC_FOLDER, Document, fixed, page
from serving.door.routes import Operation, Route, page_answer

_SEE_OTHER = 303  # RFC 9110, 15.4.4


def try_page() -> Iterator[Route]:
    """Give the page, its script, and the ways to it from the model card."""
    text = (STATIC_FOLDER / "try.html").read_text("utf-8")
    script = Document((STATIC_FOLDER / "try.js").read_bytes(), "text/javascript")
    yield fixed(TRY_PAGE, page(text), _TRY, is_open=True)
    yield fixed(f"{TRY_PAGE}.js", script, is_open=True)
    for path in ("/model/try", f"/models/{MODEL}/try"):
        yield Route("GET", path, _lead, is_open=True)


async def _lead(request: Request) -> Response:
    """Lead to the page, relative to the address that was asked for, and tell it the model."""
    name = request.path_params.get(MODEL[1:-1])
    there = "../try" if name is None else f"../../try#model={quote(name, safe='')}"
    return Response(status_code=_SEE_OTHER, headers={"location": there})


_TRY = Operation(
    "Documents",
    "try",
    "Try the models",
    page_answer(),
    "A control for each feature, and the answer as it changes. See [the page](try).",
)
