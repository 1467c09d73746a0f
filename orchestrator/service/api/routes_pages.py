"""Pages for a person: the front page, the documentation, and the OpenAPI document."""

from __future__ import annotations

from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, FastAPI, Path
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.service.api.bodies import ID_PATTERN
from orchestrator.service.api.describe import route
from orchestrator.service.api.problems import Problem
from orchestrator.service.api.render import encode
from orchestrator.service.api.schema import Schema

router = APIRouter()

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_PAGES = {
    found.name: found.read_bytes()
    for found in files("orchestrator.service.api").joinpath("pages").iterdir()
    if found.is_file()
}


def _page(name: str) -> Response:
    kind = _TYPES[name[name.rindex(".") :]]
    return Response(_PAGES[name], media_type=kind)


@router.get("/", summary="The front page", tags=["pages"],
            **route("text/html", access="public"))  # fmt: skip
async def front_page() -> Response:
    """What runs, accounts, events, and the emergency stop; asks for the token."""
    return _page("index.html")


@router.get("/docs", summary="The documentation", tags=["pages"],
            **route("text/html", access="public"))  # fmt: skip
async def documentation() -> Response:
    """Every route, with a form to try it."""
    return _page("docs.html")


@router.get("/assets/{name}", summary="What the pages are made of", tags=["pages"],
            **route("text/css", access="public", problems=(404, 422)))  # fmt: skip
async def asset(name: Annotated[str, Path(pattern=ID_PATTERN)]) -> Response:
    """Style and scripts."""
    if name not in _PAGES or name.endswith(".html"):
        raise Problem(404, "Not found", "There is no such file.")
    return _page(name)


@router.get("/openapi.json", summary="This description", tags=["pages"],
            **route("application/json", access="public"))  # fmt: skip
async def openapi(request: Request) -> Response:
    """OpenAPI 3.1."""
    return Response(ready_openapi(request.app), media_type="application/json")


def ready_openapi(app: FastAPI) -> bytes:
    """Made at the first question, then kept."""
    ready: bytes | None = getattr(app.state, "openapi", None)
    if ready is None:
        document: Schema = app.openapi()
        ready = app.state.openapi = encode(document)
    return ready
