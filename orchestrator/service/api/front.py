"""The outermost layer, plain ASGI: headers, origin, token, rates, bodies, errors as problems."""

from __future__ import annotations

import asyncio

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.service.api.bodies import BODY_BYTES_MAX, check_form
from orchestrator.service.api.door import Door, bearer_of, client_of, refuse_foreign_pages
from orchestrator.service.api.live import Live
from orchestrator.service.api.problems import Problem, answer_in, internal, trace_of, unauthorised
from orchestrator.service.api.stopping import STOP_PATH, stop_now, too_large, whole_body
from orchestrator.service.seams import new_id

log = structlog.get_logger()

PUBLIC = frozenset({"/", "/docs", "/openapi.json", "/health", "/livez", "/readyz"})
ASSETS = "/assets/"
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_BODY_S = 5.0

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def is_public(path: str) -> bool:
    """Whether anybody may read it. Default deny: what is not named here needs the token."""
    return path in PUBLIC or path.startswith(ASSETS)


class Front:
    """Wraps the app; the emergency stop and the live events do not go through the app at all."""

    def __init__(self, app: ASGIApp, door: Door, live: Live) -> None:
        self._app = app
        self._door = door
        self._live = live

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._live.serve(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = False

        async def sending(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                MutableHeaders(raw=message.setdefault("headers", [])).update(HEADERS)
            await send(message)

        try:
            await self._admit(scope, receive, sending)
        except Problem as problem:
            if not began:
                await answer_in(scope, problem)(scope, receive, sending)
        except Exception as exc:  # noqa: BLE001 -- the supervisor of requests: log, answer 500
            reference = new_id("error")
            log.error(  # noqa: TRY400 -- its own trace would show variables
                "api.request_failed", reference=reference, trace=trace_of(exc)
            )
            if not began:
                await answer_in(scope, internal(reference))(scope, receive, sending)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        path, acts = scope["path"], scope["method"] not in _READING
        if acts:
            refuse_foreign_pages(headers)
        token = bearer_of(headers)
        known = self._door.may(token)
        if acts and path.rstrip("/") == STOP_PATH and scope["method"] == "POST":
            if not known:
                raise unauthorised(wrong=token is not None)
            answer = await stop_now(self._door, headers, receive)
            await answer(scope, receive, send)
            return
        self._hold_back(scope, known=known, acts=acts)
        if not (is_public(path) or known):
            raise unauthorised(wrong=token is not None)
        scope.setdefault("state", {})["known"] = known
        if acts:
            receive = await self._with_body(headers, receive)
        await self._app(scope, receive, send)

    def _hold_back(self, scope: Scope, *, known: bool, acts: bool) -> None:
        """Strangers at an address never use up the rate of one who is known there."""
        buckets = self._door.writes if acts else self._door.reads
        wait_s = buckets.take(f"{'known' if known else 'stranger'} {client_of(scope)}")
        if wait_s:
            raise Problem(
                429, "Too many requests", f"Wait {wait_s} s. An emergency stop is never held back.",
                headers={"Retry-After": str(wait_s)},
            )  # fmt: skip

    async def _with_body(self, headers: Headers, receive: Receive) -> Receive:
        """A `receive` that gives the whole, checked body, and then what comes after it."""
        _refuse_announced(headers)
        try:
            async with asyncio.timeout(_BODY_S):
                body = await whole_body(receive)
        except TimeoutError:
            raise Problem(
                408, "Too slow", f"The body did not arrive within {_BODY_S:.0f} s.",
                headers={"Connection": "close"},
            ) from None  # fmt: skip
        if body is None:
            raise Problem(400, "Cut off", "The request ended before its body did.")
        check_form(body)
        return _replay(body, receive)


def _refuse_announced(headers: Headers) -> None:
    announced = headers.get("content-length", "0")
    if (
        announced.isascii()
        and announced.isdigit()
        and len(announced.lstrip("0")) > len(str(BODY_BYTES_MAX))
    ):
        raise too_large()


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replaying() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replaying
