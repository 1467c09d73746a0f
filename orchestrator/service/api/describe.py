"""What a route says of itself: access, answers, problems, examples; and the whole as OpenAPI."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from orchestrator.service.api import examples
from orchestrator.service.api.bodies import Body
from orchestrator.service.api.problems import MEDIA_TYPE
from orchestrator.service.api.render import json_of
from orchestrator.service.api.schema import (
    PROBLEM,
    Schema,
    answer_schemas,
    body_schemas,
    page_of,
    ref,
)

Access: TypeAlias = Literal["public", "token"]

_REASONS = {
    401: "The token is missing or wrong.",
    403: "The request comes from a page of another site.",
    404: "There is no such thing.",
    409: "Refused: the state of the system does not allow it; `errors` has every reason.",
    413: "The body is larger than 64 KB.",
    422: "The request does not have the form that is needed.",
    429: "Too many requests; `Retry-After` says how many seconds to wait.",
    500: "An error of the service; its log has the cause.",
    503: "The service is starting, or its history cannot be read now.",
}
_ALWAYS = (401, 422, 429, 503)

INTRODUCTION = """\
Manages eight trading agents and one execution engine over several OANDA v20 accounts.

**Token.** Everything but `/health`, `/livez`, `/readyz` and the pages needs
`Authorization: Bearer TOKEN`. The first start shows it in its banner, and keeps it in the file
`api-token` in the state folder, readable by its owner only. `X-Actor: NAME` names the person who
acts, for the audit trail.

**Lists** answer `{"items": [...], "next": cursor}`: give `next` back as `cursor` for the next page.

**Numbers and times.** Money, prices and units are decimals as text; fractions are of 1
(0.02 = 2 %). Times are RFC 3339 in UTC; those of prices, signals and trades run on the market's
clock, which in a replay is the recording's.

**Errors** are problem documents (RFC 9457): `detail` says what to do, `errors` has every reason.

**Live events**: WebSocket `/ws?types=signal.ended,stop.raised`, one JSON document a message, as
the items of `GET /events`, and a heartbeat each 15 s. The token goes into the header, or is the
first message. A listener that does not keep up is closed with code 1013.
"""


def route(
    answer: type[msgspec.Struct] | str,
    *,
    page: bool = False,
    also: type[msgspec.Struct] | None = None,
    status: int = 200,
    access: Access = "token",
    body: type[Body] | None = None,
    body_needed: bool = False,
    problems: tuple[int, ...] = (),
    says: str = "The answer.",
) -> dict[str, Any]:
    """Keyword arguments for a router's decorator. A text as `answer` is a media type; `also` is
    another form that the answer may have.
    """
    extra: dict[str, Any] = {"x-access": access}
    if access == "token":
        extra["security"] = [{"bearer": []}]
    if body is not None:
        extra["requestBody"] = {
            "required": body_needed,
            "content": {
                "application/json": {"schema": ref(body), "example": examples.body_of(body)}
            },
        }
    listed = _ALWAYS if access == "token" else (429,)
    return {
        "status_code": status,
        "response_model": None,
        "openapi_extra": extra,
        "responses": {status: {"description": says, "content": _content(answer, also, page=page)}}
        | {code: _problem(code) for code in sorted({*listed, *problems})},
    }


def _content(
    answer: type[msgspec.Struct] | str, also: type[msgspec.Struct] | None, *, page: bool
) -> dict[str, Any]:
    if isinstance(answer, str):
        return {answer: {"schema": {"type": "string"}}}
    example: Any = msgspec.json.decode(json_of(examples.of(answer)))
    if page:
        return {
            "application/json": {
                "schema": page_of(ref(answer)),
                "example": {"items": [example], "next": None},
            }
        }
    schema = ref(answer) if also is None else {"anyOf": [ref(answer), ref(also)]}
    return {"application/json": {"schema": schema, "example": example}}


def _problem(code: int) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": _REASONS[code], "content": {MEDIA_TYPE: {"schema": schema}}}


def openapi_of(app: FastAPI, routes: Iterable[APIRoute]) -> Schema:
    """The OpenAPI document of the app, which has these routes."""
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes,
        tags=app.openapi_tags,
    )  # fmt: skip
    for found in routes:
        for method in found.methods or ():
            _restore_content(document["paths"][found.path][method.lower()], found)
    components: Schema = document.setdefault("components", {})
    schemas: dict[str, Schema] = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas.update(answer_schemas(examples.kinds()))
    schemas.update(body_schemas(examples.body_kinds()))
    schemas["Problem"] = PROBLEM
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "The API token."}
    }
    return document


def _restore_content(operation: Schema, found: APIRoute) -> None:
    """The framework drops every null on its way, those of the examples too."""
    for status, said in found.responses.items():
        operation["responses"][str(status)]["content"] = said["content"]


def access_of(routes: Iterable[APIRoute]) -> dict[str, str]:
    """Each route's declared access by "METHOD /path"; "" where none is declared."""
    return {
        f"{method} {found.path}": str((found.openapi_extra or {}).get("x-access", ""))
        for found in routes
        for method in sorted(found.methods or ())
    }
