"""The API's wiring: routes, errors as problems, and the outermost layer around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from orchestrator.service.api import (
    routes_limits,
    routes_market,
    routes_pages,
    routes_reducing,
    routes_system,
    routes_trading,
)
from orchestrator.service.api.describe import INTRODUCTION, openapi_of
from orchestrator.service.api.door import DeskSource, Door, TokenOk
from orchestrator.service.api.front import Front
from orchestrator.service.api.live import HEARTBEAT_S, Live
from orchestrator.service.api.problems import Problem, answer_in, internal
from orchestrator.service.api.schema import Schema
from orchestrator.service.seams import mono_ns, wall_ns

_TAGS = [
    {"name": "system", "description": "Is it well? Start it, stop it."},
    {"name": "safety", "description": "The emergency stop, breakers and limits."},
    {"name": "agents", "description": "The eight agents."},
    {"name": "accounts", "description": "The accounts at the venue."},
    {"name": "trading", "description": "Signals, orders, trades, positions, and why."},
    {"name": "market", "description": "Prices and candles as they were stored."},
    {"name": "monitoring", "description": "Events, figures, metrics, the audit trail."},
    {"name": "pages", "description": "For a person with a browser."},
]
_ROUTERS = (
    routes_system.router, routes_limits.router, routes_reducing.router, routes_trading.router,
    routes_market.router, routes_pages.router,
)  # fmt: skip
ROUTES = tuple(
    found for router in _ROUTERS for found in router.routes if isinstance(found, APIRoute)
)
_TITLES = {404: "Not found", 405: "Method not allowed"}


class Api(FastAPI):
    """FastAPI with our own description of the routes."""

    def openapi(self) -> Schema:
        if not self.openapi_schema:
            self.openapi_schema = openapi_of(self, ROUTES)
        return self.openapi_schema


def create_api(
    desk: DeskSource,
    token_ok: TokenOk,
    version: str,
    lifespan: Callable[[FastAPI], Any] | None = None,
    *,
    clock_ns: Callable[[], int] = mono_ns,
    beat_s: float = HEARTBEAT_S,
) -> FastAPI:
    """The whole API. `desk` gives None until the system is built: health alone answers then.

    `token_ok` compares in constant time. `clock_ns` is the monotonic clock of the rate limits,
    `beat_s` the WebSocket's heartbeat.
    """
    api = Api(
        title="Trading System Orchestrator", version=version, description=INTRODUCTION,
        lifespan=lifespan, openapi_tags=_TAGS, redirect_slashes=False,
        docs_url=None, redoc_url=None, openapi_url=None,
    )  # fmt: skip
    door = api.state.door = Door(desk, token_ok, clock_ns)
    for router in _ROUTERS:
        api.include_router(router)
    api.add_exception_handler(Problem, _problem)
    api.add_exception_handler(RequestValidationError, _unfit)
    api.add_exception_handler(HTTPException, _http)
    api.add_middleware(Front, door=door, live=Live(door, wall_ns, beat_s))
    return api


async def _problem(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, Problem)
    return answer_in(request.scope, exc)


async def _unfit(request: Request, exc: Exception) -> Response:
    """Parameters without the form that is needed; what was sent is not repeated."""
    assert isinstance(exc, RequestValidationError)
    errors = [
        f"{'.'.join(map(str, e['loc'][1:])) or e['loc'][0]}: {e['msg']}" for e in exc.errors()
    ]
    detail = f"The request does not have the form that is needed: {'; '.join(errors)}."
    return answer_in(request.scope, Problem(422, "Unusable request", detail, errors=errors))


async def _http(request: Request, exc: Exception) -> Response:
    """The framework's own refusals: no such path, no such method."""
    assert isinstance(exc, HTTPException)
    title = _TITLES.get(exc.status_code)
    if title is None:
        return answer_in(request.scope, internal("none: a refusal of the framework's"))
    detail = {
        404: "There is nothing at this path; GET /docs has every route.",
        405: f"This path does not take {request.method}.",
    }[exc.status_code]
    problem = Problem(exc.status_code, title, detail, headers=dict(exc.headers or {}))
    return answer_in(request.scope, problem)
